"""Flow `pretrain-pipeline`: the graph of dvc.yaml, one subflow a stage, one task a part.

As a deployment it runs on the project's server; `python -m flows.pretrain_pipeline [STAGE ...]` runs it in this
process, reporting to the project's server if that is up, else to a temporary one.
"""

import argparse
import functools
import logging
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from prefect import flow
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.states import Completed, Failed

from flows.cached import cached_runs
from flows.heartbeat import heartbeat
from flows.part_map import map_parts
from flows.runners import RunnerName, open_runners, runner_in_use, use
from tasks.artifacts import publish_run, show_steps
from tasks.dvc_stage import Busy, plan, reproduce, skip_current
from tasks.events import stage_done
from tasks.progress import heard_by
from tasks.shard_map import WorkerDied
from tasks.stage import configure_logging, exit_code, parse_command, report, run_stage

logger = logging.getLogger("flows.pretrain_pipeline")


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
    root, begin = Path.cwd(), time.monotonic()
    rows: list[tuple[str, str, float]] = []

    def done(name: str, outcome: str) -> None:
        nonlocal begin
        end = time.monotonic()
        rows.append((name, outcome, end - begin))
        begin = end
        logger.info("%s: %s (%.1f s)", *rows[-1])
        stage_done(name, outcome, root=root, seconds=rows[-1][2])

    try:
        with heartbeat(), cached_runs(stage) as record:

            def skip(name: str) -> None:
                record(name)
                done(name, "current")

            names = plan(targets or [], root=root, pull=pull, skip=None if force else skip)
            with open_runners(runner, names) as runner_of:
                while len(rows) < len(names):
                    name = names[len(rows)]
                    use(chosen := runner_of(name))
                    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):  # theirs cost 1 s at the end
                        outcome: Any = stage.with_options(task_runner=chosen.task_runner)(name, force=force, pull=pull)
                    done(name, outcome)
                    if not force:
                        skip_current(names[len(rows) :], skip, root=root)
    except Exception as error:
        return Failed(message=str(error), data=error)
    publish_run(root, rows)
    return {name: outcome for name, outcome, _ in rows}


@flow(name="stage", flow_run_name="{name}", persist_result=False)
def stage(name: str, force: bool = False, pull: bool = False) -> Any:
    """Bring one stage of dvc.yaml up to date; the run ends `Cached` where nothing had to be made."""
    root = Path.cwd()
    map_ = functools.partial(map_parts, name, runner_in_use())

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
        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
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
