"""Labelled point clouds of one split."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PointSet:
    """Labelled clouds of one split."""

    keys: tuple[str, ...]
    """(N,) names, unique."""
    points: np.ndarray
    """(N, P, 3) float32: farthest points, centred on their mean, largest norm 1, y up."""
    labels: np.ndarray
    """(N,) int64 indices into the benchmark's classes."""

    def __len__(self) -> int:
        return len(self.keys)
