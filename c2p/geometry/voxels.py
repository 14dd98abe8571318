"""PointCLIP V2's projection: points put into a voxel grid, densified, smoothed and squeezed to a picture.

B objects, V views, P points, D slices along the view axis, H = W pixels. Numbers are those of its published code (MIT);
its shape projection has no weights. The camera frame is that of c2p.geometry.views: +X left, +Y up, +Z into the scene.
"""

from math import exp

import torch
from torch import Tensor
from torch.nn import functional

SIZE = 112
"""Side of the grid across the view, voxels."""
SLICES = 8
"""Voxels along the view axis."""
SHAPE_SHARE = 0.8
"""Part of the picture's side that the longest side of the shape's bounding box fills."""
NEARNESS_BIAS = 0.2
"""Keeps the farthest points apart from empty space, share of the range."""
WINDOW = 7
"""Side of the max-pooling window in a slice, voxels."""
PADDING = 2
"""Voxels around a slice before pooling, so that a picture has SIZE - 2 pixels a side."""
SIGMA = 3.0
"""Of the Gaussian over 3 x 3 voxels of a slice, voxels."""


def voxel_images(points: Tensor, rotations: Tensor) -> Tensor:
    """Draw smooth, dense depth pictures: near is dark, far is grey, the background is white.

    Every view is scaled by its own bounding box, so pictures don't change when a cloud is moved or scaled. The nearest
    point of a voxel is kept.

    points: (B, P, 3) float32, finite; rotations: (V, 3, 3).
    Returns (B, V, 110, 110) float32 in [0, 1], on the points' device.
    Raises ValueError: wrong shapes, or no points.
    """
    if points.ndim != 3 or points.shape[-1] != 3 or points.shape[1] == 0:
        raise ValueError(f"points of shape {tuple(points.shape)}; allowed: (B, P, 3) with at least one point")
    if rotations.ndim != 3 or rotations.shape[-2:] != (3, 3):
        raise ValueError(f"rotations of shape {tuple(rotations.shape)}; allowed: (V, 3, 3)")
    grid = _grid(_seen(points.float(), rotations.to(points.device, torch.float32)))
    dense = functional.max_pool2d(grid, (WINDOW, 1), stride=1, padding=(PADDING, 0))
    dense = functional.max_pool2d(dense, (1, WINDOW), stride=1, padding=(0, PADDING))
    squeezed = _smooth(dense).amax(1)
    nearness = squeezed / squeezed.amax((-2, -1), keepdim=True)
    return (1 - nearness).unflatten(0, (len(points), len(rotations)))


def _seen(points: Tensor, rotations: Tensor) -> Tensor:
    """Column, row and nearness of every point, centred and scaled into [-1, 1] by the view's box: (B * V, P, 3).

    Written out, since a matrix product's last bits may depend on the batch and decide about a voxel.
    """
    x, y, z = (points[:, None, :, axis] for axis in range(3))
    turn = rotations[None, ..., None]
    seen = torch.stack([-(x * turn[:, :, 0, k] + y * turn[:, :, 1, k] + z * turn[:, :, 2, k]) for k in range(3)], -1)
    seen = seen.flatten(0, 1)
    highest, lowest = seen.amax(1, keepdim=True), seen.amin(1, keepdim=True)
    longest = (highest - lowest).amax(-1, keepdim=True).clamp(min=torch.finfo(seen.dtype).tiny)
    return (seen - (highest + lowest) / 2) / longest * 2


def _grid(seen: Tensor) -> Tensor:
    """Largest nearness at every voxel, 1 to SLICES - 2, and 0 where there is none: (B * V, D, SIZE, SIZE)."""
    column, row = (((seen[..., k] * SHAPE_SHARE + 1) / 2 * SIZE).ceil().clamp(1, SIZE - 2).long() for k in range(2))
    nearness = ((seen[..., 2] + 1) / 2 + NEARNESS_BIAS) / (1 + NEARNESS_BIAS) * (SLICES - 2)
    nearness = nearness.clamp(1, SLICES - 2)
    place = (nearness.ceil().long() * SIZE + row) * SIZE + column
    grid = torch.zeros(len(seen), SLICES * SIZE * SIZE, dtype=seen.dtype, device=seen.device)
    grid.scatter_reduce_(1, place, nearness, "amax")
    return grid.view(-1, SLICES, SIZE, SIZE)


def _smooth(grid: Tensor) -> Tensor:
    """Gaussian over 3 x 3 voxels within each slice, empty beyond the edge: same shape."""
    side, middle = exp(-1 / (2 * SIGMA**2)), 1.0
    for axis in (-2, -1):
        padded = functional.pad(grid, (0, 0, 1, 1) if axis == -2 else (1, 1, 0, 0))
        length = grid.shape[axis]
        before, here, after = (padded.narrow(axis, start, length) for start in range(3))
        grid = (side * before + middle * here + side * after) / (2 * side + middle)
    return grid
