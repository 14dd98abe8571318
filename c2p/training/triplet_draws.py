"""What is random in training on triplets: order, views, captions, and how each cloud is stretched and moved."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class TripletDraw:
    """What is random in one epoch; entry i belongs to sample i whatever its place in the order."""

    key: tuple[int, int]
    """Seed and epoch: what else is random follows from them."""
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
        key=(seed, epoch),
        order=generator.permutation(samples),
        views=generator.integers(views, size=samples),
        captions=generator.integers(captions, size=samples),
        scales=generator.uniform(1 / scale, scale, size=(samples, 3)).astype(np.float32),
        shifts=generator.uniform(-shift, shift, size=(samples, 3)).astype(np.float32),
    )


def moved(clouds: Tensor, draw: TripletDraw, rows: np.ndarray) -> Tensor:
    """Clouds (B, P, 3) of samples `rows` (B,), stretched and moved as in an epoch (published augmentation)."""
    scales, shifts = (torch.from_numpy(values[rows]).to(clouds.device) for values in (draw.scales, draw.shifts))
    return clouds * scales[:, None] + shifts[:, None]
