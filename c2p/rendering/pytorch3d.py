"""PyTorch3D's mesh rasteriser: the backend of the published renders; needs its own installation."""

from math import radians, tan
from typing import Any

import numpy as np
import torch

from c2p.geometry.meshes import Mesh
from c2p.rendering.device import RendererUnavailable
from c2p.rendering.gbuffer import GBuffer


class Pytorch3dScene:
    """A mesh for PyTorch3D's rasteriser, on the GPU where PyTorch3D was built for it and one is there."""

    def __init__(self, mesh: Mesh) -> None:
        self._rasterize, self._meshes = _load()
        self._vertices, self._faces = torch.from_numpy(mesh.vertices), torch.from_numpy(mesh.faces)

    def rasterize(self, rotation: np.ndarray, distance: float, fov: float, size: int) -> GBuffer:
        """See the mesh in a view (gbuffer.Scene): nearest face a sample, no blur, no culling."""
        view = self._vertices @ torch.from_numpy(np.array(rotation, dtype=np.float64))
        view[:, 2] += distance
        view[:, :2] /= view[:, 2:] * tan(radians(fov) / 2)  # the rasteriser wants x, y in [-1, 1] and z in view units
        faces, depth, barycentric, _ = self._rasterize(
            self._meshes(verts=[view.float()], faces=[self._faces]),
            image_size=size,
            blur_radius=0.0,
            faces_per_pixel=1,
            perspective_correct=True,
            cull_backfaces=False,
            bin_size=0,
        )
        face = faces[0, ..., 0].int().numpy()
        missed = face < 0
        weights = barycentric[0, ..., 0, :].float().numpy().copy()
        weights[missed] = 0
        return GBuffer(face, weights, np.where(missed, np.float32(0), depth[0, ..., 0].float().numpy()))


def prepare(mesh: Mesh) -> Pytorch3dScene:
    """Make a mesh ready for PyTorch3D.

    Raises RendererUnavailable: PyTorch3D is not installed.
    """
    return Pytorch3dScene(mesh)


def _load() -> tuple[Any, Any]:
    try:
        from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes
        from pytorch3d.structures import Meshes
    except ImportError as error:
        raise RendererUnavailable(
            f"render.renderer: pytorch3d cannot be imported ({error}); install PyTorch3D from its source for this "
            "PyTorch, or set render.renderer to embree"
        ) from error
    return rasterize_meshes, Meshes
