"""Solids the made shapes are built of: triangle meshes with texture coordinates in units of length.

S rings along a solid, n points around a ring, V vertices, F faces. x right, y up, z to the viewer of the front.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

Vector = Sequence[float] | np.ndarray
Axis = int
X, Y, Z = 0, 1, 2


@dataclass(frozen=True)
class Solid:
    """A triangle mesh of one material."""

    vertices: np.ndarray
    """(V, 3) float64."""
    faces: np.ndarray
    """(F, 3) int64, anticlockwise seen from outside."""
    uv: np.ndarray
    """(F, 3, 2) float64, units of length: a texture's tile size turns them into texture coordinates."""


def box(size: Vector, centre: Vector = (0, 0, 0), *, top: float | tuple[float, float] = 1.0) -> Solid:
    """Return a box of `size` (x, y, z) around `centre`; its upper face is scaled by `top` (x, z) about the middle."""
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    local = signs * np.asarray(size, float) / 2
    local[signs[:, Y] > 0] *= np.array([np.broadcast_to(top, 2)[0], 1.0, np.broadcast_to(top, 2)[1]])
    uv = _project(local, _BOX_FACES, np.repeat((X, Y, Z), 4))
    return Solid(local + np.asarray(centre, float), _BOX_FACES, uv)


_BOX_FACES = np.array(
    [
        *((0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5)),
        *((0, 4, 5), (0, 5, 1), (2, 3, 7), (2, 7, 6)),
        *((0, 2, 6), (0, 6, 4), (1, 5, 7), (1, 7, 3)),
    ],
    np.int64,
)


def loft(rings: np.ndarray) -> Solid:
    """Return the closed skin over rings (S, n, 3): quads between neighbouring rings, a fan over each end.

    A ring of radius 0 is fine: its faces are dropped. Ends should be star-shaped about their mean.
    """
    rings = np.asarray(rings, float)
    count, around = rings.shape[:2]
    row, column = np.meshgrid(np.arange(count - 1), np.arange(around), indexing="ij")
    corner = row * around + column
    right = row * around + (column + 1) % around
    side = np.stack([corner, right, right + around, corner, right + around, corner + around], -1).reshape(-1, 3)
    side_uv = _loft_uv(rings, row, column)
    first = np.arange(around)
    following = (first + 1) % around
    last = (count - 1) * around
    start_fan = np.stack([following, first, np.full(around, count * around)], -1)
    end_fan = np.stack([last + first, last + following, np.full(around, count * around + 1)], -1)
    vertices = np.concatenate([rings.reshape(-1, 3), rings[:1].mean(1), rings[-1:].mean(1)])
    fans = np.concatenate([start_fan, end_fan])
    faces = np.concatenate([side, fans])
    uv = np.concatenate([side_uv, _planar_uv(vertices, fans)])
    normal = _normals(vertices, faces)
    if (normal * vertices[faces[:, 0]]).sum() < 0:
        faces, uv = faces[:, ::-1], uv[:, ::-1]
    kept = np.linalg.norm(normal, axis=1) > 1e-12
    used, inverse = np.unique(faces[kept], return_inverse=True)
    return Solid(vertices[used], inverse.reshape(-1, 3).astype(np.int64), uv[kept])


def lathe(profile: Sequence[tuple[float, float]] | np.ndarray, *, segments: int = 24, roundness: float = 1.0) -> Solid:
    """Return the surface that a profile (S, 2) of (radius, y) sweeps about y: round, or squarer below roundness 1."""
    radius, height = np.asarray(profile, float).T
    ring = _power(circle(segments), roundness)
    rings = np.zeros((len(radius), segments, 3))
    rings[..., X], rings[..., Z] = radius[:, None] * ring[:, 0], radius[:, None] * ring[:, 1]
    rings[..., Y] = height[:, None]
    return loft(rings)


def tube(path: Sequence[Vector] | np.ndarray, radius: float | Sequence[float] | np.ndarray, *, sides: int = 8) -> Solid:
    """Return a round bar along `path` (S, 3); `radius` may vary along it."""
    points = np.asarray(path, float)
    tangents = np.gradient(points, axis=0)
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
    normal = np.eye(3)[np.abs(tangents[0]).argmin()]
    rings = []
    for point, tangent, width in zip(points, tangents, np.broadcast_to(radius, len(points)), strict=True):
        normal = normal - tangent * (normal @ tangent)
        normal = normal / np.linalg.norm(normal)
        rings.append(point + width * circle(sides) @ np.stack([normal, np.cross(tangent, normal)]))
    return loft(np.stack(rings))


def prism(outline: np.ndarray, depth: float, *, axis: Axis = Z) -> Solid:
    """Return `outline` (n, 2), star-shaped about its mean, extruded by `depth` about 0 along `axis`.

    The outline lies in (x, y) for axis z, in (z, y) for axis x and in (x, z) for axis y.
    """
    outline = np.asarray(outline, float)
    rings = np.zeros((2, len(outline), 3))
    first, second = ((Z, Y), (X, Z), (X, Y))[axis]
    rings[..., first], rings[..., second] = outline[:, 0], outline[:, 1]
    rings[0, :, axis], rings[1, :, axis] = -depth / 2, depth / 2
    return loft(rings)


def cushion(size: Vector, centre: Vector = (0, 0, 0), *, roundness: float = 0.4, detail: int = 16) -> Solid:
    """Return a superellipsoid of `size` around `centre`: roundness 1 is an ellipsoid, near 0 a box."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, detail // 2 + 1)
    ring = _power(circle(detail), roundness)
    reach, height = _power(np.cos(angle), roundness), _power(np.sin(angle), roundness)
    reach[[0, -1]] = 0.0
    shape = (len(angle), detail)
    unit = np.stack(
        [reach[:, None] * ring[:, 0], np.broadcast_to(height[:, None], shape), reach[:, None] * ring[:, 1]], -1
    )
    return moved(draped(loft(unit * np.asarray(size, float) / 2)), centre)


def circle(count: int) -> np.ndarray:
    """Return `count` points (count, 2) of the unit circle, half a step past the first axis, so that 4 make a square."""
    angle = (np.arange(count) + 0.5) * (2 * np.pi / count)
    return np.stack([np.cos(angle), np.sin(angle)], -1)


def rounded_rectangle(width: float, height: float, *, roundness: float = 0.3, count: int = 24) -> np.ndarray:
    """Return a superellipse outline (count, 2): roundness 1 is an ellipse, near 0 a rectangle."""
    return _power(circle(count), roundness) * np.array([width, height]) / 2


def cylinder(radius: float, length: float, centre: Vector = (0, 0, 0), *, axis: Axis = Y, segments: int = 16) -> Solid:
    """Return a cylinder of `length` along `axis` around `centre`."""
    return moved(prism(circle(segments) * radius, length, axis=axis), centre)


def draped(solid: Solid) -> Solid:
    """Return the solid with its texture laid on from the six sides, as cloth is, in place of wound around it."""
    return replace(solid, uv=_planar_uv(solid.vertices, solid.faces))


def moved(solid: Solid, offset: Vector) -> Solid:
    """Return the solid shifted by `offset`."""
    return replace(solid, vertices=solid.vertices + np.asarray(offset, float))


def turned(solid: Solid, degrees: float, axis: Axis, *, about: Vector = (0, 0, 0)) -> Solid:
    """Return the solid turned by `degrees`, anticlockwise seen from the axis' tip, around a line through `about`."""
    angle = np.deg2rad(degrees)
    rotation = np.eye(3)
    first, second = (axis + 1) % 3, (axis + 2) % 3
    rotation[first, first] = rotation[second, second] = np.cos(angle)
    rotation[second, first], rotation[first, second] = np.sin(angle), -np.sin(angle)
    pivot = np.asarray(about, float)
    return replace(solid, vertices=(solid.vertices - pivot) @ rotation.T + pivot)


def stretched(solid: Solid, factors: Vector) -> Solid:
    """Return the solid scaled by positive `factors` (x, y, z) about the origin; texture coordinates stay."""
    return replace(solid, vertices=solid.vertices * np.asarray(factors, float))


def smooth(points: Sequence[Vector] | np.ndarray, count: int) -> np.ndarray:
    """Return `count` points of the Catmull-Rom curve through `points` (P, D), both ends included."""
    knots = np.asarray(points, float)
    padded = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
    position = np.linspace(0, len(knots) - 1, count)
    segment = np.minimum(position.astype(int), len(knots) - 2)
    t = (position - segment)[:, None]
    a, b, c, d = (padded[segment + k] for k in range(4))
    return 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)


def _power(values: np.ndarray, exponent: float) -> np.ndarray:
    return np.sign(values) * np.abs(values) ** exponent


def _loft_uv(rings: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Lengths around and along the rings; around is taken on the longest ring, so that stripes stay straight."""
    steps = np.linalg.norm(np.roll(rings, -1, axis=1) - rings, axis=2)
    around = np.concatenate([[0.0], np.cumsum(steps[steps.sum(1).argmax()])])
    strides = np.linalg.norm(np.diff(rings, axis=0), axis=2).mean(1)
    along = np.concatenate([[0.0], np.cumsum(strides)])
    left, right, low, high = around[column], around[column + 1], along[row], along[row + 1]
    corners = ((left, low), (right, low), (right, high), (left, low), (right, high), (left, high))
    return np.stack([np.stack(corner, -1) for corner in corners], -2).reshape(-1, 3, 2)


def _planar_uv(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Project each face along the axis that its normal is nearest to."""
    return _project(vertices, faces, np.abs(_normals(vertices, faces)).argmax(1))


def _project(vertices: np.ndarray, faces: np.ndarray, dropped: np.ndarray) -> np.ndarray:
    """Leave out one axis (F,) a face; v runs along the longer of the other two, as grain does in a board."""
    order = np.argsort(vertices.max(0) - vertices.min(0), kind="stable").tolist()
    kept = np.array([[axis for axis in order if axis != out] for out in (X, Y, Z)])[dropped]
    return vertices[faces[..., None], kept[:, None]]


def _normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Return (F, 3) normals as long as twice the area; numpy.cross takes five times as long on few rows."""
    a, b, c = vertices[faces.T]
    (x, y, z), (u, v, w) = (b - a).T, (c - a).T
    return np.stack([y * w - z * v, z * u - x * w, x * v - y * u], -1)
