"""Augmented passes over the training objects: other distances and, where the set's file holds them, other points.

A pass is numbered from 1; what an object looks like in it depends on the number and the object's key alone, so that it
is encoded once for all seeds, numbers of shots and stages.

Legend: N object, P point.
"""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from c2p.data.benchmarks import draw_counts, read_draw
from c2p.evaluation.drawings import Clip2PointDrawing, Drawing, PointclipDrawing, PointclipV2Drawing

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Augmentation:
    """One augmented pass."""

    number: int
    """From 1."""
    jitter: float
    """Camera distances are drawn uniformly from [1 - jitter, 1 + jitter) times the drawing's."""

    def distances(self, keys: Sequence[str]) -> np.ndarray:
        """Factor (N,) float64 on the camera distance of each object."""
        draws = [np.random.default_rng(self._seed(key)).uniform(1 - self.jitter, 1 + self.jitter) for key in keys]
        return np.array(draws, dtype=np.float64)

    def points(self, path: Path) -> np.ndarray | None:
        """Points (N, P, 3) float32 of every training object of a benchmark file, by its random draws in turn.

        None: the file holds no draws of training objects, the points stay the farthest ones.
        """
        held = draw_counts(path)["train"]
        return read_draw(path, "train", (self.number - 1) % held) if held else None

    def _seed(self, key: str) -> list[int]:
        digest = hashlib.sha256(f"{self.number}:{key}".encode()).digest()
        return list(np.frombuffer(digest, np.uint32).tolist())


class Jittered:
    """Draws each object from a distance of its own; objects come once each, in the order of the factors."""

    def __init__(self, drawing: Drawing, distances: np.ndarray, image_size: tuple[int, int]) -> None:
        self._drawings: Iterator[Drawing] = (at_distance(drawing, float(factor)) for factor in distances)
        self._image_size = image_size

    def __call__(self, points: Tensor, rotations: Tensor) -> Tensor:
        """The next objects' points (B, P, 3) and rotations (V, 3, 3) to pictures (B, V, 3, H, W)."""
        return torch.cat([next(self._drawings).draw(cloud[None], rotations, self._image_size) for cloud in points])


def at_distance(drawing: Drawing, factor: float) -> Drawing:
    """The same drawing with its camera at so many times the distance; PointCLIP V2's has none."""
    if isinstance(drawing, PointclipV2Drawing):
        return drawing
    if isinstance(drawing, Clip2PointDrawing):
        return Clip2PointDrawing(replace(drawing.settings, distance=factor * drawing.settings.distance))
    assert isinstance(drawing, PointclipDrawing)
    return replace(drawing, distance=factor * drawing.distance)
