"""The seam between Prefect and DVC: DVC decides, restores, locks and records; the stage's body runs where we say.

`dvc repro` would start a stage's command in a shell. Here only that step is replaced, on the one stage object at hand:
the command goes to a function of ours, which may run the body in-process. Everything else is DVC's own code, so
dvc.lock, run cache and locks are as `dvc repro` leaves them. This leans on internals of DVC 3.67 (`Stage._run_stage`,
`rwlocked`, `unlocked_repo`, `_pull_missing_deps`), which the contract tests hold still; should they go away,
`dvc --wait-for-lock repro --single-item STAGE` in a child process does the same, a second or two slower a stage.
"""

import contextlib
import logging
import re
import types
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from dvc.exceptions import CheckoutError, DvcException, ReproductionError
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.repo.reproduce import get_active_graph, plan_repro
from dvc.stage import Stage
from dvc.stage.cache import RunCacheNotFoundError, RunCacheNotSupported
from dvc.stage.decorators import rwlocked, unlocked_repo
from dvc.stage.run import _pull_missing_deps

from tasks.busy import Busy
from tasks.dvc_lock import write_entry

logger = logging.getLogger(__name__)
logging.getLogger("dvc").propagate = False
logging.getLogger("dvc").setLevel(logging.WARNING)

Outcome = Literal["current", "restored", "ran"]
"""Nothing had changed, or the outputs came from DVC's cache, or the body ran."""


def plan(
    targets: Sequence[str] = (), *, root: Path, pull: bool = False, skip: Callable[[str], None] | None = None
) -> dict[str, list[str]]:
    """Return the stages that `targets` (default: all) need, upstream first, each with those whose outputs it reads.

    `pull` fetches from DVC's remote what it has noted of earlier runs (its run cache), for `reproduce` to find. `skip`
    is told the first of the stages, in order, in which nothing has changed, up to one that can't be skipped; what
    stands in the way of that one (its files are busy, say) is for `reproduce` to tell.

    Raises ValueError: no such stage, a dvc.yaml that can't be read, or a remote that can't.
    """
    try:
        with _open(root) as repo, repo.lock:
            if pull:
                with contextlib.suppress(RunCacheNotSupported):  # no remote, or one that keeps no notes
                    repo.stage_cache.pull(None)
            goals = [stage for target in targets for stage in repo.stage.collect(target)]
            graph = get_active_graph(repo.index.graph)
            stages = plan_repro(graph, goals or None)
            if skip:
                _skip_current(stages, skip)
            return {stage.addressing: [need.addressing for need in graph.successors(stage)] for stage in stages}
    except DvcException as error:
        raise ValueError(_one_line(error)) from error
    except Exception as error:
        if _of_remote(error):
            raise ValueError(f"DVC's remote: {_one_line(error)}") from error
        raise


def _skip_current(stages: Iterable[Stage], skip: Callable[[str], None]) -> None:
    with contextlib.suppress(DvcException):  # a stage that can't be looked at is for `reproduce`
        for stage in stages:
            if stage.changed():
                return
            skip(stage.addressing)


def reproduce(
    name: str,
    execute: Callable[[str], None],
    *,
    root: Path,
    force: bool = False,
    pull: bool = False,
    later: Sequence[str] = (),
    skip: Callable[[str], None] = lambda name: None,
) -> Outcome:
    """Bring one stage up to date, its upstream left as it is; `execute` runs its command.

    `skip` is told the first of the stages `later` in which nothing has changed then, as `plan` does.

    `force` runs the body though nothing has changed. With `pull`, what is missing and needed comes from DVC's remote,
    what is missing and not needed stays so, and a stage whose missing output no remote can have (`cache: false`) runs.

    Raises Busy, ValueError (DVC can't use what dvc.yaml or the working tree gives), and whatever `execute` raises.
    """
    outcomes: list[Outcome] = []

    def run_commands(stage: Stage) -> None:
        for command in [stage.cmd] if isinstance(stage.cmd, str) else stage.cmd:
            execute(command)

    @rwlocked(read=["deps"], write=["outs"])
    def run_stage(stage: Stage, dry: bool = False, force: bool = False, pull: bool = False, **_: Any) -> None:
        if pull:
            _fetch_inputs(stage)
        if not force:
            try:
                stage.repo.stage_cache.restore(stage, pull=pull)
                outcomes.append("restored")
                return
            except RunCacheNotFoundError:
                pass
        stage.save_deps()
        unlocked_repo(run_commands)(stage)
        outcomes.append("ran")

    def reproduce_stage(stage: Stage, **options: Any) -> Stage | None:
        stage._run_stage = types.MethodType(run_stage, stage)
        lost = pull and any(not (out.use_cache or out.exists) for out in stage.outs)
        options["force"] = (force or lost) and not stage.frozen  # DVC would note that new code made the old output
        if pull:
            options["upstream"] = list(stage.repo.index.graph.successors(stage))  # whose outputs it may not have seen
        done = stage.reproduce(**options)
        if done:
            write_entry(stage)
        _skip_current((stage.dvcfile.stages[other] for other in later), skip)
        return done

    try:
        with _open(root) as repo:
            options = {"force": force, "pull": pull, "allow_missing": pull, "run_cache": False}
            repo.reproduce([name], single_item=True, repro_fn=reproduce_stage, **options)
    except ReproductionError as error:
        failure: BaseException = error.__cause__ or error
    except DvcException as error:
        failure = error
    else:
        return outcomes[0] if outcomes else "current"
    if isinstance(failure, LockError):
        raise Busy(f"{name}: {_one_line(failure)}; wait for that process or stop it, then run again")
    if isinstance(failure, DvcException) or _of_remote(failure):
        raise ValueError(f"{name}: {_one_line(failure)}") from failure
    raise failure


def _fetch_inputs(stage: Stage) -> None:
    try:
        _pull_missing_deps(stage)
    except CheckoutError as error:
        missing = ", ".join(dep.def_path for dep in stage.deps if not dep.exists)
        raise ValueError(
            f"{stage.addressing}: {missing} is neither here nor on DVC's remote; run `dvc push` where it was made, or "
            "make it here, without pull"
        ) from error


def _of_remote(error: BaseException) -> bool:
    """Whether the S3 client could not do what DVC asked of it, for lack of a server or of credentials."""
    return type(error).__module__.startswith("botocore.")


def _open(root: Path) -> Repo:
    """Open the project, ready to wait for its lock; say so if another process holds it."""
    try:
        with Repo(str(root)) as probe, probe.lock:
            pass
    except LockError:
        logger.warning("another DVC process holds the lock of %s; waiting for it", root)
    return Repo(str(root), _wait_for_lock=True)


def _one_line(error: BaseException) -> str:
    """DVC's message without colours and its advice about removing lock files by hand, for processes that are gone."""
    return " ".join(re.sub(r"\x1b\[\d*m", "", str(error)).partition("\n\nIf there are no processes")[0].split())
