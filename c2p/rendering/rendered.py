"""RGB views of a mesh."""

from dataclasses import dataclass

import numpy as np

from c2p import params
from c2p.geometry.meshes import Mesh
from c2p.rendering import embree, pytorch3d
from c2p.rendering.gbuffer import Scene, world_rays
from c2p.rendering.shading import face_normals, shade


@dataclass(frozen=True)
class Rendered:
    """Views of one mesh; V views, S pixels a side."""

    rgb: np.ndarray
    """(V, S, S, 3) uint8 on white."""
    alpha: np.ndarray
    """(V, S, S) uint8: covered share of a pixel, 255 = all."""
    depth: np.ndarray
    """(V, S, S) float32: smallest view depth in a pixel, unit-sphere radii; 0 = empty."""


def render_views(mesh: Mesh, rotations: np.ndarray, settings: params.Render) -> Rendered:
    """Render a mesh from several sides.

    mesh: normalised to the unit sphere, y up; rotations: (V, 3, 3) float64 (geometry.views). A pixel is the mean of
    supersample^2 samples, so silhouettes blend with the white background.
    Raises ValueError: the renderer is not installed; a mesh without faces.
    """
    if len(mesh.faces) == 0:
        raise ValueError("a mesh without faces; allowed: at least one face")
    scene: Scene = pytorch3d.prepare(mesh) if settings.renderer == "pytorch3d" else embree.prepare(mesh)
    normals = face_normals(mesh)
    fine, factor = settings.size * settings.supersample, settings.supersample
    shape = (len(rotations), settings.size, settings.size)
    rgb, alpha = np.empty((*shape, 3), dtype=np.uint8), np.empty(shape, dtype=np.uint8)
    depth = np.empty(shape, dtype=np.float32)
    for view, rotation in enumerate(rotations):  # one at a time bounds the memory
        gbuffer = scene.rasterize(rotation, settings.distance, settings.fov, fine)
        rays = world_rays(rotation, settings.fov, fine)
        picture = shade(mesh, normals, gbuffer, rays, -np.asarray(rotation)[:, 2], settings)
        covered = gbuffer.face_id >= 0
        rgb[view] = _to_bytes(_box_mean(picture, factor))
        alpha[view] = _to_bytes(_box_mean(covered.astype(np.float32), factor))
        nearest = np.where(covered, gbuffer.depth, np.float32(np.inf))
        nearest = np.minimum.reduce(_phases(nearest, factor))
        depth[view] = np.where(np.isfinite(nearest), nearest, 0)
    return Rendered(rgb, alpha, depth)


def _phases(fine: np.ndarray, factor: int) -> list[np.ndarray]:
    """The samples at each place inside a pixel, as factor^2 images."""
    return [fine[row::factor, column::factor] for row in range(factor) for column in range(factor)]


def _box_mean(fine: np.ndarray, factor: int) -> np.ndarray:
    first, *others = _phases(fine, factor)
    total = first.copy()
    for other in others:
        total += other
    return total / np.float32(factor * factor)


def _to_bytes(values: np.ndarray) -> np.ndarray:
    return (values * np.float32(255) + np.float32(0.5)).astype(np.uint8)
