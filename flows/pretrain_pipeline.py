"""Flow `pretrain-pipeline`: the graph of dvc.yaml, one subflow a stage, one task a part.

As a deployment it runs on the project's server; `python -m flows.pretrain_pipeline [STAGE ...]` runs it in this
process, reporting to the project's server if that is up, else to a temporary one.
"""

if __name__ == "__main__":  # all take seconds: the server that the run may need, DVC's look, and the imports below
    from flows.garbage import postpone
    from flows.look import begin_look
    from flows.temporary import serve_here

    serve_here()
    begin_look()
    postpone()

import argparse
import functools
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from prefect import flow
from prefect.flow_engine import FlowRunTimeoutError
from prefect.states import Completed, Failed

from c2p.profiles import PARTS, leave_out
from c2p.profiles import use as use_profile
from flows.ahead import import_ahead, later, set_later, wait_for_import, warm_up
from flows.cached import cached_runs
from flows.commands import run_command
from flows.gpu import gpu_for
from flows.heartbeat import heartbeat, without_heartbeats
from flows.look import plan_stages
from flows.part_map import map_parts
from flows.patience import patiently, stage_seconds
from flows.runners import RunnerName, open_runners, runner_in_use, use
from flows.temporary import is_temporary
from flows.terminal import leave, run_here
from tasks.artifacts import publish_run, show_steps
from tasks.busy import Busy
from tasks.events import stage_done
from tasks.progress import heard_by
from tasks.shard_map import WorkerDied
from tasks.stage import configure_logging, parse_command, run_stage

logger = logging.getLogger("flows.pretrain_pipeline")


@flow(name="pretrain-pipeline", persist_result=False)
def pretrain_pipeline(
    targets: list[str] | None = None,
    force: bool = False,
    pull: bool = False,
    runner: RunnerName = "processes",
    wait: float = 0,
    profile: str | None = None,
    without: list[str] | None = None,
) -> Any:
    """Bring the pipeline up to date, publish its tables, and return what happened to each stage.

    Args:
        targets: stages to bring up to date with all they need; none means all.
        force: run every stage's body though nothing has changed.
        pull: fetch missing data from DVC's remote instead of making it.
        runner: what computes the parts of the data stages: worker processes of this machine, or the workers of a Dask
            or Ray cluster (C2P_CLUSTER; without it one on this machine).
        wait: minutes to wait for a process that works on the same files; 0 means to stop with a line that names it.
        profile: parameter profile to put in place first, as `c2p profile use` does; none leaves params.yaml as it is.
        without: parts to turn off in params.yaml first: `cg3d`, the 3D encoder beside CLIP2Point. Its stages then leave
            empty results at once, and the tables say that it was not run.
    """
    configure_logging()
    root, begin = Path.cwd(), time.monotonic()
    rows: list[tuple[str, str, float]] = []
    renewed: set[str] = set()

    def done(name: str, outcome: str) -> None:
        nonlocal begin
        end = time.monotonic()
        rows.append((name, outcome, end - begin))
        begin = end
        logger.info("%s: %s (%.1f s)", *rows[-1])
        stage_done(name, outcome, root=root, seconds=rows[-1][2])

    try:
        limit = stage_seconds()
        if profile:
            for change in use_profile(root, profile, []):
                logger.info("profile %s: %s", profile, change)
        for change in leave_out(root, without or []):
            logger.info("without %s: %s", ", ".join(without or []), change)
        with heartbeat(), cached_runs(stage) as record:

            def skip(name: str) -> None:
                record(name)
                done(name, "current")

            needs = plan_stages(targets or [], root=root, pull=pull, skip=None if force else skip)
            names = list(needs)
            import_ahead(names[len(rows) :])
            with open_runners(runner, names) as runner_of, without_heartbeats():
                while len(rows) < len(names):
                    name = names[len(rows)]
                    use(chosen := runner_of(name))
                    options: Any = {"task_runner": chosen.task_runner, "timeout_seconds": limit}
                    set_later(() if force else _worth_a_look(names[len(rows) :], needs, renewed))
                    result: Any = stage.with_options(**options)(name, force=force, pull=pull, wait=wait)
                    done(name, result[0])
                    if result[0] != "current":
                        renewed.add(name)
                    for current in result[1]:
                        skip(current)
                for name in names:
                    runner_of(name).close()
                publish_run(root, rows)
    except FlowRunTimeoutError:
        error = RuntimeError(f"{name}: not done after {limit / 3600:g} hours (C2P_STAGE_HOURS)")
        return Failed(message=str(error), data=error)
    except Exception as error:
        return Failed(message=str(error), data=error)
    return {name: outcome for name, outcome, _ in rows}


@flow(name="stage", flow_run_name="{name}", persist_result=False)
def stage(name: str, force: bool = False, pull: bool = False, wait: float = 0) -> Any:
    """Bring one stage of dvc.yaml up to date; the run ends `Cached` where nothing had to be made.

    Returns what happened, and which of the stages that come next are then current.
    """
    from tasks.dvc_stage import reproduce  # brings DVC, which a run that has nothing to do is done without

    root = Path.cwd()
    map_ = functools.partial(map_parts, name, runner_in_use())

    def execute(command: str) -> None:
        call = parse_command(command)
        wait_for_import(name)
        with gpu_for(name, root=root):
            if call:
                with heard_by(show_steps(name)):
                    run_stage(call, root=root, map_=map_)
            else:
                run_command(command, root)

    current: list[str] = []
    options: Any = {"root": root, "force": force, "pull": pull, "later": later(), "skip": current.append}
    try:
        with heartbeat():
            outcome = patiently(lambda: reproduce(name, execute, **options), minutes=wait)
    except (Busy, ValueError, OSError, WorkerDied) as error:
        return Failed(message=str(error), data=error)
    if outcome == "ran":
        return outcome, current
    return Completed(name="Cached", message=outcome, data=(outcome, current))


def _worth_a_look(names: Sequence[str], needs: Mapping[str, Sequence[str]], renewed: set[str]) -> Sequence[str]:
    """The stages after the first, which runs now; none where the next reads what this run has made or is making.

    Such a one is nearly always out of date, and to look costs a third of a second; `reproduce` looks at it anyhow.
    """
    now, *later = names
    return [] if later and not {now, *renewed}.isdisjoint(needs[later[0]]) else later


def main(arguments: Sequence[str]) -> int:
    """Run the flow in this process; return the exit code: 0, 2 for what the user gave, 1 for a failure."""
    parser = argparse.ArgumentParser(prog="python -m flows.pretrain_pipeline", description=(__doc__ or "").strip())
    parser.add_argument("targets", nargs="*", metavar="STAGE", help="stages to bring up to date; default: all")
    parser.add_argument("--force", action="store_true", help="run every stage though nothing has changed")
    parser.add_argument("--pull", action="store_true", help="fetch missing data from DVC's remote")
    parser.add_argument(
        "--runner", choices=get_args(RunnerName), default="processes", help="what computes parts (processes)"
    )
    parser.add_argument("--wait", type=float, default=0, metavar="MINUTES", help="wait so long for other runs (0)")
    parser.add_argument(
        "--profile", metavar="NAME", help="put this parameter profile in place first (c2p profile list)"
    )
    parser.add_argument(
        "--without",
        action="append",
        choices=PARTS,
        metavar="PART",
        help="turn this part off in params.yaml first (cg3d)",
    )
    given = parser.parse_args(arguments)
    if is_temporary():
        warm_up()
    with without_heartbeats():
        return run_here(lambda: pretrain_pipeline(**vars(given), return_state=True), _show)


def _show(outcomes: Mapping[str, str]) -> None:
    counts = {kind: sum(value == kind for value in outcomes.values()) for kind in ("ran", "restored", "current")}
    print(f"{len(outcomes)} stages: " + ", ".join(f"{count} {kind}" for kind, count in counts.items()))


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
