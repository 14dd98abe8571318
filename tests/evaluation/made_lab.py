"""Kinds of clouds, and what a small project made of them holds; the fixtures are in conftest.py."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from c2p import params
from c2p.data.benchmarks import PointSet

REPOSITORY = Path(__file__).resolve().parents[2]
CLASSES = ("box", "pole", "plate")


@dataclass(frozen=True)
class Lab:
    """Everything the protocols need."""

    settings: params.Params
    clip: Path
    encoders: Path
    benchmarks: list[Path]
    cache: Path


def clouds(seed: int, each: int, prefix: str) -> PointSet:
    """Boxes, poles and plates of slightly different proportions."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(3), each)
    extents = np.array([[1.0, 1.0, 1.0], [0.1, 1.0, 0.1], [1.0, 0.1, 1.0]])[labels]
    points = generator.uniform(-1, 1, size=(len(labels), 64, 3)) * extents[:, None]
    points *= generator.uniform(0.9, 1.1, size=(len(labels), 1, 3))
    points -= points.mean(1, keepdims=True)
    points /= np.linalg.norm(points, axis=2).max(1)[:, None, None]
    return PointSet(tuple(f"{prefix}-{n:03d}" for n in range(len(labels))), points.astype(np.float32), labels)
