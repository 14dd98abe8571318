"""What the project's server must have beside its deployments: automations that clear dead runs, and the limit `gpu`.

`python -m flows.automations` brings them to the server that PREFECT_API_URL names; `flows.server start` does so for the
project's own. Each is found by its name: doing it twice changes nothing, a changed definition replaces the one there.
"""

import argparse
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.settings import PREFECT_API_URL
from prefect.states import StateType

from flows.gpu import LIMIT, gpu_count
from flows.heartbeat import sign_of_life

FLOWS = ("pretrain-pipeline", "stage", "evaluate", "reevaluate")
"""Flows of this project, whose runs beat every 30 s; a server may have others, which do not."""
SILENCE_SECONDS = 90
"""A run that says nothing for so long is dead: two of its heartbeats, one each 30 s (pyproject.toml), are missing."""


def automations() -> list[AutomationCore]:
    """The automations of the project.

    A run whose process was killed, together with the worker that would tell, stays as it was for ever and holds its
    slot. Each sign of life starts the clock anew; a final state, or any other, stops it.
    """
    trigger = EventTrigger(
        match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
        match_related=ResourceSpecification({"prefect.resource.role": "flow", "prefect.resource.name": list(FLOWS)}),
        after={"prefect.flow-run.Pending", "prefect.flow-run.Running", "prefect.flow-run.heartbeat"},
        expect={"prefect.flow-run.*"},
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(seconds=SILENCE_SECONDS),
    )
    crash = ChangeFlowRunState(
        state=StateType.CRASHED,
        name="Crashed",
        force=False,  # a run that ended meanwhile stays as it ended
        message=f"No sign of life for {SILENCE_SECONDS} seconds: its process is gone",
    )
    return [
        AutomationCore(
            name="c2p: a run without a sign of life has crashed",
            description="Its process was killed, and nobody was left to say so.",
            trigger=trigger,
            actions=[crash],
        )
    ]


def apply(client: SyncPrefectClient) -> None:
    """Bring automations and the limit `gpu` to a server, and start the clock of every run that has not ended.

    A server that was killed may have lost what it had just heard of a run that was killed with it. Half of the time is
    taken off at once: a run that lives beats sooner than that, and for a dead one the clock may run already.
    """
    for wanted in automations():
        _apply(client, wanted)
    client.upsert_global_concurrency_limit_by_name(LIMIT, max(1, gpu_count()))
    ours = FlowFilter(name=FlowFilterName(any_=list(FLOWS)))
    names = {flow.id: flow.name for flow in client.read_flows(flow_filter=ours)}
    unfinished = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING]))
    for run in client.read_flow_runs(flow_filter=ours, flow_run_filter=FlowRunFilter(state=unfinished)):
        sign_of_life(run, names[run.flow_id], seconds_ago=SILENCE_SECONDS / 2)


def _apply(client: SyncPrefectClient, wanted: AutomationCore) -> None:
    found = client.read_automations_by_name(wanted.name)
    if not found:
        client.create_automation(wanted)
        return
    kept, *doubles = found
    for double in doubles:
        client.delete_automation(double.id)
    if _content(kept) != _content(wanted):  # an update forgets for which runs it waits
        # whole, as an update sends only what was set; its owner can't be
        client.update_automation(kept.id, AutomationCore.model_validate(wanted.model_dump(exclude={"owner_resource"})))


def _content(automation: AutomationCore) -> dict[str, Any]:
    """What decides what an automation does, apart from what the server adds; whether it is enabled is the user's."""
    content = AutomationCore.model_validate(automation.model_dump()).model_dump(
        mode="json", exclude={"enabled", "tags"}
    )
    return _without_ids(content)


def _without_ids(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_ids(inner) for key, inner in sorted(value.items()) if key != "id"}
    if isinstance(value, list):
        inner = [_without_ids(item) for item in value]
        return sorted(inner) if all(isinstance(item, str) for item in inner) else inner
    return value


def main(arguments: Sequence[str]) -> int:
    """Apply to the server of PREFECT_API_URL; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m flows.automations", description=(__doc__ or "").strip())
    parser.parse_args(arguments)
    if not PREFECT_API_URL.value():
        print("PREFECT_API_URL: got nothing; allowed: the address of a Prefect server's API", file=sys.stderr)
        return 2
    try:
        with get_client(sync_client=True) as client:
            apply(client)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
