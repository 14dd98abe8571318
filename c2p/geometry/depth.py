"""Depth maps of point clouds (CLIP2Point section 3.2.2) and PointCLIP's projection.

B objects, V views, P points, H = W pixels, K pixels a point covers. Camera frame: +X left, +Y up, +Z into the scene;
column j and row i of a W-wide map are the squares x = 1 - 2j/W .. 1 - 2(j+1)/W, y likewise with i, of [-1, 1]^2.
A raw map holds view depths in unit-sphere radii; 0 means empty.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from math import radians, tan

import torch
from torch import Tensor

from c2p import params

EPSILON = 1e-12
"""Keeps 1/z finite in the weighted mean (CLIP2Point Eq. 12, PointCLIP's code)."""
BACKGROUND = 1.0
"""Picture value of an empty pixel (CLIP2Point's published code): white."""
FOREGROUND = 200 / 255
"""Brightest picture value of a point (CLIP2Point's published code)."""


def depth_maps(
    points: Tensor, rotations: Tensor, settings: params.Depth, distance: float | Tensor | None = None
) -> Tensor:
    """Draw raw depth maps of point clouds.

    points: (B, P, 3) float32 in the unit sphere, y up; rotations: (V, 3, 3), or (B, V, 3, 3) with own views for each
    object; distance: factor on settings.distance, a number or (B,) (pre-training's jitter), default 1.
    Perspective: the camera stands at the distance. Orthographic over [-1, 1]^2 (the published code): the cloud is also
    divided by the distance. Points behind the camera are not drawn.
    Returns (B, V, H, W) float32 view depth, 0 = empty, on the points' device.
    Raises ValueError: wrong shapes.
    """
    points, rotations, camera = _checked(points, rotations, settings.distance, distance)
    orthographic = settings.projection == "orthographic"
    x, y, z = _to_view(points / camera[:, None, None] if orthographic else points, rotations, camera)
    drawn = z >= 0 if orthographic else z > 0
    if not orthographic:
        scale = tan(radians(settings.fov) / 2) * z.where(drawn, 1)
        x, y = x / scale, y / scale
    if settings.footprint == "window":
        footprint = _window(x, y, settings.dilation, settings.size)
    else:
        footprint = _disc(x, y, settings.radius, settings.size)
    return _draw(footprint, z, drawn, settings.size, settings.aggregation)


def depth_images(raw: Tensor) -> Tensor:
    """Turn raw depth maps into pictures for an image encoder, each map by itself (CLIP2Point's published code).

    raw: (..., H, W) float32, 0 = empty. Value (z - z_min) / z_max * 200/255, where z_max is the largest depth and z_min
    the smallest, but at most 1 where a map has empty pixels; empty pixels are white.
    Returns (..., 3, H, W) float32 in [0, 1], three equal channels.
    """
    filled = raw.sign()  # 1 where drawn, 0 where empty: products with it are exact, and far faster than masking
    empty = 1 - filled
    lowest = (raw + BACKGROUND * empty).amin((-2, -1), keepdim=True)
    highest = raw.amax((-2, -1), keepdim=True).clamp(min=torch.finfo(raw.dtype).tiny)
    grey = (raw - lowest).div_(highest).mul_(FOREGROUND).mul_(filled).add_(empty, alpha=BACKGROUND)
    return grey.unsqueeze(-3).expand(*grey.shape[:-2], 3, *grey.shape[-2:])


def pointclip_depth(points: Tensor, rotations: Tensor, *, size: int, distance: float) -> Tensor:
    """Draw PointCLIP's depth maps (its published code): one pixel a point, weighted mean, focal length 1.

    points: (B, P, 3) float32 in the unit sphere; rotations: (V, 3, 3) or (B, V, 3, 3); distance: the centre's.
    A point covers pixel ceil(u - 0.5), u in pixels from the map's edge.
    Returns (B, V, size, size) float32 view depth, 0 = background; the depth itself is the picture's value.
    """
    points, rotations, camera = _checked(points, rotations, distance, None)
    x, y, z = _to_view(points, rotations, camera)
    drawn = z > 0
    scale = z.where(drawn, 1)
    column, row = (((1 - axis / scale) * (size / 2) - 0.5).ceil() for axis in (x, y))
    return _draw(_Footprint(column, row, 0, 0), z, drawn, size, "weighted")


@dataclass(frozen=True)
class _Footprint:
    """Pixels that points cover: those at offsets lowest..highest, both ways, from a pixel a point."""

    column: Tensor
    """(B, V, P) float, whole numbers; off the map allowed."""
    row: Tensor
    lowest: int
    highest: int
    inside: Callable[[int, int], Tensor | None] = lambda down, across: None
    """Which points (B, V, P) cover the pixel at an offset; None: all."""


def _checked(
    points: Tensor, rotations: Tensor, distance: float, factor: float | Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Bring arguments to (B, P, 3), (1 or B, V, 3, 3) and camera distances (B,), float32."""
    if points.ndim != 3 or points.shape[-1] != 3:
        raise ValueError(f"points of shape {tuple(points.shape)}; allowed: (B, P, 3)")
    batch = points.shape[0]
    if (
        rotations.shape[-2:] != (3, 3)
        or rotations.ndim not in (3, 4)
        or (rotations.ndim == 4 and len(rotations) != batch)
    ):
        raise ValueError(f"rotations of shape {tuple(rotations.shape)}; allowed: (V, 3, 3) or ({batch}, V, 3, 3)")
    points = points.float()
    rotations = rotations.to(points)
    factors = torch.as_tensor(1.0 if factor is None else factor).to(points)
    if factors.ndim > 1 or (factors.ndim == 1 and len(factors) != batch):
        raise ValueError(f"distance of shape {tuple(factors.shape)}; allowed: a number or ({batch},)")
    return points, rotations if rotations.ndim == 4 else rotations[None], (factors * distance).expand(batch)


def _to_view(points: Tensor, rotations: Tensor, camera: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(B, P, 3), (1 or B, V, 3, 3), (B,) -> x, y, z of the camera frame, each (B, V, P).

    Written out, since a matrix product's last bits may depend on the batch.
    """
    world = [points[:, None, :, axis] for axis in range(3)]
    turn = rotations[..., None]
    x, y, z = (
        world[0] * turn[:, :, 0, axis] + world[1] * turn[:, :, 1, axis] + world[2] * turn[:, :, 2, axis]
        for axis in range(3)
    )
    return x, y, z + camera[:, None, None]


def _window(x: Tensor, y: Tensor, dilation: int, size: int) -> _Footprint:
    """Eq. 13's square window: pixels c - R/2 < k <= c + R/2 around c = ceil(position).

    The paper leaves the principal point open; here it lies such that windows are centred on their points for odd and
    for even R.
    """
    shift = 1.0 if dilation % 2 else 1.5
    column, row = (((1 - axis) * (size / 2) - shift).ceil() for axis in (x, y))
    return _Footprint(column, row, -((dilation - 1) // 2), dilation // 2)


def _disc(x: Tensor, y: Tensor, radius: float, size: int) -> _Footprint:
    """Pixels whose centre lies strictly inside a disc (the published code); radius in normalised coordinates."""
    column, row = (((1 - axis) * (size / 2)).floor() for axis in (x, y))
    reach = int(radius * size / 2 + 0.5)

    def inside(down: int, across: int) -> Tensor | None:
        # -1 + (2 (W - 1 - j) + 1) / W is the centre of column j; written 1 - (2 j + 1) / W it rounds differently
        dx = x - ((2 * (size - 1 - (column + across)) + 1) / size - 1)
        dy = y - ((2 * (size - 1 - (row + down)) + 1) / size - 1)
        return dx * dx + dy * dy < radius * radius

    return _Footprint(column, row, -reach, reach, inside)


def _draw(footprint: _Footprint, z: Tensor, drawn: Tensor, size: int, aggregation: str) -> Tensor:
    """Gather points with view depth z (B, V, P) into maps (B, V, size, size), one scatter an offset."""
    lowest, highest = footprint.lowest, footprint.highest
    margin = highest - lowest + 1  # catches what falls off the map
    width = size + 2 * margin
    column, row = (axis.clamp(-highest - 1, size - lowest).long() for axis in (footprint.column, footprint.row))
    first = torch.arange(z.shape[0] * z.shape[1], device=z.device).view(*z.shape[:2], 1) * (width * width)
    pixel = first + (row + margin) * width + column + margin
    shape, empty = (*z.shape[:2], width, width), torch.inf if aggregation == "minimum" else 0.0
    value = torch.where(drawn, z if aggregation == "minimum" else 1 / (z + EPSILON), empty)
    kept = z.new_full((pixel.shape[0] * pixel.shape[1] * width * width,), empty)
    sums = torch.zeros_like(kept) if aggregation == "weighted" else None
    for down, across in product(range(lowest, highest + 1), repeat=2):
        inside = footprint.inside(down, across)
        target = (pixel + (down * width + across)).flatten()
        part = value if inside is None else value.where(inside, empty)
        if sums is None:
            kept.scatter_reduce_(0, target, part.flatten(), "amin")
        else:
            kept.scatter_add_(0, target, part.flatten())
            sums.scatter_add_(0, target, (part * z).flatten())
    maps = kept.nan_to_num_(posinf=0.0) if sums is None else (sums / kept).nan_to_num_(0.0)  # 0 / 0 where empty
    return maps.view(shape)[..., margin:-margin, margin:-margin].contiguous()
