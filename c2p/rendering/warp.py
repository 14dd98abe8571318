"""Rasterising with Warp (package warp-lang): the backend raster's arithmetic, one code for CPU and CUDA.

The G-buffers have raster's bits. C2P_DEVICE chooses the device; kernels are compiled at the first use and kept in
`.c2p/warp` of the project (WARP_CACHE_PATH names another place), outside a project for this process only.
"""

import functools
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from math import radians, tan
from pathlib import Path
from typing import Any

import numpy as np

from c2p.geometry.meshes import Mesh
from c2p.rendering.device import RendererUnavailable, choose_device
from c2p.rendering.gbuffer import GBuffer, sample_centres

TOGETHER = 2**21
"""Samples drawn at once on CUDA: ten views of 448 pixels, 60 MB; on the CPU a view at a time."""
LANES = 16
"""Threads that share a face's rows on CUDA."""
DRIVERLESS = "Warp CUDA warning: Could not find or load the NVIDIA CUDA driver"
"""What Warp's library writes to stderr, past every setting, on a machine without a GPU."""


class WarpScene:
    """A mesh on a device; its memory there is freed with it."""

    def __init__(self, mesh: Mesh, device: str) -> None:
        wp = _start()
        self._device = device
        self._lanes, self._together = (1, 1) if device == "cpu" else (LANES, TOGETHER)
        self._vertices = wp.array(np.ascontiguousarray(mesh.vertices, np.float64), dtype=wp.vec3d, device=device)
        self._faces = wp.array(np.ascontiguousarray(mesh.faces, np.int32), dtype=wp.vec3i, device=device)

    def rasterize(self, rotation: np.ndarray, distance: float, fov: float, size: int) -> GBuffer:
        """See the mesh in a view (gbuffer.Scene); of equally near faces the first is seen."""
        return next(self.rasterize_all(np.asarray(rotation)[None], distance, fov, size))

    def rasterize_all(self, rotations: np.ndarray, distance: float, fov: float, size: int) -> Iterator[GBuffer]:
        """See the mesh in several views, (V, 3, 3) float64; on CUDA as many at once as TOGETHER allows.

        Raises RendererUnavailable: the device's memory is used up.
        """
        count = max(1, self._together // size**2)
        for first in range(0, len(rotations), count):
            try:
                buffers = self._launch(rotations[first : first + count], float(distance), fov, size)
            except RuntimeError as error:
                if "Failed to allocate" not in str(error):
                    raise
                raise RendererUnavailable(
                    f"render.renderer: {self._device} has too little free memory for views of {size} samples a side; "
                    "run fewer workers (C2P_WORKERS), or set C2P_DEVICE to cpu"
                ) from error
            yield from buffers

    def _launch(self, rotations: np.ndarray, distance: float, fov: float, size: int) -> list[GBuffer]:
        wp, kernels, device, views = _start(), _kernels(), self._device, len(rotations)
        half, lanes = tan(radians(fov) / 2), self._lanes
        turns = wp.array(np.ascontiguousarray(rotations, np.float64), dtype=wp.mat33d, device=device)
        centres = wp.array(np.array(sample_centres(fov, size)), dtype=wp.float64, device=device)
        corners, places = (wp.empty((views, len(self._vertices)), dtype=k, device=device) for k in (wp.vec3d, wp.vec2d))
        shape = (views, size, size)
        nearness = wp.zeros(shape, dtype=wp.float64, device=device)
        face = wp.full(shape, value=len(self._faces), dtype=wp.int32, device=device)
        barycentric, depth = (wp.empty(shape, dtype=kind, device=device) for kind in (wp.vec3, wp.float32))

        def launch(kernel: Any, threads: tuple[int, ...], *arguments: Any) -> None:
            wp.launch(kernel, threads, arguments, device=device)

        launch(kernels.to_view, corners.shape, self._vertices, turns, distance, half, size, corners, places)
        for choose in (False, True):
            threads = (views, len(self._faces), lanes)
            launch(kernels.draw, threads, corners, places, self._faces, centres, half, lanes, choose, nearness, face)
        launch(kernels.finish, shape, corners, self._faces, centres, nearness, face, barycentric, depth)
        filled = [buffer.numpy() for buffer in (face, barycentric, depth)]
        return [GBuffer(*(buffer[view] for buffer in filled)) for view in range(views)]


def prepare(mesh: Mesh) -> WarpScene:
    """Make a mesh ready for Warp.

    Raises RendererUnavailable: the package or the device that C2P_DEVICE asks for is not there.
    """
    return WarpScene(mesh, device())


def device() -> str:
    """Name the device that Warp renders on.

    Raises RendererUnavailable: as prepare.
    """
    return choose_device(_start().get_cuda_device_count(), finder="Warp")


@functools.cache
def _start() -> Any:
    """Import and start Warp, once a process."""
    try:
        import warp as wp
    except ImportError as error:
        raise RendererUnavailable(
            f"render.renderer: warp cannot be imported ({error}); install it with: pip install 'c2p[warp]', or set "
            "render.renderer to auto"
        ) from error
    wp.config.log_level = wp.LOG_WARNING
    if wp.config.kernel_cache_dir is None and "WARP_CACHE_PATH" not in os.environ:
        wp.config.kernel_cache_dir = _cache_folder()
    with _without_driver_warning():
        wp.init()
    return wp


def _kernels() -> Any:
    from c2p.rendering import warp_kernels

    return warp_kernels


@functools.cache
def _own_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="c2p-warp-")  # removed when the process ends


def _cache_folder() -> str:
    project = Path(".c2p").resolve()
    if project.is_dir() and os.access(project, os.W_OK):
        return str(project / "warp")
    return _own_folder().name


@contextmanager
def _without_driver_warning() -> Iterator[None]:
    """Drop DRIVERLESS from what is written to file descriptor 2, and pass all else on."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            written.seek(0)
            rest = [line for line in written.read().splitlines(True) if not line.startswith(DRIVERLESS.encode())]
            os.write(2, b"".join(rest))
