"""What is random in pre-training: the order of the samples, their views and their distances."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from c2p.training.neighbours import grouped


@dataclass(frozen=True)
class Draw:
    """What is random in one epoch; entry i belongs to sample i whatever its place in the order."""

    order: np.ndarray
    """(N,) int64 permutation."""
    views: np.ndarray
    """(N,) int64 view of each sample."""
    distances: np.ndarray
    """(N, 2) float32 factors of the camera distance, uniform in [1 - jitter, 1 + jitter)."""


@dataclass(frozen=True)
class Batch:
    """One batch of an epoch, on the device."""

    rows: Tensor
    """(B,) int64 samples."""
    views: Tensor
    """(B,) int64 view of each."""
    distances: Tensor
    """(B, 2) float32."""


def draw_epoch(
    seed: int,
    epoch: int,
    *,
    samples: int,
    views: int,
    jitter: float,
    candidates: np.ndarray | None = None,
    hard: int = 0,
) -> Draw:
    """Order, views and distances of an epoch (counted from 0), from nothing but the arguments.

    candidates: (N, L) nearest samples of each, of which `hard` follow it in the order where they are free.
    """
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(samples)
    chosen = generator.integers(views, size=samples)
    distances = generator.uniform(1 - jitter, 1 + jitter, size=(samples, 2)).astype(np.float32)
    if candidates is not None and hard:
        order = grouped(order, candidates, hard, generator)
    return Draw(order, chosen, distances)


def batches(draw: Draw, size: int, device: torch.device, *, start: int = 0) -> Iterator[Batch]:
    """Whole batches of an epoch from the `start`-th on; what is left over is dropped. One copy to the device."""
    order = torch.from_numpy(draw.order).to(device)
    views, distances = (torch.from_numpy(values).to(device)[order] for values in (draw.views, draw.distances))
    for begin in range(start * size, len(order) - size + 1, size):
        part = slice(begin, begin + size)
        yield Batch(order[part], views[part], distances[part])
