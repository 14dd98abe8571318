"""Loading and cleaning meshes: small files written by hand, hostile ones, and real ones."""

import io
import logging
import posixpath
import zipfile
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from c2p.geometry.meshes import Mesh, MeshError, load_mesh, normalise, rotate_up

PYRAMID = "5 6 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n.5 .5 1\n3 0 1 4\n3 1 2 4\n3 2 3 4\n3 3 0 4\n3 0 2 1\n3 0 3 2\n"
QUAD_OBJ = """mtllib materials/look.mtl
v -1 -1 0
v 1 -1 0
v 1 1 0
v -1 1 0
vt 0 0
vt 1 0
vt 1 1
vt 0 1
usemtl painted
f 1/1 2/2 3/3
f 1/1 3/3 4/4
"""
MTL = "newmtl painted\nKd 0.25 0.5 0.75\nmap_Kd ../images/checks.png\n"


def load(text: str | bytes, extension: str = "off", max_faces: int = 1000, **files: bytes) -> Mesh:
    data = text if isinstance(text, bytes) else text.encode()
    return load_mesh(data, extension, read=files.get, max_faces=max_faces)


def png(pixels: list) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.array(pixels, dtype=np.uint8)).save(buffer, "png")
    return buffer.getvalue()


def quad_files() -> dict[str, bytes]:
    texture = png([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]])
    return {"materials/look.mtl": MTL.encode(), "../images/checks.png": texture}


@pytest.mark.parametrize(
    "text",
    [
        "OFF\n" + PYRAMID,
        "OFF" + PYRAMID,
        "# made by hand\nOFF # head\n" + PYRAMID,
        ("OFF\n" + PYRAMID).replace("\n", "\r\n"),
    ],
    ids=["plain", "glued header", "comments", "dos"],
)
def test_off(text: str) -> None:
    mesh = load(text, ".OFF")
    assert mesh.vertices.dtype == np.float64 and mesh.faces.dtype == np.int64
    assert mesh.vertices.tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0.5, 0.5, 1]]
    assert mesh.faces.tolist() == [[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4], [0, 2, 1], [0, 3, 2]]
    assert mesh.uv.shape == (6, 3, 2) and mesh.face_material.tolist() == [0] * 6
    assert mesh.materials[0].texture is None


def test_off_polygons_become_triangles_of_the_same_area() -> None:
    mesh = load("OFF\n6 2 0\n0 0 0\n2 0 0\n2 2 0\n0 2 0\n3 1 0\n1 3 1\n4 0 1 2 3\n3 1 4 2\n")
    corners = mesh.vertices[mesh.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    assert len(mesh.faces) == 3 and area.sum() == pytest.approx(5)
    assert len(mesh.vertices) == 5  # the sixth is used by no face


def test_obj_with_material_and_texture() -> None:
    mesh = load(QUAD_OBJ, "obj", **quad_files())
    (material,) = mesh.materials
    np.testing.assert_allclose(material.diffuse, [0.25, 0.5, 0.75])
    assert material.texture is not None and material.texture[0].tolist() == [[255, 0, 0], [0, 255, 0]]
    for face, uv in zip(mesh.faces, mesh.uv, strict=True):
        np.testing.assert_allclose((mesh.vertices[face][:, :2] + 1) / 2, uv)


def test_obj_with_several_materials_keeps_each_face_its_own() -> None:
    text = "mtllib m\n" + "".join(f"v {x} {y} 0\n" for x in range(4) for y in range(2))
    text += "usemtl red\nf 1 2 3\nusemtl blue\nf 3 4 5\nusemtl red\nf 5 6 7\nusemtl absent\nf 6 7 8\n"
    mesh = load(text, "obj", m=b"newmtl red\nKd 1 0 0\nnewmtl blue\nKd 0 0 1\n")
    colours = {
        mesh.vertices[face].mean(0).tobytes(): mesh.materials[material].diffuse.tolist()
        for face, material in zip(mesh.faces, mesh.face_material, strict=True)
    }
    place = {i: np.array([i // 2, i % 2, 0.0]) for i in range(8)}
    expected = {(0, 1, 2): [1, 0, 0], (2, 3, 4): [0, 0, 1], (4, 5, 6): [1, 0, 0]}
    for face, colour in expected.items():
        assert colours[np.array([place[i] for i in face]).mean(0).tobytes()] == colour
    assert len(mesh.vertices) == 8 and len(mesh.faces) == 4
    assert len(set(map(tuple, colours.values()))) == 3


def test_of_coincident_faces_the_first_in_the_file_gives_the_material() -> None:
    text = "mtllib m\nv 0 0 0\nv 1 0 0\nv 0 1 0\nv 1 1 1\n"
    text += "usemtl red\nf 1 2 3\nusemtl blue\nf 3 2 1\nf 2 3 4\nusemtl green\nf 4 3 2\n"
    mesh = load(text, "obj", m=b"newmtl red\nKd 1 0 0\nnewmtl blue\nKd 0 0 1\nnewmtl green\nKd 0 1 0\n")
    colours = [mesh.materials[material].diffuse.tolist() for material in mesh.face_material]
    assert colours == [[1, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize("broken", [None, b"no image", "truncated"])
def test_a_missing_or_broken_texture_leaves_the_colour(broken: object, caplog: pytest.LogCaptureFixture) -> None:
    files = quad_files()
    good = files.pop("../images/checks.png")
    if broken is not None:
        files["../images/checks.png"] = good[:-30] if broken == "truncated" else b"no image"
    with caplog.at_level(logging.WARNING, "c2p"):
        mesh = load(QUAD_OBJ, "obj", **files)
    assert mesh.materials[0].texture is None
    np.testing.assert_allclose(mesh.materials[0].diffuse, [0.25, 0.5, 0.75])
    assert "diffuse colour" in caplog.text


def test_a_missing_material_file_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "c2p"):
        mesh = load(QUAD_OBJ, "obj")
    assert "materials/look.mtl" in caplog.text
    assert mesh.materials[0].diffuse.tolist() == pytest.approx([0.7] * 3)


def test_faces_without_coordinates_beside_textured_ones(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "c2p"):
        mesh = load(QUAD_OBJ.replace("f 1/1 3/3 4/4", "f 1 3 4"), "obj", **quad_files())
    assert len(mesh.faces) == 2
    assert "2 faces have a texture but no usable texture coordinates" in caplog.text


def test_a_vertex_on_a_texture_seam_counts_once() -> None:
    seam = QUAD_OBJ.replace("f 1/1 3/3 4/4", "f 1/2 3/4 4/1")
    mesh = load(seam, "obj", **quad_files())
    assert len(mesh.vertices) == 4
    np.testing.assert_allclose(normalise(mesh.vertices)[1], 0, atol=1e-12)


def test_glb_with_placed_parts_and_texture() -> None:
    box = trimesh.creation.box()
    image = Image.fromarray(np.array([[[200, 100, 50]]], dtype=np.uint8))
    material = trimesh.visual.material.PBRMaterial(baseColorTexture=image, baseColorFactor=[0.5, 1.0, 1.0, 1.0])
    box.visual = trimesh.visual.TextureVisuals(uv=np.full((8, 2), [0.25, 0.75]), material=material)
    ball = trimesh.creation.icosphere(subdivisions=1)
    scene = trimesh.Scene()
    scene.add_geometry(box, transform=trimesh.transformations.translation_matrix([3, 0, 0]))
    scene.add_geometry(ball)
    mesh = load(scene.export(file_type="glb"), "glb")
    assert len(mesh.faces) == 12 + 80
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    np.testing.assert_allclose([low[0], high[0]], [-1, 3.5], atol=0.06)
    textured = np.array([m.texture is not None for m in mesh.materials])[mesh.face_material]
    assert textured.sum() == 12
    assert (mesh.vertices[mesh.faces[textured]][..., 0] >= 2.4).all()
    np.testing.assert_allclose(mesh.uv[textured], np.broadcast_to([0.25, 0.75], (12, 3, 2)), atol=1e-6)
    texture = next(m.texture for m in mesh.materials if m.texture is not None)
    assert texture[0, 0].tolist() == pytest.approx([100, 100, 50], abs=1)


def test_ply_vertex_colours_become_face_colours() -> None:
    from c2p.rendering.shading import base_colour, surface

    ball = trimesh.creation.icosphere(subdivisions=1)
    ball.visual.vertex_colors = np.c_[
        np.random.default_rng(0).integers(0, 256, (len(ball.vertices), 3)), 255 * np.ones(42)
    ]
    mesh = load(ball.export(file_type="ply"), "ply")
    expected = np.asarray(ball.visual.vertex_colors)[ball.faces, :3].mean(1) / 255
    thirds = np.full((80, 3), 1 / 3, dtype=np.float32)
    np.testing.assert_allclose(base_colour(surface(mesh), np.arange(80), thirds), expected, atol=1 / 255)


def test_stl_vertices_are_shared_again() -> None:
    mesh = load(trimesh.creation.box().export(file_type="stl"), "stl")
    assert mesh.vertices.shape == (8, 3) and mesh.faces.shape == (12, 3)


def test_coincident_and_degenerate_faces_are_dropped() -> None:
    text = "OFF\n7 6 0\n0 0 0\n1 0 0\n0 1 0\n0 0 0\n2 0 0\n.5 0 0\n9 9 9\n"
    text += "3 0 1 2\n3 2 1 3\n3 1 2 0\n3 0 5 1\n3 1 4 2\n3 1 1 2\n"
    mesh = load(text)
    corners = mesh.vertices[mesh.faces]
    assert corners.tolist() == [[[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[1, 0, 0], [2, 0, 0], [0, 1, 0]]]
    assert len(mesh.vertices) == 4


@pytest.mark.parametrize(
    ("text", "extension", "reason"),
    [
        ("OFF\n3 0 0\n0 0 0\n1 0 0\n0 1 0\n", "off", "no faces|unreadable"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\n", "obj", "no faces"),
        ("", "obj", "no faces|unreadable"),
        ("", "off", "unreadable"),
        ("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 3\n", "off", "index out of range"),
        ("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 -1\n", "off", "index out of range"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", "obj", "index out of range"),
        ("OFF\n3 1 0\n0 0 nan\n1 0 0\n0 1 0\n3 0 1 2\n", "off", "non-finite vertices"),
        ("OFF\n3 1 0\n0 0 inf\n1 0 0\n0 1 0\n3 0 1 2\n", "off", "non-finite vertices"),
        ("OFF\n3 1 0\n0 0 1e200\n1 0 0\n0 1 0\n3 0 1 2\n", "off", "vertices too large"),
        ("OFF\n3 2 0\n0 0 0\n1 0 0\n2 0 0\n3 0 1 2\n3 0 0 1\n", "off", "all faces degenerate"),
        ("OFF\n3 99999999999 0\n0 0 0\n1 0 0\n2 0 0\n3 0 1 2\n", "off", "more than 1000 faces"),
        ("OFF\n99999999999 1 0\n0 0 0\n1 0 0\n2 0 0\n3 0 1 2\n", "off", "more than 4000 vertices"),
        ("ply\nformat ascii 1.0\nelement face 5000\nend_header\n", "ply", "more than 1000 faces"),
        ("v 0 0 0\n" * 3 + "f 1 2 3\n" * 1001, "obj", "more than 1000 faces"),
        ("OFF\n4 1 0\n0 0 0\n1 0 0\n2 0 0\n3 0 1 2\n", "off", "no faces|unreadable"),
    ],
)
def test_unusable_meshes_say_why(text: str, extension: str, reason: str) -> None:
    with pytest.raises(MeshError, match=f"^({reason})$"):
        load(text, extension)


@pytest.mark.parametrize("extension", ["off", "obj", "glb", "ply", "stl"])
def test_damaged_files_are_rejected_or_read_but_never_crash(extension: str) -> None:
    whole = trimesh.creation.icosphere(subdivisions=1).export(file_type=extension)
    whole = whole if isinstance(whole, bytes) else whole.encode()
    generator = np.random.default_rng(0)
    for trial in range(30):
        damaged = bytearray(whole)
        if trial % 3 == 0:
            damaged = damaged[: generator.integers(len(whole))]
        else:
            for place in generator.integers(len(whole), size=8):
                damaged[place] = generator.integers(256)
        try:
            mesh = load(bytes(damaged), extension)
        except MeshError:
            continue
        assert np.isfinite(mesh.vertices).all()
        assert mesh.faces.min() >= 0 and mesh.faces.max() < len(mesh.vertices)


def test_unknown_extension() -> None:
    with pytest.raises(ValueError, match=r"'\.fbx'; allowed: off, obj, glb, ply, stl"):
        load("", ".fbx")


def test_up_axis() -> None:
    points = np.array([[1.0, 2.0, 3.0]])
    assert rotate_up(points, "y").tolist() == points.tolist()
    assert rotate_up(points, "z").tolist() == [[-2, 3, -1]]
    turn = rotate_up(np.eye(3), "z")
    assert np.linalg.det(turn) == pytest.approx(1)
    with pytest.raises(ValueError, match="'x'; allowed: y, z"):
        rotate_up(points, "x")  # type: ignore[arg-type]


def test_normalised_vertices() -> None:
    vertices = np.random.default_rng(0).normal(5, 3, (30, 3))
    inside, centre, scale = normalise(vertices)
    np.testing.assert_allclose(inside.mean(0), 0, atol=1e-12)
    assert max(np.linalg.norm(v) for v in inside) == pytest.approx(1)
    np.testing.assert_allclose(inside * scale + centre, vertices)
    assert normalise(np.ones((3, 3)))[2] == 1


def members(archive: zipfile.ZipFile, name: str):
    """What the caller of load_mesh gives: files below the model's folder only."""
    folder, model = posixpath.dirname(name), "/".join(name.split("/")[:2]) + "/"

    def read(relative: str) -> bytes | None:
        path = posixpath.normpath(posixpath.join(folder, relative))
        return archive.read(path) if path.startswith(model) and path in archive.namelist() else None

    return read


@pytest.mark.parametrize("file", ["shapenetcore_v2/02818832.zip", "shapenetcore_v2/03001627.zip", "household.zip"])
def test_real_textured_models(shared_data: Path, file: str, caplog: pytest.LogCaptureFixture) -> None:
    with zipfile.ZipFile(shared_data / file) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".obj"))[:3]
        for name in names:
            data = archive.read(name)
            mesh = load_mesh(data, "obj", read=members(archive, name), max_faces=10**6)
            stated = np.array(
                [line.split()[1:4] for line in data.decode().splitlines() if line.startswith("v ")], float
            )
            # a line element may end a little beside the faces
            np.testing.assert_allclose(mesh.vertices.min(0), stated.min(0), atol=1e-3)
            np.testing.assert_allclose(mesh.vertices.max(0), stated.max(0), atol=1e-3)
            assert 0.45 * data.count(b"\nf ") < len(mesh.faces) <= data.count(b"\nf ")
            assert any(material.texture is not None for material in mesh.materials)
    assert "not there" not in caplog.text


def test_real_off_files(shared_data: Path) -> None:
    with zipfile.ZipFile(shared_data / "psb25.zip") as archive:
        for name in sorted(archive.namelist())[::100]:
            data = archive.read(name)
            mesh = load_mesh(data, "off", max_faces=10**6)
            vertices, polygons, _ = map(int, data.split()[1:4])
            assert len(mesh.vertices) <= vertices and len(mesh.faces) >= 0.3 * polygons
