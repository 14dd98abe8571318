"""The parts of a stage as tasks of its flow run: a `Map` for the stage's body."""

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from typing import Any, TypeVar

from prefect.futures import PrefectFuture
from prefect.results import ResultRecord

from flows.parts import part
from flows.runners import Runner
from tasks.artifacts import Progress
from tasks.shard_map import job_names

J = TypeVar("J")
R = TypeVar("R")


def map_parts(
    stage_name: str,
    runner: Runner,
    function: Callable[[J], R],
    jobs: Sequence[J],
    /,
    *,
    names: Sequence[str] | None = None,
) -> list[R]:
    """Run jobs as tasks: a `Map`. Few wait at a time, so that a failure ends the stage."""
    logging.getLogger("prefect.task_runs").addFilter(_tells_something)
    progress = Progress(stage_name, len(jobs))
    room = threading.Semaphore(runner.window)
    states: list[bool] = []

    def finish(future: PrefectFuture[R]) -> None:
        try:
            future.wait()
            states.append(future.state.is_completed())
        except CancelledError:  # an interrupt: it never began
            states.append(False)
        finally:
            room.release()

    futures: list[Any] = []
    try:
        for name, job in zip(job_names(function, jobs, names), jobs, strict=True):
            room.acquire()
            if not all(states):
                break
            futures.append(part.submit(name, runner.call(function, job)))
            futures[-1].add_done_callback(finish)
            progress.show(len(states))
        results = []
        for future in futures:
            results.append(_result(future))
            progress.show(len(states))
    except BaseException as error:
        if not isinstance(error, Exception):  # Ctrl-C or a cancelled run: the tasks' threads must not wait for parts
            runner.stop()
        raise
    assert len(results) == len(jobs), "a part failed and said nothing"
    progress.show(len(jobs))
    return results


def _result(future: PrefectFuture[R]) -> R:
    """What a task returned, without the event loop, whose turn costs Prefect's own `result` 5 ms and more."""
    future.wait()
    record = future.state.data
    if future.state.is_completed() and isinstance(record, ResultRecord):
        return record.result
    return future.result()


def _tells_something(record: logging.LogRecord) -> bool:
    """A line a task that ended well would bury what the stage itself says."""
    return not str(record.msg).startswith("Finished in state Completed")
