"""PyTorch3D's mesh rasteriser: the backend of the published renders; needs its own installation.

What it sees differs from the other backends where float32 image coordinates do: samples within about 1e-6 of an edge,
pinholes where one lies exactly on it, and faces below 1e-8 of the image's area of 4, which it leaves out.
"""

import functools
import os
from math import radians, tan
from typing import Any

import numpy as np
import torch

from c2p.geometry.meshes import Mesh
from c2p.rendering.device import RendererUnavailable, choose_device
from c2p.rendering.gbuffer import GBuffer

NEAR = 1e-3
"""Where a face reaches behind this view depth it is cut there: PyTorch3D cannot project it whole."""


class Pytorch3dScene:
    """A mesh on the device of C2P_DEVICE; by itself on a GPU where one is there and PyTorch3D was built for it."""

    def __init__(self, mesh: Mesh) -> None:
        self._rasterize, self._meshes = _load()
        where = device()
        self._vertices = torch.from_numpy(mesh.vertices).to(where)
        self._faces = torch.from_numpy(mesh.faces).to(where)

    def rasterize(self, rotation: np.ndarray, distance: float, fov: float, size: int) -> GBuffer:
        """See the mesh in a view (gbuffer.Scene): nearest face a sample, no blur, no culling."""
        view = self._vertices @ torch.from_numpy(np.array(rotation, dtype=np.float64)).to(self._vertices.device)
        view[:, 2] += distance
        z = torch.where(view[:, 2:].abs() < 1e-9, 1e-9, view[:, 2:])  # a vertex in the camera's plane has no place
        view[:, :2] /= z * tan(radians(fov) / 2)  # the rasteriser wants x, y in [-1, 1] and z in view units
        view[:, 2:] = z
        faces, depth, barycentric, _ = self._rasterize(
            self._meshes(verts=[view.float()], faces=[self._faces]),
            image_size=size,
            blur_radius=0.0,
            faces_per_pixel=1,
            perspective_correct=True,
            cull_backfaces=False,
            z_clip_value=NEAR if bool((z < NEAR).any()) else None,  # only where need be: clipping costs time
            bin_size=0,  # as published; the coarse-to-fine kernel loses faces where its bins overflow
        )
        face = faces[0, ..., 0].int().cpu().numpy()
        missed = face < 0
        weights = barycentric[0, ..., 0, :].float().cpu().numpy().copy()
        weights[missed] = 0
        return GBuffer(face, weights, np.where(missed, np.float32(0), depth[0, ..., 0].float().cpu().numpy()))


def prepare(mesh: Mesh) -> Pytorch3dScene:
    """Make a mesh ready for PyTorch3D.

    Raises RendererUnavailable: PyTorch3D is not installed, or C2P_DEVICE asks for a GPU that it cannot use.
    """
    return Pytorch3dScene(mesh)


def device() -> torch.device:
    """Give the device that PyTorch3D renders on.

    Raises RendererUnavailable: as prepare.
    """
    chosen = choose_device(torch.cuda.device_count(), finder="PyTorch")
    if chosen != "cpu" and not _built_for_cuda():
        if os.environ.get("C2P_DEVICE"):
            raise RendererUnavailable(f"C2P_DEVICE: got {chosen!r}, but PyTorch3D was built without CUDA; allowed: cpu")
        chosen = "cpu"
    return torch.device(chosen)


@functools.cache
def _built_for_cuda() -> bool:
    """Whether PyTorch3D draws a triangle on the GPU; it says so in no other way."""
    rasterize, meshes = _load()
    corners = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 1.0], [0.0, 1.0, 1.0]], device="cuda")
    triangle = meshes(verts=[corners], faces=[torch.tensor([[0, 1, 2]], device="cuda")])
    try:
        rasterize(triangle, image_size=2, faces_per_pixel=1, bin_size=0)
    except RuntimeError as error:
        if "GPU support" not in str(error):
            raise
        return False
    return True


def _load() -> tuple[Any, Any]:
    try:
        from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes
        from pytorch3d.structures import Meshes
    except ImportError as error:
        raise RendererUnavailable(
            f"render.renderer: pytorch3d cannot be imported ({error}); install PyTorch3D from its source for this "
            "PyTorch, or set render.renderer to auto"
        ) from error
    return rasterize_meshes, Meshes
