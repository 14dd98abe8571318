"""What a rendering backend gives, and the cameras' rays.

A backend offers `prepare(mesh) -> Scene` and `Scene.rasterize(rotation, distance, fov, size) -> GBuffer`; shading
and down-sampling are shared, so that all backends give the same picture.
Camera frame: +X to the left of the image, +Y up, +Z into the scene; X_view = X_world @ R + (0, 0, distance).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import radians, tan
from typing import Protocol, runtime_checkable

import numpy as np

MISS = -1
"""Face index of a sample that meets no face."""


@dataclass(frozen=True)
class GBuffer:
    """What each sample of a view sees."""

    face_id: np.ndarray
    """(H, W) int32 index into the mesh's faces, -1 = miss."""
    barycentric: np.ndarray
    """(H, W, 3) float32 weights of the face's corners, perspective-correct; 0 where missed."""
    depth: np.ndarray
    """(H, W) float32 view depth (along +Z, not along the ray), unit-sphere radii; 0 where missed."""


class Scene(Protocol):
    """A mesh made ready by a backend."""

    def rasterize(self, rotation: np.ndarray, distance: float, fov: float, size: int) -> GBuffer:
        """See the mesh in a view; rotation: (3, 3) float64, fov in degrees, size samples a side."""
        ...


@runtime_checkable
class BatchScene(Scene, Protocol):
    """A scene that would rather see several views at once."""

    def rasterize_all(self, rotations: np.ndarray, distance: float, fov: float, size: int) -> Iterator[GBuffer]:
        """See the mesh in views (V, 3, 3), as many at once as memory allows, and give them one by one."""
        ...


def rasterize_all(scene: Scene, rotations: np.ndarray, distance: float, fov: float, size: int) -> Iterator[GBuffer]:
    """See the mesh in views (V, 3, 3): one at a time, which bounds the memory, or as the scene puts them together."""
    if isinstance(scene, BatchScene):
        yield from scene.rasterize_all(rotations, distance, fov, size)
    else:
        for rotation in rotations:
            yield scene.rasterize(rotation, distance, fov, size)


@lru_cache(maxsize=8)
def sample_centres(fov: float, size: int) -> np.ndarray:
    """x of the columns' centres, or y of the rows', at view depth 1 in the camera frame: (size,) float64, read-only."""
    index = np.arange(size)
    centres = (-1 + (2 * (size - 1 - index) + 1) / size) * tan(radians(fov) / 2)
    centres.setflags(write=False)
    return centres


def world_rays(rotation: np.ndarray, fov: float, size: int) -> np.ndarray:
    """Directions through the samples' centres in the world frame, unnormalised: (size, size, 3) float32, read-only."""
    return _world_rays(np.asarray(rotation, dtype=np.float64).tobytes(), fov, size)


@lru_cache(maxsize=10)
def _world_rays(rotation: bytes, fov: float, size: int) -> np.ndarray:
    turn = np.frombuffer(rotation).reshape(3, 3)
    centres = sample_centres(fov, size)
    x, y, z = centres[None, :], centres[:, None], 1.0
    # written out: a matrix product's last bits depend on the library behind it
    rays = np.stack([x * turn[axis, 0] + y * turn[axis, 1] + z * turn[axis, 2] for axis in range(3)], axis=-1)
    rays = rays.astype(np.float32)
    rays.setflags(write=False)
    return rays


def sample_window(
    low: np.ndarray, high: np.ndarray, rotation: np.ndarray, distance: float, fov: float, size: int
) -> tuple[slice, slice]:
    """Rows and columns of the samples that can see a box; all of them where the box reaches behind the camera.

    low, high: (3,) corners of the box, world frame.
    """
    corners = np.array([[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])
    view = corners @ rotation
    depth = view[:, 2] + distance
    if depth.min() <= 0.01:
        return slice(0, size), slice(0, size)
    place = (1 - view[:, :2] / (depth[:, None] * tan(radians(fov) / 2))) * (size / 2)
    first = np.clip(np.floor(place.min(0)) - 1, 0, size).astype(int)
    last = np.clip(np.ceil(place.max(0)) + 1, 0, size).astype(int)
    return slice(first[1], last[1]), slice(first[0], last[0])


def camera_position(rotation: np.ndarray, distance: float) -> np.ndarray:
    """The camera's place in the world: C = -T R^T, (3,) float64."""
    return -distance * np.asarray(rotation, dtype=np.float64)[:, 2]
