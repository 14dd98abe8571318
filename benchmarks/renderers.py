"""Ten views of 224 pixels by every renderer that can be imported, on the same made meshes.

A time is that of render_views: the mesh made ready, ten views seen, shaded and averaged. Repeats alternate between the
renderers, after an untimed one, on one core; a figure is their median.
"""

import contextlib
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np

from benchmarks.meshes import MeshFiles, made_mesh
from c2p import params
from c2p.geometry.meshes import Mesh, load_mesh, normalise
from c2p.geometry.views import view_set
from c2p.rendering import render_views

SIZES = ((2_000, False), (20_000, False), (100_000, True), (200_000, False))
"""Faces, and whether they are textured."""
VIEWS, SIZE = 10, 224
SAMPLES = (1, 2)
"""Samples along a side of a pixel: as published, and as our own profiles have it."""
BACKENDS = {
    "raster": ("raster", "cpu"),
    "embree": ("embree", "cpu"),
    "warp-cpu": ("warp", "cpu"),
    "warp-cuda": ("warp", "cuda"),
}
"""Value of render.renderer and of C2P_DEVICE."""
PUBLISHED_VIEWS = {2_000: VIEWS, 20_000: VIEWS, 100_000: 1, 200_000: 1}
"""Views that pytorch3d is given, since one of 200,000 faces takes it half a minute; with one sample a pixel only."""
SETTINGS = params.Render(
    renderer="auto", size=SIZE, supersample=1, views="ten", centre="vertices", fov=60.0, distance=2.0, ambient=0.5,
    diffuse=0.3, specular=0.2, cloud_points=8192, part_size=1, max_faces=10**6, max_reject_rate=0.5, seed=0,
)  # fmt: skip


def measure(*, repeats: int = 5, pytorch3d: bool = True, sizes: Sequence[tuple[int, bool]] = SIZES) -> dict[str, Any]:
    """Time the renderers; pytorch3d, on the CPU as published, takes three minutes and is timed once.

    Returns `meshes`: by name ("20k", "100k textured") and samples ("1x1", "2x2") the renderers' `ms`, `views` and
    `views_per_s`; `absent`: reasons by renderer; `render_10_views_20k_ms`: the default renderer's, one sample a pixel;
    `render_ratio_to_pytorch3d`: pytorch3d's time divided by that, None where it was not run.
    """
    absent = {name: reason for name in BACKENDS if (reason := _absence(name))}
    if not pytorch3d:
        absent["pytorch3d"] = "not asked for"
    elif find_spec("pytorch3d") is None:
        absent["pytorch3d"] = "cannot be imported"
    table: dict[str, Any] = {}
    with _one_core():
        for faces, textured in sizes:
            mesh = _loaded(made_mesh(faces, textured=textured, seed=0))
            row: dict[str, Any] = {"faces": len(mesh.faces)}
            for samples in SAMPLES:
                names = [name for name in BACKENDS if name not in absent]
                row[f"{samples}x{samples}"] = _alternate(mesh, names, samples, repeats)
            if "pytorch3d" not in absent:
                views = PUBLISHED_VIEWS.get(faces, 1)
                row["1x1"]["pytorch3d"] = _figure(_milliseconds(mesh, "pytorch3d", "cpu", 1, views), views)
            table[f"{faces // 1000}k{' textured' if textured else ''}"] = row
    ours = table.get("20k", {}).get("1x1", {})
    ratio = ours["pytorch3d"]["ms"] / ours["raster"]["ms"] if "pytorch3d" in ours else None
    return {
        "meshes": table,
        "absent": absent,
        "render_10_views_20k_ms": ours["raster"]["ms"] if ours else None,
        "render_ratio_to_pytorch3d": ratio and round(ratio, 1),
    }


def _absence(name: str) -> str | None:
    """Why a renderer cannot be timed here; None where it can."""
    backend, device = BACKENDS[name]
    try:
        with _device(device):
            render_views(_loaded(made_mesh(100, textured=False, seed=0)), np.eye(3)[None], _settings(backend, 1))
    except (ValueError, ImportError) as error:
        return str(error)
    return None


def _alternate(mesh: Mesh, names: Sequence[str], samples: int, repeats: int) -> dict[str, dict[str, float]]:
    spent: dict[str, list[float]] = {name: [] for name in names}
    for repeat in range(repeats + 1):
        for name in names:
            took = _milliseconds(mesh, *BACKENDS[name], samples, VIEWS)
            if repeat:
                spent[name].append(took)
    return {name: _figure(statistics.median(times), VIEWS) for name, times in spent.items()}


def _milliseconds(mesh: Mesh, backend: str, device: str, samples: int, views: int) -> float:
    rotations, settings = view_set("ten").rotations[:views], _settings(backend, samples)
    with _device(device):
        begin = time.perf_counter()
        render_views(mesh, rotations, settings)
        return (time.perf_counter() - begin) * 1e3


def _figure(milliseconds: float, views: int) -> dict[str, float]:
    return {"ms": round(milliseconds, 2), "views": views, "views_per_s": round(views / milliseconds * 1e3, 2)}


def _settings(backend: Any, samples: int) -> params.Render:
    return replace(SETTINGS, renderer=backend, supersample=samples)


def _loaded(made: MeshFiles) -> Mesh:
    mesh = load_mesh(made.files[made.name], "obj", read=made.files.get, max_faces=10**6)
    return replace(mesh, vertices=normalise(mesh.vertices)[0])


@contextlib.contextmanager
def _device(name: str) -> Iterator[None]:
    """C2P_DEVICE for a while."""
    before = os.environ.get("C2P_DEVICE")
    os.environ["C2P_DEVICE"] = name
    try:
        yield
    finally:
        del os.environ["C2P_DEVICE"]
        if before is not None:
            os.environ["C2P_DEVICE"] = before


@contextlib.contextmanager
def _one_core() -> Iterator[None]:
    """Keep this process on one core, where the system can: Embree builds its tree on all it finds."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
