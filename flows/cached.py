"""Stages in which nothing has changed, shown as subflow runs in state `Cached` without running one.

A subflow costs a fifth of a second and nine requests, whatever it does. Here the run and the task that stands for it
below the flow's run are only recorded, as the engine would leave them: two requests, sent while DVC looks at the next
stage.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Literal
from uuid import UUID

from prefect import Flow, Task
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import FlowRunCreate, TaskRunCreate
from prefect.context import FlowRunContext
from prefect.states import Completed, Pending, to_state_create

from tasks.prefect_api import open_client

MESSAGE = "current"


@contextmanager
def cached_runs(flow: Flow[Any, Any]) -> Iterator[Callable[[str], None]]:
    """Yield what records a run of `flow` by the stage's name, below the flow run at hand; all are sent at the end.

    Raises what the client raises where the server can't be asked.
    """
    context = FlowRunContext.get()
    assert context is not None and context.flow_run is not None
    parent, keys = context.flow_run.id, context.task_run_dynamic_keys
    task = Task(fn=flow.fn, name=flow.name, version=flow.version)
    sent = []
    with open_client() as client, ThreadPoolExecutor(1) as sender:
        sends = _Sender(client, flow, task, parent)

        def record(name: str) -> None:
            # The engine counts the tasks of a run likewise, and finds them again by their number when it runs anew.
            keys[task.task_key] = number = int(keys.get(task.task_key, -1)) + 1
            sent.append(sender.submit(sends.run, number, name))

        yield record
        for request in sent:
            request.result()


class _Sender:
    """Sends runs; what they have in common is made once, since Prefect's models cost more than the requests."""

    def __init__(self, client: SyncPrefectClient, flow: Flow[Any, Any], task: Task[Any, Any], parent: UUID) -> None:
        self._client, self._flow = client, flow
        self._task_name = task.name
        stands_for = TaskRunCreate(
            flow_run_id=parent,
            task_key=task.task_key,
            dynamic_key="",
            task_version=task.version,
            state=to_state_create(Pending()),
            id=None,
        )
        self._stands_for = stands_for.model_dump(mode="json", exclude={"id"})
        self._run: dict[str, Any] = {}

    def run(self, number: int, name: str) -> None:
        """Record the run of one stage and the task that stands for it."""
        if not self._run:
            run = FlowRunCreate(
                flow_id=self._client.create_flow(self._flow),
                flow_version=self._flow.version,
                state=to_state_create(Completed(name="Cached", message=MESSAGE)),
            )
            self._run = run.model_dump(mode="json", exclude_unset=True)
        task = {"dynamic_key": str(number), "name": f"{self._task_name}-{number}"}
        stands_for = self._post("/task_runs/", self._stands_for | task)
        self._post(
            "/flow_runs/",
            self._run | {"name": name, "parameters": {"name": name}, "parent_task_run_id": stands_for["id"]},
        )

    def _post(self, path: Literal["/task_runs/", "/flow_runs/"], body: dict[str, Any]) -> dict[str, Any]:
        answer = self._client.request("POST", path, json=body)
        answer.raise_for_status()
        return dict(answer.json())
