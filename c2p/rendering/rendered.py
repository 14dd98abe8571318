"""RGB views of a mesh."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from c2p import params
from c2p.geometry.meshes import Mesh
from c2p.rendering import embree, raster, warp
from c2p.rendering.gbuffer import Scene, rasterize_all
from c2p.rendering.shading import shade, surface


def _pytorch3d(mesh: Mesh) -> Scene:
    from c2p.rendering import pytorch3d  # PyTorch takes two seconds and half a gigabyte: only those who need it

    return pytorch3d.prepare(mesh)


BACKENDS: dict[str, Callable[[Mesh], Scene]] = {
    "auto": raster.prepare,
    "raster": raster.prepare,
    "embree": embree.prepare,
    "pytorch3d": _pytorch3d,
    "warp": warp.prepare,
}


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
    scene: Scene = BACKENDS[settings.renderer](mesh)
    colours, fine = surface(mesh), settings.size * settings.supersample
    shape = (len(rotations), settings.size, settings.size)
    rgb, alpha = np.empty((*shape, 3), dtype=np.uint8), np.empty(shape, dtype=np.uint8)
    depth = np.empty(shape, dtype=np.float32)
    for view, gbuffer in enumerate(rasterize_all(scene, rotations, settings.distance, settings.fov, fine)):
        rgb[view], alpha[view], depth[view] = shade(colours, gbuffer, rotations[view], settings)
    return Rendered(rgb, alpha, depth)
