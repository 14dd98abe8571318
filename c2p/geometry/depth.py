"""Depth maps of point clouds (CLIP2Point section 3.2.2) and PointCLIP's projection.

B objects, V views, P points, H = W pixels. Camera frame: +X left, +Y up, +Z into the scene; column j and row i of a
W-wide map are the squares x = 1 - 2j/W .. 1 - 2(j+1)/W, y likewise with i, of [-1, 1]^2.
A raw map holds view depths in unit-sphere radii; 0 means empty.

Gradients: a raw map's values have one with respect to the points (and the distance), through the view depth z; which
pixels a point covers is piecewise constant and has none. Minimum: all of a pixel's goes to the point it shows;
weighted: shared by all points in it. Footprint `surface`: shared by the corners of the triangle shown.
"""

from collections.abc import Iterator
from math import radians, tan

import torch
from torch import Tensor

from c2p import params
from c2p.geometry.canvas import Canvas, Piece
from c2p.geometry.surface import closed, covered, surface_triangles

BACKGROUND = 1.0
"""Picture value of an empty pixel (CLIP2Point's published code): white."""
FOREGROUND = 200 / 255
"""Brightest picture value of a point (CLIP2Point's published code)."""

FARTHEST = 1e15
"""View depth beyond which nothing is drawn; squares of what is nearer are finite in float32."""


def depth_maps(
    points: Tensor,
    rotations: Tensor,
    settings: params.Depth,
    distance: float | Tensor | None = None,
    *,
    triangles: Tensor | None = None,
) -> Tensor:
    """Draw raw depth maps of point clouds.

    points: (B, P, 3) float32 in the unit sphere, y up; rotations: (V, 3, 3), or (B, V, 3, 3) with own views for each
    object; distance: factor on settings.distance, a number or (B,) (pre-training's jitter), default 1.
    Perspective: the camera stands at the distance. Orthographic over [-1, 1]^2 (the published code): the cloud is also
    divided by the distance. Points behind the camera, and points that are not finite, are not drawn; without
    points a map is empty. triangles: of footprint surface, what surface_triangles(points, settings.reach) gives; None:
    they are looked for here.
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
    x, y, z, drawn = _sane(x, y, z, drawn)
    if settings.footprint == "surface":
        canvas, position = _canvas(z, settings.size, 0), [(1 - axis) * (settings.size / 2) for axis in (x, y)]
        triangles = surface_triangles(points, settings.reach) if triangles is None else triangles
        return closed(canvas.nearest(covered(canvas, triangles, position, z, drawn, perspective=not orthographic)))
    if settings.footprint == "window":
        canvas = _canvas(z, settings.size, settings.dilation // 2)
        pieces = _window(canvas, x, y, z, settings.dilation)
    else:
        canvas = _canvas(z, settings.size, _disc_reach(settings.radius, settings.size))
        pieces = _disc(canvas, x, y, z, settings.radius)
    return canvas.nearest(pieces) if settings.aggregation == "minimum" else canvas.weighted(pieces)


def depth_images(raw: Tensor) -> Tensor:
    """Turn raw depth maps into pictures for an image encoder, each map by itself (CLIP2Point's published code).

    raw: (..., H, W) float32, 0 = empty. Value (z - z_min) / z_max * 200/255, where z_max is the largest depth and z_min
    the smallest, but at most 1 where a map has empty pixels; empty pixels are white. The gradient is that of the
    formula, z_min and z_max included.
    Returns (..., 3, H, W) float32 in [0, 1], three equal channels.
    """
    filled = raw.detach().sign()  # 1 where drawn, 0 where empty; products with it are exact
    empty = 1 - filled
    lowest = (raw + BACKGROUND * empty).amin((-2, -1), keepdim=True)
    highest = raw.amax((-2, -1), keepdim=True).clamp(min=torch.finfo(raw.dtype).tiny)
    grey = ((raw - lowest) / highest).mul_(FOREGROUND).mul_(filled).add_(empty, alpha=BACKGROUND)
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
    x, y, z, _ = _sane(x / scale, y / scale, z, drawn)
    column, row = (((1 - axis) * (size / 2) - 0.5).ceil() for axis in (x, y))
    canvas = _canvas(z, size, 0)
    return canvas.weighted([(canvas.places(column, row), z, None)])


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
    if not isinstance(factor, Tensor):
        factor = points.new_full((), 1.0 if factor is None else factor)  # made there: a copy would wait for the device
    if factor.ndim > 1 or (factor.ndim == 1 and len(factor) != batch):
        raise ValueError(f"distance of shape {tuple(factor.shape)}; allowed: a number or ({batch},)")
    return points, rotations if rotations.ndim == 4 else rotations[None], (factor.to(points) * distance).expand(batch)


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


def _sane(x: Tensor, y: Tensor, z: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Move points that are not drawn, not finite or as good as that off the map, with an ordinary depth.

    Neither they nor their gradients can touch another point's pixel then.
    """
    drawn = drawn & x.isfinite() & y.isfinite() & (z < FARTHEST)
    return x.detach().where(drawn, torch.inf), y.detach().where(drawn, torch.inf), z.where(drawn, 1.0), drawn


def _canvas(z: Tensor, size: int, reach: int) -> Canvas:
    return Canvas(z.shape[0], z.shape[1], size, reach, z.device)


def _window(canvas: Canvas, x: Tensor, y: Tensor, z: Tensor, dilation: int) -> Iterator[Piece]:
    """Eq. 13's square window: pixels c - R/2 < k <= c + R/2 around c = ceil(position).

    The paper leaves the principal point open; here it lies such that windows are centred on their points for odd and
    for even R.
    """
    shift = 1.0 if dilation % 2 else 1.5
    column, row = (((1 - axis) * (canvas.size / 2) - shift).ceil() for axis in (x, y))
    place = canvas.places(column, row)
    across = _offsets(-((dilation - 1) // 2), dilation // 2, z)
    for down in range(-((dilation - 1) // 2), dilation // 2 + 1):
        yield place + (down * canvas.width + across.long()), z, None


def _disc_reach(radius: float, size: int) -> int:
    """How many pixels from its own a point's disc can reach; the last term outweighs the rounding of its position."""
    return int(radius * size / 2 + 0.5 + size * 2.0**-20)


def _disc(canvas: Canvas, x: Tensor, y: Tensor, z: Tensor, radius: float) -> Iterator[Piece]:
    """Pixels whose centre lies strictly inside a disc (the published code); radius in normalised coordinates.

    Every operation is the published rasteriser's, in its order and in float32, so the pixels are the same to the last.
    """
    column, row = (((1 - axis) * (canvas.size / 2)).floor() for axis in (x, y))
    place = canvas.places(column, row)
    side = z.new_full((), canvas.size)  # a tensor: a GPU would multiply by a number's rounded reciprocal
    square = z.new_full((), radius).square()

    def away(axis: Tensor, pixel: Tensor) -> Tensor:
        # -1 + (2 (W - 1 - j) + 1) / W is the centre of column j; written 1 - (2 j + 1) / W it rounds differently
        return (axis - ((2 * (canvas.size - 1 - pixel) + 1) / side - 1)).square()

    across = _offsets(-canvas.reach, canvas.reach, z)
    dx = away(x, column + across)
    for down in range(-canvas.reach, canvas.reach + 1):
        yield place + (down * canvas.width + across.long()), z, dx + away(y, row + down) < square


def _offsets(lowest: int, highest: int, like: Tensor) -> Tensor:
    """Whole numbers lowest..highest, float, in front of the dimensions of `like`: (K, 1, 1, 1)."""
    return torch.arange(lowest, highest + 1, dtype=like.dtype, device=like.device).view(-1, *[1] * like.ndim)
