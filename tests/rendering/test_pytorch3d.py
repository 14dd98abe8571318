"""The two backends against each other, and the shader against PyTorch3D's own; only where PyTorch3D is installed."""

from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch
import trimesh

from c2p import params
from c2p.geometry.materials import plain
from c2p.geometry.meshes import Mesh, load_mesh, normalise
from c2p.geometry.views import view_set
from c2p.rendering import embree, pytorch3d, render_views

pytest.importorskip("pytorch3d", reason="needs PyTorch3D")

SETTINGS = params.Render(
    renderer="auto", size=64, supersample=1, views="ten", centre="vertices", fov=60.0, distance=2.0, ambient=0.5,
    diffuse=0.3, specular=0.2, cloud_points=8, part_size=8, max_faces=10**6, max_reject_rate=0.5, seed=0,
)  # fmt: skip
ROTATIONS = view_set("ten").rotations


def make_torus() -> Mesh:
    """A torus turned such that no ray meets an edge exactly: PyTorch3D leaves a pinhole there, Embree does not."""
    torus = trimesh.creation.torus(0.6, 0.3, major_sections=24, minor_sections=12)
    torus.apply_transform(trimesh.transformations.euler_matrix(0.31, 0.17, 0.53))
    count = len(torus.faces)
    return Mesh(
        np.array(torus.vertices),
        np.array(torus.faces, dtype=np.int64),
        (np.arange(count) % 2).astype(np.int32),
        np.zeros((count, 3, 2), np.float32),
        (plain((0.8, 0.3, 0.1)), plain((0.1, 0.3, 0.8))),
    )


def compare(mesh: Mesh) -> None:
    one, other = embree.prepare(mesh), pytorch3d.prepare(mesh)
    for rotation in ROTATIONS:
        a, b = (scene.rasterize(rotation, 2.0, 60.0, 64) for scene in (one, other))
        hit_a, hit_b = a.face_id >= 0, b.face_id >= 0
        assert (hit_a & hit_b).sum() >= 0.99 * (hit_a | hit_b).sum()
        both = hit_a & hit_b
        assert np.median(np.abs(a.depth - b.depth)[both]) < 1e-5
        same = both & (a.face_id == b.face_id)
        assert same.sum() > 0.95 * both.sum()
        np.testing.assert_allclose(a.depth[same], b.depth[same], atol=1e-4)
        assert np.median(np.abs(a.barycentric - b.barycentric)[same]) < 1e-4


def test_backends_agree_on_a_torus() -> None:
    compare(make_torus())


def test_backends_agree_on_real_meshes(shared_data: Path) -> None:
    with ZipFile(shared_data / "psb25.zip") as archive:
        for name in ("psb25/laptop/train/laptop_1764.off", "psb25/plant/test/plant_0993.off"):
            mesh = load_mesh(archive.read(name), "off", max_faces=10**6)
            compare(replace(mesh, vertices=normalise(mesh.vertices)[0]))


def test_a_build_without_cuda_serves_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU is there, PyTorch3D cannot use it: by itself it takes the CPU, asked for the GPU it says so."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(pytorch3d, "_built_for_cuda", lambda: False)
    monkeypatch.delenv("C2P_DEVICE", raising=False)
    assert pytorch3d.device() == torch.device("cpu")
    monkeypatch.setenv("C2P_DEVICE", "cuda")
    with pytest.raises(ValueError, match=r"^C2P_DEVICE: got 'cuda:0', but PyTorch3D was built without CUDA"):
        pytorch3d.prepare(make_torus())


@pytest.mark.gpu
def test_the_gpu_sees_what_the_cpu_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    if not torch.cuda.is_available() or not pytorch3d._built_for_cuda():
        pytest.skip("needs a CUDA device and PyTorch3D built for it")
    views = []
    for device in ("cpu", "cuda"):
        monkeypatch.setenv("C2P_DEVICE", device)
        assert pytorch3d.device().type == device
        scene = pytorch3d.prepare(make_torus())
        views.append([scene.rasterize(rotation, 2.0, 60.0, 64) for rotation in ROTATIONS])
    for one, other in zip(*views, strict=True):
        same = one.face_id == other.face_id
        assert same.mean() > 0.999
        np.testing.assert_allclose(one.depth[same], other.depth[same], atol=1e-5)


def test_views_agree() -> None:
    one = render_views(make_torus(), ROTATIONS, SETTINGS)
    other = render_views(make_torus(), ROTATIONS, replace(SETTINGS, renderer="pytorch3d"))
    assert (np.abs(one.rgb.astype(int) - other.rgb).max(-1) <= 1).mean() > 0.995


def test_colours_equal_the_published_shader() -> None:
    """PyTorch3D's Phong shader with per-face colours and unshared vertices, whose normals are then flat."""
    from pytorch3d.renderer import (
        DirectionalLights,
        FoVPerspectiveCameras,
        HardPhongShader,
        MeshRasterizer,
        RasterizationSettings,
        TexturesVertex,
    )
    from pytorch3d.renderer.blending import BlendParams
    from pytorch3d.structures import Meshes

    mesh = make_torus()
    ours = render_views(mesh, ROTATIONS, SETTINGS)
    corners = mesh.vertices[mesh.faces].reshape(-1, 3)
    diffuse = np.array([mesh.materials[m].diffuse for m in mesh.face_material]).repeat(3, 0)
    meshes = Meshes(
        [torch.from_numpy(corners).float()],
        [torch.arange(len(corners)).view(-1, 3)],
        TexturesVertex([torch.from_numpy(diffuse).float()]),
    )
    for view, rotation in enumerate(ROTATIONS):
        turn, light = torch.from_numpy(rotation).float()[None], torch.from_numpy(-rotation[:, 2]).float()[None]
        cameras = FoVPerspectiveCameras(R=turn, T=torch.tensor([[0.0, 0.0, 2.0]]), fov=60.0)
        lights = DirectionalLights(((0.5,) * 3,), ((0.3,) * 3,), ((0.2,) * 3,), light)
        fragments = MeshRasterizer(cameras, RasterizationSettings(image_size=64, bin_size=0))(meshes)
        shader = HardPhongShader(cameras=cameras, lights=lights, blend_params=BlendParams(background_color=(1.0,) * 3))
        theirs = shader(fragments, meshes)[0, ..., :3].clamp(0, 1).numpy()
        difference = np.abs(ours.rgb[view] / 255 - theirs).max(-1)
        assert (difference < 0.01).mean() > 0.99
