"""One part of a stage as a Prefect task; it may run in a thread of the flow's process or on a cluster's worker."""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.states import Failed

from tasks.cluster import Equipment, run_job
from tasks.shard_map import PoolStopped, WorkerDied

J = TypeVar("J")
R = TypeVar("R")


_PASSING = {
    "aiohttp.ClientConnectionError",
    "aiohttp.ClientPayloadError",
    "botocore.ConnectionError",
    "botocore.HTTPClientError",
    "httpx.TransportError",
    "requests.ChunkedEncodingError",
    "requests.ConnectionError",
    "requests.Timeout",
}
"""Failures of networks that the libraries below us raise as classes of their own; by name, as not all are installed."""


def can_pass(error: Any) -> bool:
    """Whether trying again may help: a killed worker, a network that fails, a lock that somebody holds."""
    names = {f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for kind in type(error).__mro__}
    return bool(names & _PASSING) or isinstance(error, ConnectionError | TimeoutError | WorkerDied)


@task(
    name="part",
    task_run_name="{name}",
    retries=2,
    retry_delay_seconds=[1, 10],
    retry_condition_fn=lambda task, run, state: can_pass(state.data),
    cache_policy=NO_CACHE,
    persist_result=False,
)
def part(name: str, work: Callable[[], R]) -> Any:
    """Run one part of a stage; `name` is for the user interface."""
    try:
        return work()
    except (PoolStopped, ValueError, OSError) as error:
        if can_pass(error):
            raise
        return Failed(message=str(error), data=error)


def work_there(function: Callable[[J], R], job: J, expected: Equipment, level: int) -> R:
    """Run a job on a cluster's worker, its log lines under the task's run.

    level: of the project's loggers. Raises as run_job.
    """
    for name in ("c2p", "tasks"):
        logger = logging.getLogger(name)
        logger.setLevel(level)
        for handler in logging.getLogger("prefect.extra").handlers:  # what prefect's extra_loggers get
            if handler not in logger.handlers:
                logger.addHandler(handler)
    return run_job(function, job, expected)
