"""What orchestration costs: `make bench-orchestration` prints it and writes benchmarks/results/orchestration.json.

Run it in a finished checkout (`make demo`): `dvc status` must find nothing to do. A project server is started where
none runs, and stopped afterwards.

skip_s: a skipped stage. A flow over the whole graph, in which every stage is skipped, minus one over the first stage
alone, by the number of stages between: whole processes, in pairs.

noop_over_dvc_status_s: a flow over the whole graph in which nothing is to be done, minus `dvc status`: whole processes,
in pairs. Both import DVC and look at every file; the flow imports Prefect too and shows each stage in the UI.

ms_per_shard_task: a flow run of 1,000 parts, each a task, minus the same jobs by the worker pool alone, by 1,000. Both
have their workers running and warm. A job hashes a megabyte, so next to nothing of the tasks' cost hides behind the
work; in real stages, whose parts take seconds, much of it does.

share_of_demo: in a fresh clone, the command of `make demo` from its start to its end (the temporary server that it
brings, imports and DVC's hashing included), minus the bodies of all stages (c2p.timings), by the whole. Runs from
nothing: minutes.
"""

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from c2p.timings import read_timings
from flows.server import environment, start, stop
from tasks.project_server import running_url

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks/results/orchestration.json"
FLOW = (sys.executable, "-m", "flows.pretrain_pipeline")
STATUS = (sys.executable, "-m", "dvc", "status")
ROUND = """
import json, sys
from benchmarks.orchestration import time_tasks
print(json.dumps(time_tasks(int(sys.argv[1]))))
"""
TASKS = 1000
WARM = 50
"""Jobs that start the workers before anything is timed."""
MEGABYTE = bytes(1_000_000)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.orchestration", description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=7, help="pairs of processes, and rounds of tasks (7)")
    parser.add_argument("--no-demo", action="store_true", help="without share_of_demo, which takes minutes")
    parser.add_argument("--out", type=Path, default=RESULT, help=f"file to write ({RESULT.relative_to(ROOT)})")
    given = parser.parse_args()
    status = _run(STATUS, ROOT)[1]
    if "up to date" not in status:
        raise SystemExit(f"dvc status: got {' '.join(status.split())[:200]}; this needs a finished run: make demo")
    with project_server(ROOT) as environ:
        result: dict[str, Any] = measure_noop(given.pairs, environ) | measure_tasks(given.pairs, environ)
    if not given.no_demo:
        result |= measure_demo()
    figures = {name: value for name, value in result.items() if not isinstance(value, dict)}
    about = machine() | {name: version(name) for name in ("prefect", "dvc")}
    result = figures | {"machine": about} | {n: value for n, value in result.items() if n not in figures}
    print(json.dumps(result, indent=2))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


@contextmanager
def project_server(root: Path) -> Iterator[dict[str, str]]:
    """Yield the environment of runs that report to the project's server; one that was not up ends with the block."""
    mine = running_url(root) is None
    url = start(root) if mine else str(running_url(root)).removesuffix("/api")
    try:
        yield environment(root, url)
    finally:
        if mine:
            stop(root)


def measure_noop(pairs: int, environ: dict[str, str]) -> dict[str, Any]:
    """Seconds of a no-op flow over `dvc status`, and of one skipped stage; medians, and every pair."""
    everything, first, status = [], [], []
    stages = 0
    for number in range(pairs + 1):  # the first warms the page cache
        order: list[Callable[[], None]] = [
            lambda: everything.append(_run(FLOW, ROOT, environ)),
            lambda: status.append(_run(STATUS, ROOT, environ)),
            lambda: first.append(_run((*FLOW, "download"), ROOT, environ)),
        ]
        for measure in order if number % 2 else reversed(order):
            measure()
        counts = everything[-1][1].split()
        stages = int(counts[0])
        if f"0 ran, 0 restored, {stages} current" not in everything[-1][1]:
            raise SystemExit(f"the flow over a finished project said: {everything[-1][1]}")
    over = [flow[0] - base[0] for flow, base in zip(everything[1:], status[1:], strict=True)]
    skip = [(flow[0] - one[0]) / (stages - 1) for flow, one in zip(everything[1:], first[1:], strict=True)]
    return {
        "skip_s": round(statistics.median(skip), 4),
        "noop_over_dvc_status_s": round(statistics.median(over), 2),
        "noop": {
            "pairs": pairs,
            "stages": stages,
            "skip_s": _spread(skip, 4),
            "over_s": _spread(over, 2),
            "flow_s": _spread([seconds for seconds, _ in everything[1:]], 2),
            "one_stage_s": _spread([seconds for seconds, _ in first[1:]], 2),
            "dvc_status_s": _spread([seconds for seconds, _ in status[1:]], 2),
        },
    }


def measure_tasks(rounds: int, environ: dict[str, str]) -> dict[str, Any]:
    """Milliseconds that a task adds to its job: the median of rounds, each a process of its own."""
    found = []
    for _ in range(rounds):
        found.append(json.loads(_run((sys.executable, "-c", ROUND, str(TASKS)), ROOT, environ)[1].splitlines()[-1]))
    added = [1000 * (one["flow_s"] - one["pool_s"]) / TASKS for one in found]
    return {
        "ms_per_shard_task": round(statistics.median(added), 2),
        "tasks": {
            "rounds": rounds,
            "tasks": TASKS,
            "workers": found[0]["workers"],
            "added_ms": _spread(added, 2),
            "flow_s": _spread([one["flow_s"] for one in found], 2),
            "pool_s": _spread([one["pool_s"] for one in found], 2),
        },
    }


def time_tasks(count: int) -> dict[str, Any]:
    """Seconds of the same jobs as tasks of a flow run, and by the pool alone: the mean of before and after it."""
    from prefect import flow

    from flows.part_map import map_parts
    from flows.runners import of_processes
    from tasks.shard_map import WorkerPool

    jobs = list(range(count))
    with WorkerPool() as pool:
        runner = of_processes(pool)

        @flow(name="benchmark", flow_run_name=f"{count} shards", persist_result=False, task_runner=runner.task_runner)
        def as_tasks() -> None:
            map_parts("shards", runner, hash_megabyte, jobs, names=[f"train-{number:06d}.tar" for number in jobs])

        def by_pool() -> float:
            begin = time.perf_counter()
            pool.map(hash_megabyte, jobs)
            return time.perf_counter() - begin

        pool.map(hash_megabyte, jobs[:WARM])
        before = by_pool()
        begin = time.perf_counter()
        as_tasks()
        seconds = time.perf_counter() - begin
        after = by_pool()
    return {"flow_s": seconds, "pool_s": (before + after) / 2, "workers": pool.workers}


def hash_megabyte(job: int) -> str:
    """A job of about a millisecond."""
    return hashlib.sha256(MEGABYTE + bytes([job % 256])).hexdigest()


def measure_demo() -> dict[str, Any]:
    """The share of the demo's time that is not work of stages, in a fresh clone."""
    with tempfile.TemporaryDirectory(prefix="c2p-demo-") as folder:
        clone = Path(folder) / "c2p"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        shutil.copy(ROOT / "params.yaml", clone)
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        seconds, said = _run(FLOW, clone, environ)
        bodies = {timing.stage: timing.seconds for timing in read_timings(clone)}
    if f"{len(bodies)} ran, 0 restored, 0 current" not in said:
        raise SystemExit(f"the demo in a fresh clone said: {said}")
    return {
        "share_of_demo": round((seconds - sum(bodies.values())) / seconds, 4),
        "demo": {
            "runs": 1,
            "whole_s": round(seconds, 1),
            "bodies_s": round(sum(bodies.values()), 1),
            "orchestration_s": round(seconds - sum(bodies.values()), 1),
            "stages": bodies,
        },
    }


def _run(command: tuple[str, ...], root: Path, environ: dict[str, str] | None = None) -> tuple[float, str]:
    """Seconds of a whole process in a project, and what it printed."""
    begin = time.perf_counter()
    done = subprocess.run(
        command, cwd=root, env={**(environ or os.environ), "PYTHONPATH": str(root)}, capture_output=True, text=True
    )
    seconds = time.perf_counter() - begin
    if done.returncode:
        raise SystemExit(f"{' '.join(command[1:])}: exit code {done.returncode}: {done.stderr.strip()[-2000:]}")
    return seconds, done.stdout


def _spread(values: list[float], digits: int) -> dict[str, Any]:
    return {
        "median": round(statistics.median(values), digits),
        "min": round(min(values), digits),
        "max": round(max(values), digits),
        "all": [round(value, digits) for value in values],
    }


if __name__ == "__main__":
    main()
