"""Point clouds: surface sampling, normalisation, farthest-point sampling.

N or P points a cloud; every function stays in the frame of what comes in.
"""

from math import sqrt
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from c2p.kernel import kernel

if TYPE_CHECKING:  # PyTorch takes two seconds and half a gigabyte: only those who bring tensors need it
    import torch

Array = TypeVar("Array", np.ndarray, "torch.Tensor")
BLOCK = 512
"""Points whose farthest is found at a time."""


class Triangles(Protocol):
    """What has a surface: a Mesh, or a made shape."""

    @property
    def vertices(self) -> np.ndarray:
        """(V, 3) float."""

    @property
    def faces(self) -> np.ndarray:
        """(F, 3) int."""


def sample_surface(mesh: Triangles, count: int, seed: int) -> np.ndarray:
    """Draw points uniformly by area on a mesh's surface.

    Returns (count, 3) float32; the same mesh, count and seed give the same points.
    Raises ValueError: count below 1.
    """
    if count < 1:
        raise ValueError(f"count {count}; allowed: at least 1")
    cumulative = np.cumsum(_doubled_areas(mesh.vertices, mesh.faces))
    place, along, across = np.random.default_rng(seed).random((3, count))
    face = np.searchsorted(cumulative, place * cumulative[-1], side="right").clip(max=len(cumulative) - 1)
    outside = along + across > 1  # the far half of the parallelogram, folded back onto the triangle
    along[outside], across[outside] = 1 - along[outside], 1 - across[outside]
    origin, first, second = (mesh.vertices[mesh.faces[face, corner]] for corner in range(3))
    points = origin + along[:, None] * (first - origin) + across[:, None] * (second - origin)
    return points.astype(np.float32)


def normalise_points(points: Array) -> Array:
    """Subtract each cloud's mean and divide by its largest norm.

    points: (..., P, 3) float, numpy or torch. Returns the same kind, shape and dtype; largest norm 1, or zeros where
    all points of a cloud coincide.
    """
    if not isinstance(points, np.ndarray):
        import torch

        centred = points - points.mean(-2, keepdim=True)
        largest = centred.norm(dim=-1).amax(-1)[..., None, None]
        return centred / torch.where(largest > 0, largest, torch.ones_like(largest))
    centred = points - points.mean(-2, keepdims=True)
    largest = np.sqrt((centred**2).sum(-1)).max(-1)[..., None, None]
    return centred / np.where(largest > 0, largest, np.ones_like(largest))


def centre_and_scale(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Mean (3,) and largest norm about it, of (P, 3) points: what `normalise_points` subtracts and divides by."""
    centre = points.mean(0)
    return centre, float(np.sqrt(((points - centre) ** 2).sum(1)).max()) or 1.0


def farthest_points(points: Array, count: int, start: int = 0) -> Array:
    """Choose points one by one, each the farthest from those already chosen; exact.

    points: (N, 3) float, compared in float32; start: index of the first choice. Of equally far points the one with the
    lowest index is taken. Returns (count,) int64 indices, numpy or torch (on the same device) as the points are.
    Raises ValueError: fewer points than count, start outside the cloud, wrong shape, non-finite points.
    """
    if not isinstance(points, np.ndarray):
        import torch

        chosen = farthest_points(points.detach().cpu().numpy(), count, start)
        return torch.from_numpy(chosen).to(points.device)
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"points of shape {points.shape}; allowed: (N, 3)")
    if not 1 <= count <= len(points):
        raise ValueError(f"{count} of {len(points)} points; allowed: 1 to {len(points)}")
    if not 0 <= start < len(points):
        raise ValueError(f"start {start}; allowed: 0 to {len(points) - 1}")
    x, y, z = np.ascontiguousarray(points.T, dtype=np.float32)
    if not np.isfinite([x, y, z]).all():
        raise ValueError("points that are not finite; allowed: finite coordinates")
    return _choose(x, y, z, count, start)


@kernel
def _doubled_areas(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    areas = np.empty(len(faces))
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ux, uy, uz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        vx, vy, vz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        x, y, z = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        areas[f] = sqrt(x * x + y * y + z * z)
    return areas


@kernel
def _choose(x: np.ndarray, y: np.ndarray, z: np.ndarray, count: int, start: int) -> np.ndarray:
    nearest = np.full(len(x), np.inf, dtype=np.float32)  # squared distance to the nearest chosen point
    order = nearest.view(np.int32)  # bits of non-negative floats sort as integers do, whose maximum is found faster
    chosen = np.empty(count, dtype=np.int64)
    current = start
    for i in range(count):
        chosen[i] = current
        cx, cy, cz = x[current], y[current], z[current]
        for j in range(len(x)):
            dx, dy, dz = x[j] - cx, y[j] - cy, z[j] - cz
            distance = dx * dx + dy * dy + dz * dz
            nearest[j] = distance if distance < nearest[j] else nearest[j]
        nearest[current] = -1  # never again, even where all points left coincide with a chosen one
        farthest, current = order[0], 0
        for begin in range(0, len(x), BLOCK):
            block = order[begin : begin + BLOCK]
            largest = block[0]
            for j in range(1, len(block)):
                largest = max(largest, block[j])
            if largest > farthest:
                farthest, current = largest, begin
        while order[current] != farthest:
            current += 1
    return chosen
