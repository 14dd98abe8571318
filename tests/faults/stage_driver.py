"""Runs stages in forked copies of one warmed process, and kills them: a start costs milliseconds, not seconds.

Reads an order a line from standard input, JSON, and answers with a line. The copy runs the stage's real command,
`tasks.__main__.main([stage])`, with worker processes that are forked too, and dies of a real SIGKILL.
"""

import ctypes
import faulthandler
import importlib
import json
import multiprocessing.context
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import psutil

from c2p.geometry.meshes import load_mesh
from c2p.geometry.points import farthest_points, sample_surface
from c2p.geometry.views import view_set
from c2p.params import load
from c2p.rendering import render_views
from tasks import __main__ as command
from tasks import shard_map
from tasks.closure import code_digest

WARM = (
    *(f"tasks.{stage}" for stage in ("download", "render", "sample", "shards")),
    *("c2p.data.toy", "c2p.geometry.depth", "numba", "torch", "webdataset"),
)
"""Modules that a stage's processes import, some of them late: a copy has them from its beginning."""
SUBREAPER = 36
"""prctl's PR_SET_CHILD_SUBREAPER: orphans of a killed stage become ours, so that we see them end."""
WATCHED = ("open", "os.rename", "os.link", "os.remove", "os.mkdir")
"""Audit events of a process' work on files; its own death may come before each of them."""
LONGEST_S = 300


def warm_up() -> None:
    """Import, compile and hash what every stage would, once."""
    for module in WARM:
        importlib.import_module(module)
    for stage in ("render", "sample", "shards"):
        code_digest(f"tasks.{stage}")
    triangle = load_mesh(b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n", "off", max_faces=9)
    profile = load(Path(__file__).resolve().parents[2] / "params.yaml")
    render_views(triangle, view_set("one").rotations, replace(profile.render, size=8))
    farthest_points(sample_surface(triangle, 9, 0), 3)


class ForkedWorkers(shard_map._WorkerContext):
    """Stands in for the spawning context: the same pool, started in milliseconds."""

    _name = "fork"

    def Process(self, *args: Any, **kwargs: Any) -> multiprocessing.context.ForkProcess:  # type: ignore[override]
        process = multiprocessing.context.ForkProcess(*args, **kwargs)
        self._started.append(process)
        return process


class EarlyPool(shard_map.WorkerPool):
    """Starts its workers before the stage begins, since a process may not fork any more once Arrow runs threads."""

    def __enter__(self) -> Self:
        self.run(abs, 0)
        return super().__enter__()


def run_order(order: dict[str, Any]) -> dict[str, Any]:
    """Run a stage in a folder; `kill` says when (seconds, files in the store, file events) and whom."""
    kill = order.get("kill", {})
    log = Path(order["folder"]) / "log.txt"
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        _be_the_stage(order, kill, log)
    os.setpgid(child, child)  # the child does it too: whoever comes first
    watch = psutil.Process(child)
    struck = False
    while (status := _ended(child)) is None:
        past = time.monotonic() - started
        if not struck and _is_time(kill, past, Path(order["folder"])):
            struck = _strike(watch, kill["whom"])
        if past > LONGEST_S:
            raise TimeoutError(f"{order} goes on after {LONGEST_S} s:\n{_stacks(watch, log)}")
        signal.sigtimedwait([signal.SIGCHLD], 0.001)
    seconds = time.monotonic() - started
    left = _wait_for_orphans()
    return {"status": status, "seconds": seconds, "left": left, "said": log.read_text()}


def _stacks(watch: psutil.Process, log: Path) -> str:
    """Where a stage and its workers hang; ends them."""
    for process in (watch, *watch.children()):
        process.send_signal(signal.SIGUSR1)
        signal.sigtimedwait([signal.SIGCHLD], 1)
    os.killpg(watch.pid, signal.SIGKILL)
    return log.read_text()


def _be_the_stage(order: dict[str, Any], kill: dict[str, Any], log: Path) -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
    os.setpgid(0, 0)
    os.chdir(order["folder"])
    for number in (1, 2):
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    faulthandler.register(signal.SIGUSR1, file=sys.__stderr__, all_threads=True)
    os.environ["C2P_WORKERS"] = str(order["workers"])
    shard_map._WorkerContext = ForkedWorkers  # type: ignore[assignment, misc]
    command.WorkerPool = EarlyPool  # type: ignore[misc]
    _count_events(order["folder"], kill)
    code = 1
    try:
        code = command.main([order["stage"]])
    finally:
        os._exit(code)


def _count_events(folder: str, kill: dict[str, Any]) -> None:
    seen = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event in WATCHED and isinstance(arguments[0], str | Path) and str(arguments[0]).startswith(folder):
            seen += 1
            if seen == kill.get("events"):
                os.killpg(0, signal.SIGKILL) if kill["whom"] == "group" else os.kill(os.getpid(), signal.SIGKILL)

    if "events" in kill:
        sys.addaudithook(hook)


def _is_time(kill: dict[str, Any], past: float, folder: Path) -> bool:
    if "seconds" in kill:
        return past >= kill["seconds"]
    return "files" in kill and len(list(folder.glob(".c2p/store/*/[!.]*"))) >= kill["files"]


def _strike(watch: psutil.Process, whom: str) -> bool:
    """Kill the whole group, the parent only or one worker only; False: there is no worker yet."""
    if whom == "group":
        os.killpg(watch.pid, signal.SIGKILL)
        return True
    victims = [watch] if whom == "parent" else watch.children()
    if victims:
        os.kill(victims[-1].pid, signal.SIGKILL)
    return bool(victims)


def _ended(child: int) -> int | None:
    pid, status = os.waitpid(child, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if pid else None


def _wait_for_orphans() -> int:
    """Wait for workers whose parent died; how many had to be killed after all."""
    deadline = time.monotonic() + 20
    left = 0
    while children := psutil.Process().children(recursive=True):
        if time.monotonic() > deadline:
            left = len(children)
            for orphan in children:
                orphan.kill()
        for orphan in children:
            os.waitpid(orphan.pid, os.WNOHANG)
        signal.sigtimedwait([signal.SIGCHLD], 0.001)
    return left


if __name__ == "__main__":
    warm_up()
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    threads = {thread.joinpath("comm").read_text().strip() for thread in Path("/proc/self/task").iterdir()}
    assert len(threads - {"jemalloc_bg_thd"}) == 1, "a thread would not survive a fork; jemalloc minds its own"
    for line in sys.stdin:
        print(json.dumps(run_order(json.loads(line))), flush=True)
