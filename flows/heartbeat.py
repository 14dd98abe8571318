"""Heartbeats of the subflows of stages: as Prefect's own, without the second that Prefect's cost at a stage's end.

The server marks a run without a sign of life as crashed (flows/automations.py). That a stage begins and ends is a sign
by itself, so a short one need not beat at all.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from datetime import UTC, datetime, timedelta

from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.events import emit_event
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

EVENT = "prefect.flow-run.heartbeat"
SECONDS = 30


def sign_of_life(run: FlowRun, flow: str, *, seconds_ago: float = 0) -> None:
    """Emit one heartbeat of a run of the flow with this name."""
    when = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    of_flow = {
        "prefect.resource.id": f"prefect.flow.{run.flow_id}",
        "prefect.resource.role": "flow",
        "prefect.resource.name": flow,
    }
    resource = {"prefect.resource.id": f"prefect.flow-run.{run.id}", "prefect.resource.name": run.name}
    emit_event(EVENT, resource=resource, related=[of_flow], occurred=when)


@contextmanager
def heartbeat() -> Iterator[None]:
    """Let the current flow run beat while the `with` block lasts, in a thread that needs no waiting for."""
    context = FlowRunContext.get()
    assert context is not None and context.flow is not None and context.flow_run is not None
    run, flow = context.flow_run, context.flow.name
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(SECONDS):
            sign_of_life(run, flow)

    threading.Thread(target=copy_context().run, args=(beat,), daemon=True, name="heartbeat").start()
    try:
        yield
    finally:
        ended.set()


@contextmanager
def without_heartbeats() -> Iterator[None]:
    """Switch Prefect's own heartbeats off for the runs that begin in the `with` block; `heartbeat` is for those."""
    if PREFECT_FLOWS_HEARTBEAT_FREQUENCY.value() is None:  # setting it anew would cost a tenth of a second
        yield
        return
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield
