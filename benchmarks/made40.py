"""A made stand-in for ModelNet40 of its true size: 40 classes, 16 training objects a class, 2,468 test objects.

The classes are the made families, and the first of them once more lying on their side; no two objects are the same
shape. The set is made once and kept below .c2p/benchmarks.
"""

import hashlib
from pathlib import Path

import numpy as np

from c2p.data import toy
from c2p.data.benchmarks import Benchmark, write_benchmark
from c2p.data.clouds import farthest_cloud
from c2p.data.pointset import PointSet
from c2p.geometry.points import sample_surface
from tasks.closure import code_digest
from tasks.shard_map import WorkerPool

ROOT = Path(__file__).resolve().parent.parent
CLASSES = 40
SHOTS = 16
TEST = 2_468
"""Test objects of ModelNet40."""
SURFACE = 8_192
POINTS = 1_024
LYING = " lying on its side"


def made40() -> Path:
    """The set's file, made if it isn't there yet: a minute on two cores."""
    code = code_digest("c2p.data.toy", "c2p.data.clouds", "c2p.data.benchmarks")
    digest = hashlib.sha256(code.encode() + Path(__file__).read_bytes()).hexdigest()
    path = ROOT / ".c2p/benchmarks" / f"made40-{digest[:16]}.parquet"
    if not path.exists():
        counts = {"train": [SHOTS] * CLASSES, "test": [len(part) for part in np.array_split(np.arange(TEST), CLASSES)]}
        with WorkerPool(2) as pool:
            train, test = (
                _joined(pool.map(class_clouds, [(label, split, count) for label, count in enumerate(of)]))
                for split, of in counts.items()
            )
        write_benchmark(path, Benchmark("made shapes, 40 classes", class_names(), train, test))
    return path


def class_names() -> tuple[str, ...]:
    """Names in label order."""
    families = tuple(toy.FAMILIES)
    return families + tuple(name + LYING for name in families[: CLASSES - len(families)])


def class_clouds(job: tuple[int, str, int]) -> PointSet:
    """So many objects of one class and split."""
    label, split, count = job
    name = class_names()[label]
    keys = tuple(f"{split}-{label:02d}-{index:03d}" for index in range(count))
    clouds = []
    for key in keys:
        seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:6], "big")
        cloud = sample_surface(toy.make_shape(name.removesuffix(LYING), seed), SURFACE, seed)
        if name.endswith(LYING):
            cloud = cloud[:, [1, 0, 2]] * np.array([1, -1, 1], np.float32)
        clouds.append(farthest_cloud(cloud, POINTS))
    return PointSet(keys, np.stack(clouds), np.full(count, label))


def _joined(parts: list[PointSet]) -> PointSet:
    keys = tuple(key for part in parts for key in part.keys)
    return PointSet(keys, np.concatenate([p.points for p in parts]), np.concatenate([p.labels for p in parts]))
