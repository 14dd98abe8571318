"""Flow `pretrain-pipeline`: the graph of dvc.yaml, one subflow a stage, one task a part.

As a deployment it runs on the project's server; `python -m flows.pretrain_pipeline [STAGE ...]` runs it in this
process, reporting to the project's server if that is up, else to a temporary one.
"""

import argparse
import functools
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.states import Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from tasks.artifacts import Progress, publish_summary, publish_tables
from tasks.dvc_stage import Busy, plan, reproduce
from tasks.events import stage_done
from tasks.shard_map import PoolStopped, WorkerDied, WorkerPool, job_names
from tasks.stage import configure_logging, exit_code, parse_command, report, run_stage

logger = logging.getLogger("flows.pretrain_pipeline")

J = TypeVar("J")
R = TypeVar("R")

_POOL: ContextVar[WorkerPool] = ContextVar("pool")


@flow(name="pretrain-pipeline", persist_result=False)
def pretrain_pipeline(targets: list[str] | None = None, force: bool = False, pull: bool = False) -> Any:
    """Bring the pipeline up to date, publish its tables, and return what happened to each stage.

    Args:
        targets: stages to bring up to date with all they need; none means all.
        force: run every stage's body though nothing has changed.
        pull: fetch missing data from DVC's remote instead of making it.
    """
    configure_logging()
    root = Path.cwd()
    rows: list[tuple[str, str, float]] = []
    try:
        with WorkerPool() as pool:
            _POOL.set(pool)
            runner: Any = ThreadPoolTaskRunner(max_workers=pool.workers)
            for name in plan(targets or [], root=root):
                begin = time.monotonic()
                with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):  # ours suffices; theirs cost 1 s
                    outcome: Any = stage.with_options(task_runner=runner)(name, force=force, pull=pull)
                rows.append((name, outcome, time.monotonic() - begin))
                logger.info("%s: %s (%.1f s)", *rows[-1])
                stage_done(name, outcome, root=root, seconds=rows[-1][2])
    except Exception as error:
        return Failed(message=str(error), data=error)
    publish_summary(rows)
    publish_tables(root)
    return {name: outcome for name, outcome, _ in rows}


@flow(name="stage", flow_run_name="{name}", persist_result=False)
def stage(name: str, force: bool = False, pull: bool = False) -> Any:
    """Bring one stage of dvc.yaml up to date; the run ends `Cached` where nothing had to be made."""
    root = Path.cwd()
    map_ = functools.partial(_map_parts, name, _POOL.get())

    def execute(command: str) -> None:
        call = parse_command(command)
        if call:
            run_stage(call, root=root, map_=map_)
        else:
            _run_command(command, root)

    try:
        outcome = reproduce(name, execute, root=root, force=force, pull=pull)
    except (Busy, ValueError, OSError, WorkerDied) as error:
        return Failed(message=str(error), data=error)
    return outcome if outcome == "ran" else Completed(name="Cached", message=outcome, data=outcome)


@task(
    name="part",
    task_run_name="{name}",
    retries=2,
    retry_delay_seconds=[1, 10],
    retry_condition_fn=lambda task, run, state: _can_pass(state.data),
    cache_policy=NO_CACHE,
    persist_result=False,
)
def part(name: str, work: Callable[[], R]) -> Any:
    """Run one part of a stage in a worker process; `name` is for the user interface."""
    try:
        return work()
    except (PoolStopped, ValueError, OSError) as error:
        if _can_pass(error):
            raise
        return Failed(message=str(error), data=error)


def _map_parts(
    stage_name: str,
    pool: WorkerPool,
    function: Callable[[J], R],
    jobs: Sequence[J],
    /,
    *,
    names: Sequence[str] | None = None,
) -> list[R]:
    """Run jobs as tasks that hand them to the pool: a `Map`. Few wait at a time, so that a failure ends the stage."""
    progress = Progress(stage_name, len(jobs))
    room = threading.Semaphore(2 * pool.workers)
    states: list[bool] = []

    def finish(future: PrefectFuture[R]) -> None:
        try:
            future.wait()
            states.append(future.state.is_completed())
        except CancelledError:  # an interrupt: it never began
            states.append(False)
        room.release()

    futures: list[Any] = []
    try:
        for name, job in zip(job_names(function, jobs, names), jobs, strict=True):
            room.acquire()
            if not all(states):
                break
            futures.append(part.submit(name, functools.partial(pool.run, function, job)))
            futures[-1].add_done_callback(finish)
            progress.show(len(states))
        results = []
        for future in futures:
            results.append(future.result())
            progress.show(len(states))
    except BaseException as error:
        if not isinstance(error, Exception):  # Ctrl-C or a cancelled run: the tasks' threads must not wait for parts
            pool.stop()
        raise
    assert len(results) == len(jobs), "a part failed and said nothing"
    progress.show(len(jobs))
    return results


def _can_pass(error: Any) -> bool:
    """Whether trying again may help: a killed worker, a network that fails."""
    of_requests = isinstance(error, OSError) and type(error).__module__.startswith("requests.")
    return of_requests or isinstance(error, ConnectionError | TimeoutError | WorkerDied)


def _run_command(command: str, root: Path) -> None:
    """Run a stage's command that is not ours (torchrun, say) as a child process, its output as log lines."""
    with subprocess.Popen(
        command, shell=True, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            logger.info("%s", line.rstrip())
    if process.returncode:
        raise RuntimeError(f"{command}: exit code {process.returncode}")


def main(arguments: Sequence[str]) -> int:
    """Run the flow in this process; return the exit code: 0, 2 for what the user gave, 1 for a failure."""
    parser = argparse.ArgumentParser(prog="python -m flows.pretrain_pipeline", description=(__doc__ or "").strip())
    parser.add_argument("targets", nargs="*", metavar="STAGE", help="stages to bring up to date; default: all")
    parser.add_argument("--force", action="store_true", help="run every stage though nothing has changed")
    parser.add_argument("--pull", action="store_true", help="fetch missing data from DVC's remote")
    given = parser.parse_args(arguments)
    try:
        configure_logging()
        state: Any = pretrain_pipeline(given.targets, given.force, given.pull, return_state=True)
        outcome = state.result(raise_on_failure=False)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        return report(error)
    if isinstance(outcome, Exception):
        logger.error("%s", " ".join(str(outcome).split()))
        return exit_code(outcome)
    counts = {kind: sum(value == kind for value in outcome.values()) for kind in ("ran", "restored", "current")}
    print(f"{len(outcome)} stages: " + ", ".join(f"{count} {kind}" for kind, count in counts.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
