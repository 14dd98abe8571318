"""Surfaces through point clouds: triangles between neighbouring points, and the pixels they cover.

A sparse map of 1,024 points shows dots; the shape lies between them. Where no other point is inside the smallest ball
through three neighbouring points (they are then a Gabriel triangle), and that ball is about as small as the points'
spacing, their triangle is taken as surface. Discs and pooling windows grow a shape beyond its outline; triangles end at
its outermost points, so outlines stay sharp, thin parts thin, and what is farther apart than the spacing apart.

B objects, V views, P points, N neighbours of a point, S pairs of neighbours, T triangles, H = W pixels.
"""

from collections.abc import Iterator, Sequence
from math import ceil, sqrt

import torch
from torch import Tensor

from c2p.geometry.canvas import Canvas, Piece

NEIGHBOURS = 8
"""Nearest points among which a point finds its triangles; on a surface a point has six neighbours on average."""
INSIDE = 0.02
"""Share of its squared radius that a point must be inside a ball to count: rounding must not, nor four on a circle."""
NEARLY = 0.99999
"""Sides that differ by less than rounding are both the longest."""
SLIVER = 1e-4
"""Squared sine of a triangle's angle below which it is no triangle: what rounding leaves of points on a line."""
TRIANGLES_A_POINT = 8
"""Room for triangles; a closed surface has two a point, the two sides of a thin plate together up to five."""
AT_ONCE = 2**24
"""Pairs of points looked at in one go: bounds the memory to some 200 MB."""
ELSEWHERE = -1e6
"""A place far off any map."""
STEPS_MOST = 32
"""Samples along a triangle's side at most."""


def surface_triangles(points: Tensor, reach: float) -> Tensor:
    """Connect neighbouring points of clouds.

    points: (B, P, 3) float32; reach: radius of a triangle's ball at most, in distances from a corner to the point next
    to it, the smallest of the three. Farthest points lie that far apart everywhere, and 1.4 suits them. Two points are
    connected too where no triangle does it, if the ball whose diameter they are is empty: a rod of single points.
    Points that are not finite are not connected.
    Returns (B, T, 3) int64 indices of the corners; a segment repeats its last. Unused rows are zeros. T is 8 P on a
    GPU; elsewhere, where looking at the data costs nothing, as many as the fullest object needs, up to 8 P.
    """
    objects, count = points.shape[:2]
    if objects == 0 or count < 2:
        return torch.zeros(objects, 0, 3, dtype=torch.int64, device=points.device)
    points = points.detach()
    found = [_connect(part, reach) for part in points.split(max(1, AT_ONCE // count**2))]
    longest = max(part.shape[1] for part in found)
    return torch.cat([torch.nn.functional.pad(part, (0, 0, 0, longest - part.shape[1])) for part in found])


def _connect(points: Tensor, reach: float) -> Tensor:
    axes = [axis.contiguous() for axis in points.unbind(-1)]
    square, near = _nearest(axes, min(NEIGHBOURS, points.shape[1] - 1))
    allowed = reach**2 * torch.minimum(_of(square[0], near), square[0])
    product = _products([_of(axis, near) - axis for axis in axes])
    own = torch.arange(points.shape[1], device=points.device)
    first, second = torch.triu_indices(len(near), len(near), 1, device=points.device)
    fine = _triangles(square, product, allowed, first, second)
    ranks = torch.arange(len(near), device=points.device)[:, None]
    joined = (fine & ((first == ranks) | (second == ranks))[..., None, None]).any(1)
    lone = _segments(square, product, allowed) & ~joined
    # up to three corners find a triangle: that between its shorter sides, which is the likeliest to, counts
    longest = square[first] + square[second] - 2 * product[first, second]
    counts = torch.cat([fine & (longest >= NEARLY * torch.maximum(square[first], square[second])), lone])
    corners = torch.stack([own.expand_as(counts), torch.cat([near[first], near]), torch.cat([near[second], near])], -1)
    room = TRIANGLES_A_POINT * points.shape[1]
    return _compact(corners.permute(1, 2, 0, 3).flatten(1, 2), counts.permute(1, 2, 0).flatten(1), room)


def _nearest(axes: Sequence[Tensor], count: int) -> tuple[Tensor, Tensor]:
    """Squared distances to each point's nearest others, ascending, and their indices: (N, B, P)."""
    x, y, z = ((axis[:, :, None] - axis[:, None]).square_() for axis in axes)
    square = x.add_(y).add_(z)
    square.diagonal(dim1=1, dim2=2).fill_(torch.inf)
    distance, near = (part.permute(2, 0, 1).contiguous() for part in square.topk(count, largest=False))
    return distance, near


def _of(values: Tensor, near: Tensor) -> Tensor:
    """Values (B, P) of neighbours (N, B, P)."""
    return values.expand_as(near).gather(2, near)


def _products(offset: Sequence[Tensor]) -> Tensor:
    """Products of neighbours as seen from their point: (N, N, B, P).

    Written out: a matrix product's last bits may depend on the batch.
    """
    x, y, z = offset
    return x[:, None] * x + y[:, None] * y + z[:, None] * z


def _triangles(square: Tensor, product: Tensor, allowed: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Which pairs of neighbours make a triangle with their point: (S, B, P) bool.

    The ball's centre, seen from the point, is s a + t b for neighbours a and b; a neighbour m is inside where
    m.m < 2 centre.m.
    """
    a, b, ab = square[first], square[second], product[first, second]
    area = a * b - ab * ab
    half = 0.5 / area
    s, t = (a - ab) * b * half, (b - ab) * a * half
    radius = s * s * a + t * t * b + 2 * s * t * ab
    room = INSIDE * radius
    fine = (area > SLIVER * a * b) & (radius <= torch.minimum(allowed[first], allowed[second]))
    for products, distance in zip(product, square, strict=True):
        fine &= 2 * (s * products[first] + t * products[second]) <= distance + room
    return fine


def _segments(square: Tensor, product: Tensor, allowed: Tensor) -> Tensor:
    """Which neighbours are connected with their point where no triangle is: (N, B, P) bool."""
    inside = product > square + INSIDE / 4 * square[:, None]
    return (square <= 4 * allowed) & ~inside.any(1)


def _compact(corners: Tensor, counts: Tensor, room: int) -> Tensor:
    """Bring the rows that count, (B, R, 3) and (B, R), to the front in their order: (B, T, 3), T = room on a GPU."""
    place = counts.cumsum(1) - 1
    place = place.where(counts & (place < room), room)
    front = corners.new_zeros(len(corners), room + 1, 3).scatter_(1, place[..., None].expand_as(corners), corners)
    return front[:, : room if corners.device.type != "cpu" else min(room, int(counts.sum(1).max()))]


def covered(
    canvas: Canvas, triangles: Tensor, position: Sequence[Tensor], z: Tensor, drawn: Tensor, *, perspective: bool
) -> Iterator[Piece]:
    """Pixels that points and their triangles cover, with the depth there.

    triangles: (B, T, 3); position: column and row of the points, (B, V, P) float, a pixel is [n, n + 1); z, drawn:
    (B, V, P). A triangle is walked on a grid so fine that neighbouring samples of the longest usual side are three
    pixels apart at most, which `closed` mends; one with a corner that is not drawn is left out.
    """
    yield canvas.places(*(axis.floor() for axis in position)), z, None
    corner = [triangles[:, None, :, part].expand(-1, z.shape[1], -1) for part in range(3)]
    whole = drawn.gather(2, corner[0]) & drawn.gather(2, corner[1]) & drawn.gather(2, corner[2])
    steps = min(STEPS_MOST, ceil(canvas.size / sqrt(max(1, z.shape[-1]))))
    origin, along, across = [], [], []
    for values in (*position, 1 / z if perspective else z):  # in perspective 1 / z is linear in the picture, z is not
        first, second, third = (values.gather(2, part).where(whole, ELSEWHERE) for part in corner)
        origin.append(first)
        along.append((second - first) / steps)
        across.append((third - first) / steps)
    for row in range(steps + 1):
        sample = origin
        for left in range(steps - row, -1, -1):
            column, line, depth = sample
            yield canvas.places(column.floor(), line.floor()), 1 / depth if perspective else depth, None
            if left:
                sample = [value + step for value, step in zip(sample, along, strict=True)]
        origin = [value + step for value, step in zip(origin, across, strict=True)]


def closed(maps: Tensor) -> Tensor:
    """Fill gaps of up to two pixels, in the silhouette and in front of what lies farther back: a closing of 3 x 3.

    maps: (..., H, W) float32, 0 = empty.
    """
    maps = maps.where(maps > 0, torch.inf)
    for nearer, edge in ((torch.minimum, torch.inf), (torch.maximum, -torch.inf)):
        for axis, sides in ((-1, (1, 1, 0, 0)), (-2, (0, 0, 1, 1))):
            wide = torch.nn.functional.pad(maps, sides, value=edge)
            before, here, after = (wide.narrow(axis, shift, maps.shape[axis]) for shift in range(3))
            maps = nearer(nearer(before, here), after)
    return maps.nan_to_num(posinf=0.0)
