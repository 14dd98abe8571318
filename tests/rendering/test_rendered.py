"""Rendered views against analytic shapes and against a ray tracer and shader written as loops in float64."""

import sys
from dataclasses import replace
from math import floor, radians, tan
from typing import Any

import numpy as np
import pytest
import trimesh

from c2p import params
from c2p.geometry.materials import Material, plain
from c2p.geometry.meshes import Mesh, clean_mesh
from c2p.geometry.views import view_set
from c2p.rendering import embree, raster, render_views
from c2p.rendering.shading import base_colour, surface

SETTINGS = params.Render(
    renderer="auto", size=24, supersample=1, views="ten", centre="vertices", fov=60.0, distance=2.0, ambient=0.5,
    diffuse=0.3, specular=0.2, cloud_points=8, part_size=8, max_faces=1000, max_reject_rate=0.5, seed=0,
)  # fmt: skip
ROTATIONS = view_set("ten").rotations


def make_mesh(vertices: np.ndarray, faces: np.ndarray, material: Material | None = None, uv: object = None) -> Mesh:
    faces = np.asarray(faces, dtype=np.int64)
    uv = np.zeros((len(faces), 3, 2)) if uv is None else uv
    vertices = np.asarray(vertices, dtype=np.float64)
    return Mesh(vertices, faces, np.zeros(len(faces), np.int32), np.asarray(uv, np.float32), (material or plain(),))


def make_ball(subdivisions: int = 4) -> Mesh:
    ball = trimesh.creation.icosphere(subdivisions=subdivisions)
    return make_mesh(ball.vertices, ball.faces)


def make_soup(seed: int, count: int = 30) -> Mesh:
    """Triangles in the unit sphere that pierce each other, with two textures and flat colours."""
    generator = np.random.default_rng(seed)
    vertices = generator.uniform(-0.55, 0.55, (3 * count, 3))
    materials = (
        Material(np.float32([0.2, 0.4, 0.9]), None),
        Material(np.float32([1, 1, 1]), generator.integers(0, 256, (5, 3, 3), dtype=np.uint8)),
        Material(np.float32([1, 1, 1]), generator.integers(0, 256, (2, 8, 3), dtype=np.uint8)),
    )
    return Mesh(
        vertices,
        np.arange(3 * count).reshape(count, 3),
        generator.integers(0, 3, count).astype(np.int32),
        generator.uniform(-2, 3, (count, 3, 2)).astype(np.float32),
        materials,
    )


def trace_naive(mesh: Mesh, origin: np.ndarray, ray: np.ndarray):
    """(face, barycentric, t) of the nearest hit or None, and how close the ray comes to another outcome."""
    best, slack, depths = None, 1.0, []
    for face, corners in enumerate(mesh.vertices[mesh.faces]):
        a, b, c = corners
        matrix = np.stack([b - a, c - a, -ray], axis=1)
        if abs(np.linalg.det(matrix)) < 1e-9:
            continue
        u, v, t = np.linalg.solve(matrix, origin - a)
        weights = np.array([1 - u - v, u, v])
        slack = min(slack, abs(weights.min()))
        if weights.min() >= 0 and t > 0:
            depths.append(t)
            if best is None or t < best[2]:
                best = (face, weights, t)
    near = sorted(depths)[:2]
    return best, min(slack, near[1] - near[0]) if len(near) == 2 else slack


def texture_naive(texture: np.ndarray, u: float, v: float) -> np.ndarray:
    height, width = texture.shape[:2]
    x, y = u * width - 0.5, (1 - v) * height - 0.5
    i, j = floor(y), floor(x)
    result = np.zeros(3)
    for row, down in ((i, 1 - (y - i)), (i + 1, y - i)):
        for column, across in ((j, 1 - (x - j)), (j + 1, x - j)):
            result += down * across * texture[row % height, column % width]
    return result / 255


def colour_naive(mesh: Mesh, face: int, weights: np.ndarray, ray: np.ndarray, light: np.ndarray) -> np.ndarray:
    a, b, c = mesh.vertices[mesh.faces[face]]
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal)
    normal = -normal if normal @ ray > 0 else normal
    material = mesh.materials[mesh.face_material[face]]
    base = material.diffuse
    if material.texture is not None:
        base = texture_naive(material.texture, *(weights @ mesh.uv[face].astype(np.float64)))
    cosine = max(normal @ light, 0)
    mirrored = 2 * cosine * normal - light
    shine = max(-(ray / np.linalg.norm(ray)) @ mirrored, 0) ** 64 if cosine > 0 else 0
    return np.clip(base * (0.5 + 0.3 * cosine) + 0.2 * shine, 0, 1)


@pytest.mark.parametrize("renderer", ["raster", "embree"])
@pytest.mark.parametrize("seed", [0, 1])
def test_views_equal_the_naive_ray_tracer(seed: int, renderer: Any) -> None:
    mesh, size = make_soup(seed), 20
    chosen = ROTATIONS[[0, 1, 5]]
    rendered = render_views(mesh, chosen, replace(SETTINGS, size=size, renderer=renderer))
    checked = 0
    for view, rotation in enumerate(chosen):
        origin = -2 * rotation[:, 2]
        for i in range(size):
            for j in range(size):
                x, y = (1 - (2 * k + 1) / size for k in (j, i))
                ray = rotation @ [x * tan(radians(30)), y * tan(radians(30)), 1]
                hit, slack = trace_naive(mesh, origin, ray)
                if slack < 1e-5:
                    continue
                checked += 1
                pixel, depth = rendered.rgb[view, i, j], rendered.depth[view, i, j]
                if hit is None:
                    assert pixel.tolist() == [255, 255, 255] and depth == 0 and rendered.alpha[view, i, j] == 0
                    continue
                face, weights, t = hit
                assert rendered.alpha[view, i, j] == 255
                assert depth == pytest.approx(t, abs=2e-5)
                expected = colour_naive(mesh, face, weights, ray, -rotation[:, 2])
                np.testing.assert_allclose(pixel / 255, expected, atol=0.006)
    assert checked > 0.95 * 3 * size**2


def test_unit_sphere_fills_the_frame() -> None:
    rendered = render_views(make_ball(), ROTATIONS, replace(SETTINGS, size=64))
    x = 1 - (2 * np.arange(64) + 1) / 64
    radius = np.hypot(x[:, None], x[None, :])
    for alpha, depth in zip(rendered.alpha, rendered.depth, strict=True):
        assert (alpha[radius < 0.99] == 255).all() and (alpha[radius > 1.001] == 0).all()
        ray = np.stack(np.broadcast_arrays(x[None, :] * tan(radians(30)), x[:, None] * tan(radians(30)), 1.0), -1)
        a, b, c = (ray**2).sum(-1), -4 * ray[..., 2], 3.0
        expected = (-b - np.sqrt(np.maximum(b * b - 4 * a * c, 0))) / (2 * a)
        inner = radius < 0.9
        np.testing.assert_allclose(depth[inner], expected[inner], atol=0.004)


def test_directions_in_every_view() -> None:
    """A small ball on a world axis appears where the camera contract says."""
    names = {"left": [-1, 0, 0], "right": [1, 0, 0], "up": [0, 1, 0], "down": [0, -1, 0]}
    ball = trimesh.creation.icosphere(subdivisions=1, radius=0.1)
    for name, axis in names.items():
        mesh = make_mesh(ball.vertices + 0.7 * np.array(axis), ball.faces)
        rows, columns = render_views(mesh, ROTATIONS[:1], SETTINGS).alpha[0].nonzero()
        place = {"left": columns < 12, "right": columns >= 12, "up": rows < 12, "down": rows >= 12}[name]
        assert len(rows) and place.all()
    for view, axis in enumerate(np.eye(3)[[2, 1, 2, 1]] * [[1], [1], [-1], [-1]]):  # front, top, back, bottom
        mesh = make_mesh(ball.vertices + 0.7 * axis, ball.faces)
        depth = render_views(mesh, ROTATIONS[view : view + 1], SETTINGS).depth
        assert depth[depth > 0].min() == pytest.approx(1.2, abs=0.02)


def test_texture_lies_upright() -> None:
    texture = np.array([[[250, 0, 0], [0, 250, 0]], [[0, 0, 250], [250, 250, 0]]], dtype=np.uint8)
    square = np.array([[-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0], [-0.5, 0.5, 0]])
    corner = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    mesh = make_mesh(square, faces, Material(np.ones(3, np.float32), texture), corner[faces])
    picture = render_views(mesh, ROTATIONS[:1], replace(SETTINGS, specular=0.0, size=48)).rgb[0]
    rows, columns = (picture.sum(-1) < 765).nonzero()
    top, bottom, left, right = rows.min() + 5, rows.max() - 5, columns.min() + 5, columns.max() - 5
    assert picture[top, left].argmax() == 0 and picture[top, right].argmax() == 1
    assert picture[bottom, left].argmax() == 2 and picture[bottom, right].argmin() == 2


def test_texture_repeats() -> None:
    texture = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    uv = np.random.default_rng(1).uniform(-3, 3, (200, 2)).astype(np.float32)
    corners, weights = np.repeat(uv[:, None], 3, axis=1), np.full((200, 3), 1 / 3, np.float32)
    faces = np.zeros((200, 3), np.int64)
    mesh = make_mesh(np.zeros((1, 3)), faces, Material(np.ones(3, np.float32), texture), corners)
    found = base_colour(surface(mesh), np.arange(200), weights)
    expected = [texture_naive(texture, float(u), float(v)) for u, v in uv]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_winding_does_not_matter() -> None:
    mesh = make_soup(3)
    flipped = replace(mesh, faces=mesh.faces[:, ::-1], uv=mesh.uv[:, ::-1])
    one, other = (render_views(m, ROTATIONS, SETTINGS) for m in (mesh, flipped))
    assert np.abs(one.rgb.astype(int) - other.rgb).max() <= 1
    assert (one.alpha == other.alpha).all()


def test_supersampling_is_the_mean_of_the_finer_view() -> None:
    mesh = make_soup(4)
    coarse = render_views(mesh, ROTATIONS, replace(SETTINGS, supersample=3))
    fine = render_views(mesh, ROTATIONS, replace(SETTINGS, size=72))
    blocks = fine.rgb.reshape(10, 24, 3, 24, 3, 3).astype(np.float64).mean((2, 4))
    assert np.abs(coarse.rgb - blocks).max() <= 1.01
    covered = (fine.alpha.reshape(10, 24, 3, 24, 3) > 0).mean((2, 4))
    np.testing.assert_allclose(coarse.alpha / 255, covered, atol=0.003)
    depth = np.where(fine.depth > 0, fine.depth, np.inf).reshape(10, 24, 3, 24, 3).min((2, 4))
    np.testing.assert_array_equal(coarse.depth, np.where(np.isinf(depth), 0, depth))
    assert ((coarse.alpha > 0) & (coarse.alpha < 255)).any()


def test_same_bytes_again() -> None:
    mesh = make_soup(5)
    one, other = (render_views(mesh, ROTATIONS, SETTINGS) for _ in range(2))
    assert one.rgb.tobytes() == other.rgb.tobytes() and one.depth.tobytes() == other.depth.tobytes()


@pytest.mark.parametrize("backend", [raster, embree])
def test_gbuffer_points_lie_on_the_rays(backend: Any) -> None:
    mesh = make_soup(6)
    for rotation in ROTATIONS[:5]:
        gbuffer = backend.prepare(mesh).rasterize(rotation, 2.0, 60.0, 32)
        assert gbuffer.face_id.dtype == np.int32 and gbuffer.barycentric.dtype == gbuffer.depth.dtype == np.float32
        rows, columns = (gbuffer.face_id >= 0).nonzero()
        corners = mesh.vertices[mesh.faces[gbuffer.face_id[rows, columns]]]
        world = (gbuffer.barycentric[rows, columns][:, :, None] * corners).sum(1)
        x, y, z = (world @ rotation + [0, 0, 2]).T
        np.testing.assert_allclose(z, gbuffer.depth[rows, columns], atol=1e-5)
        np.testing.assert_allclose(x / z / tan(radians(30)), 1 - (2 * columns + 1) / 32, atol=1e-5)
        np.testing.assert_allclose(y / z / tan(radians(30)), 1 - (2 * rows + 1) / 32, atol=1e-5)
        missed = gbuffer.face_id < 0
        assert not gbuffer.depth[missed].any() and not gbuffer.barycentric[missed].any()


@pytest.mark.parametrize("centre", [[0.4, 0.3, 0.2], [-1.1, 0.2, 0.1], [0.0, 3.0, 0.0], [0.3, 0.2, 1.9]])
def test_skipping_rays_beside_the_mesh_changes_nothing(centre: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    soup = make_soup(7)
    mesh = replace(soup, vertices=soup.vertices * 0.3 + centre)
    some = [embree.prepare(mesh).rasterize(rotation, 2.0, 60.0, 33) for rotation in ROTATIONS]
    monkeypatch.setattr(embree, "sample_window", lambda *_: (slice(0, 33), slice(0, 33)))
    for few, rotation in zip(some, ROTATIONS, strict=True):
        every = embree.prepare(mesh).rasterize(rotation, 2.0, 60.0, 33)
        for name in ("face_id", "barycentric", "depth"):
            np.testing.assert_array_equal(getattr(few, name), getattr(every, name))


@pytest.mark.parametrize("distance", [2.0, 1.05])
def test_raster_sees_what_rays_see(distance: float) -> None:
    """Two algorithms, one picture: faces differ only where a ray passes within rounding of an edge."""
    generator = np.random.default_rng(8)
    sharp = make_soup(9, 400)
    ball = replace(make_ball(5), vertices=make_ball(5).vertices * generator.uniform(0.4, 0.99))
    for mesh in (sharp, ball):
        for rotation in ROTATIONS:
            a, b = (scene.prepare(mesh).rasterize(rotation, distance, 60.0, 96) for scene in (raster, embree))
            same = a.face_id == b.face_id
            assert same.mean() > 0.9995 and ((a.face_id >= 0) == (b.face_id >= 0)).mean() > 0.9999
            np.testing.assert_allclose(a.depth[same], b.depth[same], atol=3e-5)
            np.testing.assert_allclose(a.barycentric[same], b.barycentric[same], atol=5e-3)


def test_raster_leaves_no_crack_in_a_closed_surface() -> None:
    """Every ray into a ball of small faces, a grid of them along its edges, meets it."""
    for mesh in (make_ball(5), make_mesh(*make_cube_of_squares(24))):
        for rotation in ROTATIONS:
            seen = raster.prepare(mesh).rasterize(rotation, 2.0, 60.0, 240).face_id >= 0
            for line in (*seen, *seen.T):
                assert not len(hits := line.nonzero()[0]) or line[hits[0] : hits[-1] + 1].all()


def make_cube_of_squares(count: int) -> tuple[np.ndarray, np.ndarray]:
    """A cube whose sides are grids, so that samples fall exactly on edges and corners."""
    grid = trimesh.creation.box(extents=[1, 1, 1])
    while len(grid.faces) < count * count:
        grid = grid.subdivide()
    return np.array(grid.vertices), np.array(grid.faces)


@pytest.mark.parametrize("shift", [-1.9, -2.0, -2.5, -4.0])
def test_faces_beside_and_behind_the_camera(shift: float) -> None:
    """A mesh that the camera stands in: what lies behind it is not seen, what crosses its plane is seen in part."""
    soup = make_soup(11, 12)
    mesh = replace(soup, vertices=soup.vertices * 2 - shift * ROTATIONS[0][:, 2] * [1, 1, -1])
    found = raster.prepare(mesh).rasterize(ROTATIONS[0], 2.0, 60.0, 16)
    origin = -2 * ROTATIONS[0][:, 2]
    for i in range(16):
        for j in range(16):
            x, y = (1 - (2 * k + 1) / 16 for k in (j, i))
            hit, slack = trace_naive(mesh, origin, ROTATIONS[0] @ [x * tan(radians(30)), y * tan(radians(30)), 1])
            if slack > 1e-6:
                assert found.face_id[i, j] == (-1 if hit is None else hit[0])
                assert found.depth[i, j] == pytest.approx(0 if hit is None else hit[2], abs=1e-5)


def test_coincident_faces_leave_one_colour() -> None:
    """Two colours on the same triangle: the first wins in every pixel, whatever the backend."""
    mesh = make_mesh(np.array([[-0.6, -0.5, 0], [0.6, -0.5, 0], [0, 0.6, 0]]), [[0, 1, 2], [2, 1, 0]])
    mesh = replace(mesh, face_material=np.int32([0, 1]), materials=(plain((0.9, 0, 0)), plain((0, 0, 0.9))))
    picture = render_views(clean_mesh(mesh), ROTATIONS, replace(SETTINGS, specular=0.0))
    seen = picture.rgb[picture.alpha > 0]
    assert len(seen) and (seen[:, 0] > seen[:, 2]).all()


def test_missing_pytorch3d_and_empty_mesh_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytorch3d", None)
    monkeypatch.delitem(sys.modules, "pytorch3d.renderer", raising=False)
    monkeypatch.delitem(sys.modules, "pytorch3d.renderer.mesh.rasterize_meshes", raising=False)
    with pytest.raises(ValueError, match=r"^render.renderer: pytorch3d cannot be imported .*auto$"):
        render_views(make_ball(0), ROTATIONS, replace(SETTINGS, renderer="pytorch3d"))
    with pytest.raises(ValueError, match="without faces"):
        render_views(make_mesh(np.zeros((0, 3)), np.zeros((0, 3))), ROTATIONS, SETTINGS)
