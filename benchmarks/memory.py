"""Peak memory of the stages render, sample and shards over many made shapes: it should not grow with their number.

    python -m benchmarks.memory 1000 10000

Pictures and clouds are tiny, so that ten thousand models take minutes; parts and shards have the sizes of profile
`paper`, so that what a coordinator keeps of each model is what it keeps of ShapeNet's. Each stage runs as a process of
its own with two workers, as `dvc repro` starts it.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from c2p.data import toy
from c2p.data.sources import Source, write_sources

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("render", "sample", "shards")
CATEGORIES = 25
"""Of the made ShapeNet."""
TINY: dict[str, dict[str, Any]] = {
    "render": {"size": 16, "supersample": 1, "cloud_points": 256, "part_size": 250},
    "sample": {"points": 64},
    "depth": {"size": 16},
    "shards": {"samples_per_shard": 500},
}
WORKERS = 2
_STAGE = """
import json, resource, sys
from pathlib import Path
from tasks.shard_map import WorkerPool
from tasks.stage import Call, run_stage
with WorkerPool() as pool:
    run_stage(Call(sys.argv[1]), root=Path.cwd(), map_=pool.map)
own, workers = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
print(json.dumps({"coordinator_mb": own / 1024, "worker_mb": workers / 1024}))
"""
"""Runs a stage, and says the peaks of its own process and of its largest worker (Linux counts in KiB)."""


@dataclass(frozen=True)
class Peak:
    """What a stage took."""

    stage: str
    coordinator_mb: float
    worker_mb: float
    """Of the largest worker."""
    seconds: float


def measure(models: int) -> float:
    """Peak resident memory of the largest process while so many made shapes are rendered, sampled and packed, in MB.

    models: rounded up to a multiple of the categories.
    """
    return round(max(max(peak.coordinator_mb, peak.worker_mb) for peak in measure_stages(models)), 1)


def measure_stages(models: int) -> list[Peak]:
    """Peaks of every stage and of its workers, over so many made shapes."""
    with tempfile.TemporaryDirectory(prefix="c2p-memory-") as name:
        folder = Path(name)
        _make_project(folder, -(-models // CATEGORIES))
        return [_measure_stage(folder, stage) for stage in STAGES]


def _make_project(folder: Path, of_category: int) -> None:
    params = yaml.safe_load((ROOT / "profiles" / "demo.yaml").read_text(encoding="utf-8"))
    for section, values in TINY.items():
        params[section] |= values
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    validation = max(1, of_category // 5)
    raw = folder / "data" / "raw"
    toy.write_shapenet(raw / "shapenet", seed=0, train=of_category - validation, validation=validation)
    write_sources(raw, [Source("shapenet", "shapenet", "y", True)])


def _measure_stage(folder: Path, stage: str) -> Peak:
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "C2P_WORKERS": str(WORKERS)}
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", _STAGE, stage], cwd=folder, env=variables, stdout=subprocess.PIPE, text=True, check=True
    )
    return Peak(stage, **json.loads(done.stdout), seconds=time.monotonic() - begin)


def main(counts: Sequence[str]) -> None:
    """Print a table for the given numbers of models."""
    print(f"{'models':>7} {'stage':8} {'coordinator':>12} {'worker':>9} {'time':>8}")
    for count in map(int, counts or ("1000", "10000")):
        for peak in measure_stages(count):
            sizes = f"{peak.coordinator_mb:9.0f} MB {peak.worker_mb:6.0f} MB"
            print(f"{count:7} {peak.stage:8} {sizes} {peak.seconds:6.1f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
