"""What is random in training on triplets: order, views, captions, and how each cloud is stretched and moved."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class TripletDraw:
    """What is random in one epoch; entry i belongs to sample i whatever its place in the order."""

    order: np.ndarray
    """(N,) int64 permutation."""
    views: np.ndarray
    """(N,) int64 view of each sample."""
    captions: np.ndarray
    """(N,) int64 template of each sample's caption."""
    scales: np.ndarray
    """(N, 3) float32 factors of the axes, uniform in [1 / scale, scale]."""
    shifts: np.ndarray
    """(N, 3) float32, unit-sphere radii, uniform in [-shift, shift]."""


def draw_triplets(
    seed: int, epoch: int, *, samples: int, views: int, captions: int, scale: float, shift: float
) -> TripletDraw:
    """Everything random in an epoch (counted from 0), from nothing but the arguments."""
    generator = np.random.default_rng([seed, epoch])
    return TripletDraw(
        order=generator.permutation(samples),
        views=generator.integers(views, size=samples),
        captions=generator.integers(captions, size=samples),
        scales=generator.uniform(1 / scale, scale, size=(samples, 3)).astype(np.float32),
        shifts=generator.uniform(-shift, shift, size=(samples, 3)).astype(np.float32),
    )


def moved(points: Tensor, draw: TripletDraw, rows: np.ndarray) -> Tensor:
    """The clouds of samples `rows` (B,) as an epoch sees them (published augmentation): (N, P, 3) -> (B, P, 3)."""
    scales, shifts = (torch.from_numpy(values[rows]).to(points.device) for values in (draw.scales, draw.shifts))
    return points[rows] * scales[:, None] + shifts[:, None]
