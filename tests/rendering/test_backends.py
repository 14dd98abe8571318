"""Every backend against a float64 ray caster that tries every face, and against each other."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import trimesh
from hard_meshes import MESHES, ROTATIONS, SETTINGS, cast, flipped, mesh_of

from c2p.data.models import read_mesh_at
from c2p.geometry.meshes import normalise
from c2p.rendering import embree, pytorch3d, raster, render_views, warp

SIZE = 32
OPTIONAL = {warp: "warp", pytorch3d: "pytorch3d"}
EXACT, ROUNDED = 1e-9, 2e-4
"""How near another outcome a sample must be to be left out: float64 backends, and those of float32."""


@pytest.fixture(params=[raster, embree, warp, pytorch3d], ids=lambda module: module.__name__.rpartition(".")[2])
def backend(request: pytest.FixtureRequest) -> Any:
    if request.param in OPTIONAL and find_spec(OPTIONAL[request.param]) is None:
        pytest.skip(f"needs the package {OPTIONAL[request.param]}")
    return request.param


def tolerance(backend: Any) -> float:
    return EXACT if backend in (raster, warp) else ROUNDED


@pytest.mark.parametrize("name", MESHES)
def test_sees_what_the_naive_caster_sees(backend: Any, name: str) -> None:
    mesh = MESHES[name]()
    scene, allowed, checked = backend.prepare(mesh), tolerance(backend), 0
    rows, columns = (place.ravel() for place in np.indices((SIZE, SIZE)))
    views = ROTATIONS[[0, 1, 5, 8]]
    for rotation in views:
        face, weights, depth, slack = cast(mesh, rotation, rows, columns, SIZE)
        found = scene.rasterize(rotation, 2.0, 60.0, SIZE)
        sure = slack > allowed
        checked += sure.sum()
        np.testing.assert_array_equal(found.face_id.ravel()[sure], face[sure])
        # PyTorch3D's float32 loses three digits on faces thirty times as wide as the picture
        near = 2e-3 if backend is pytorch3d and name == "huge" else max(allowed, 2e-7)
        np.testing.assert_allclose(found.depth.ravel()[sure], depth[sure], rtol=near)
        np.testing.assert_allclose(found.barycentric.reshape(-1, 3)[sure], weights[sure], atol=near)
    if name != "coincident":  # where every depth is tied
        assert checked > 0.85 * len(views) * SIZE**2


def test_the_first_of_tied_faces_is_seen(backend: Any) -> None:
    """Faces given twice; loading drops them, since Embree and PyTorch3D see the one or the other."""
    mesh = flipped()
    twice = replace(mesh, faces=np.concatenate([mesh.faces, mesh.faces]))
    for rotation in ROTATIONS:
        one, other = (backend.prepare(m).rasterize(rotation, 2.0, 60.0, SIZE) for m in (mesh, twice))
        alike = other.face_id if backend in (raster, warp) else other.face_id % len(mesh.faces)
        assert ((alike == one.face_id) | (other.face_id < 0)).mean() > (1 - 1e-9 if backend in (raster, warp) else 0.99)


def test_where_embree_and_raster_differ_raster_is_right() -> None:
    ball = trimesh.creation.icosphere(subdivisions=4)
    mesh = mesh_of(ball.vertices * [0.9, 0.7, 0.8] + 0.05 * np.sin(9 * ball.vertices[:, ::-1]), ball.faces)
    scenes = embree.prepare(mesh), raster.prepare(mesh)
    different = 0
    for rotation in ROTATIONS:
        other, ours = (scene.rasterize(rotation, 2.0, 60.0, 448) for scene in scenes)
        rows, columns = (other.face_id != ours.face_id).nonzero()
        face, _, _, slack = cast(mesh, rotation, rows, columns, 448)
        sure = slack > EXACT
        np.testing.assert_array_equal(ours.face_id[rows, columns][sure], face[sure])
        assert (slack < ROUNDED).all()  # Embree errs within rounding of an edge only
        assert ((other.face_id < 0) == (ours.face_id < 0)).mean() > 0.99999
        different += len(rows)
    assert 0 < different < 1e-5 * 10 * 448**2


def test_pictures_agree(backend: Any) -> None:
    for mesh in (MESHES["soup"](), flipped()):
        one, other = (
            render_views(mesh, ROTATIONS, replace(SETTINGS, renderer=name))
            for name in ("raster", backend.__name__.rpartition(".")[2])
        )
        if backend is warp:
            for part in ("rgb", "alpha", "depth"):
                assert getattr(one, part).tobytes() == getattr(other, part).tobytes()
        assert (np.abs(one.rgb.astype(int) - other.rgb).max(-1) <= 1).mean() > 0.999
        assert (np.abs(one.alpha.astype(int) - other.alpha) <= 1).mean() > 0.999


def test_real_meshes_agree(backend: Any, shared_data: Path) -> None:
    """Silhouettes and pictures of scans and models with textures; PyTorch3D takes seconds a view, so sees few."""
    slow = backend is pytorch3d
    settings = replace(SETTINGS, size=64, supersample=1)
    views = ROTATIONS[[0, 5]] if slow else ROTATIONS
    for mesh in real_meshes(shared_data, 12_000 if slow else 200_000):
        one, other = (
            render_views(mesh, views, replace(settings, renderer=name))
            for name in ("raster", backend.__name__.rpartition(".")[2])
        )
        a, b = one.alpha > 0, other.alpha > 0
        assert (a & b).sum() >= (0.99 if slow else 0.9999) * (a | b).sum()
        same = (np.abs(one.rgb.astype(int) - other.rgb).max(-1) <= 1) & (np.abs(one.depth - other.depth) < 1e-4)
        assert same.mean() > (1 - 1e-9 if backend is warp else 0.995)


def real_meshes(folder: Path, most: int) -> list[Any]:
    """Meshes of every archive, with their textures, up to `most` faces, in the unit sphere."""
    chosen = []
    for name, suffix, step in (
        ("household", ".obj", 2),
        ("shapenetcore_v2/03001627", ".obj", 1),
        ("psb25", "0.off", 8),
    ):
        archive = folder / f"{name}.zip"
        with ZipFile(archive) as file:
            members = [member for member in file.namelist() if member.endswith(suffix)][::step]
        meshes = [read_mesh_at(f"{archive}:{member}", max_faces=10**6) for member in members]
        chosen += [replace(m, vertices=normalise(m.vertices)[0]) for m in meshes if len(m.faces) <= most]
    return chosen
