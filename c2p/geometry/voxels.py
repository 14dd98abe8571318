"""PointCLIP V2's projection: points put into a voxel grid, densified, smoothed and squeezed to a picture.

B objects, V views, P points, D slices along the view axis, H = W pixels. Numbers are those of its published code (MIT);
its shape projection has no weights. The camera frame is that of c2p.geometry.views: +X left, +Y up, +Z into the scene.
"""

from math import exp

import torch
from torch import Tensor

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
    turns = rotations.to(points.device, torch.float32)
    # A core's cache holds one object's grids: five times as fast as all at once. A GPU wants all at once.
    step = 1 if points.device.type == "cpu" else max(1, len(points))
    return torch.cat([_draw(some, turns) for some in points.float().split(step)])


def _draw(points: Tensor, rotations: Tensor) -> Tensor:
    squeezed = _smooth(_densified(_grid(_seen(points, rotations)))).amax(1)
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
    """Largest nearness at every voxel, 1 to SLICES - 2, and 0 where there is none: (B * V, D - 2, H, W).

    The first and the last slice are always empty and left out; H = W = SIZE + 2 PADDING, the padding empty.
    """
    column, row = (((seen[..., k] * SHAPE_SHARE + 1) / 2 * SIZE).ceil().clamp(1, SIZE - 2).long() for k in range(2))
    nearness = ((seen[..., 2] + 1) / 2 + NEARNESS_BIAS) / (1 + NEARNESS_BIAS) * (SLICES - 2)
    nearness = nearness.clamp(1, SLICES - 2)
    side = SIZE + 2 * PADDING
    place = ((nearness.ceil().long() - 1) * side + row + PADDING) * side + column + PADDING
    grid = torch.zeros(len(seen), (SLICES - 2) * side * side, dtype=seen.dtype, device=seen.device)
    grid.scatter_reduce_(1, place, nearness, "amax")
    return grid.view(-1, SLICES - 2, side, side)


def _densified(grid: Tensor) -> Tensor:
    """Largest value in a window of WINDOW x WINDOW voxels of a slice, by doubling: each side WINDOW - 1 shorter."""
    for axis in (-2, -1):
        reach = 1
        while reach < WINDOW:
            step = min(reach, WINDOW - reach)
            length = grid.shape[axis] - step
            grid = torch.maximum(grid.narrow(axis, 0, length), grid.narrow(axis, step, length))
            reach += step
    return grid


def _smooth(grid: Tensor) -> Tensor:
    """Gaussian over 3 x 3 voxels within each slice, empty beyond the edge: same shape."""
    side = exp(-1 / (2 * SIGMA**2))
    for axis in (-2, -1):
        length = grid.shape[axis] - 1
        first, second = grid.narrow(axis, 0, length), grid.narrow(axis, 1, length)
        grid = grid / (1 + 2 * side)
        grid.narrow(axis, 1, length).add_(first, alpha=side / (1 + 2 * side))
        grid.narrow(axis, 0, length).add_(second, alpha=side / (1 + 2 * side))
    return grid
