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
from pathlib import Path
from typing import Any, TypeVar, get_args

from prefect import flow
from prefect.futures import PrefectFuture
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.states import Completed, Failed

from flows.parts import part
from flows.runners import Runner, RunnerName, open_runners, runner_in_use, use
from tasks.artifacts import Progress, publish_summary, publish_tables, show_steps
from tasks.dvc_stage import Busy, plan, reproduce
from tasks.events import stage_done
from tasks.progress import heard_by
from tasks.shard_map import WorkerDied, job_names
from tasks.stage import configure_logging, exit_code, parse_command, report, run_stage

logger = logging.getLogger("flows.pretrain_pipeline")

J = TypeVar("J")
R = TypeVar("R")


@flow(name="pretrain-pipeline", persist_result=False)
def pretrain_pipeline(
    targets: list[str] | None = None, force: bool = False, pull: bool = False, runner: RunnerName = "processes"
) -> Any:
    """Bring the pipeline up to date, publish its tables, and return what happened to each stage.

    Args:
        targets: stages to bring up to date with all they need; none means all.
        force: run every stage's body though nothing has changed.
        pull: fetch missing data from DVC's remote instead of making it.
        runner: what computes the parts of the data stages: worker processes of this machine, or the workers of a Dask
            or Ray cluster (C2P_CLUSTER; without it one on this machine).
    """
    configure_logging()
    root = Path.cwd()
    rows: list[tuple[str, str, float]] = []
    try:
        names = plan(targets or [], root=root, pull=pull)
        with open_runners(runner, names) as runner_of:
            for name in names:
                begin = time.monotonic()
                use(chosen := runner_of(name))
                with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):  # ours suffices; theirs cost 1 s
                    outcome: Any = stage.with_options(task_runner=chosen.task_runner)(name, force=force, pull=pull)
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
    map_ = functools.partial(_map_parts, name, runner_in_use())

    def execute(command: str) -> None:
        call = parse_command(command)
        if call:
            with heard_by(show_steps(name)):
                run_stage(call, root=root, map_=map_)
        else:
            _run_command(command, root)

    try:
        outcome = reproduce(name, execute, root=root, force=force, pull=pull)
    except (Busy, ValueError, OSError, WorkerDied) as error:
        return Failed(message=str(error), data=error)
    return outcome if outcome == "ran" else Completed(name="Cached", message=outcome, data=outcome)


def _map_parts(
    stage_name: str,
    runner: Runner,
    function: Callable[[J], R],
    jobs: Sequence[J],
    /,
    *,
    names: Sequence[str] | None = None,
) -> list[R]:
    """Run jobs as tasks: a `Map`. Few wait at a time, so that a failure ends the stage."""
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
            results.append(future.result())
            progress.show(len(states))
    except BaseException as error:
        if not isinstance(error, Exception):  # Ctrl-C or a cancelled run: the tasks' threads must not wait for parts
            runner.stop()
        raise
    assert len(results) == len(jobs), "a part failed and said nothing"
    progress.show(len(jobs))
    return results


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
    parser.add_argument(
        "--runner", choices=get_args(RunnerName), default="processes", help="what computes parts (processes)"
    )
    given = parser.parse_args(arguments)
    try:
        configure_logging()
        state: Any = pretrain_pipeline(given.targets, given.force, given.pull, given.runner, return_state=True)
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
