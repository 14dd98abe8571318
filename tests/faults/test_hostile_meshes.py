"""Mesh files that lie, refer to what is not theirs, or hold numbers that are none: a mesh, or a reason."""

import errno
import io
import json
import random
import signal
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from huge_meshes import glb_of, glb_tree
from PIL import Image

from c2p.data.archive import MemberError
from c2p.data.models import read_mesh_at
from c2p.geometry.meshes import MeshError, load_mesh

CORNERS = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\n"
TRIANGLE = struct.pack("<9f", 0, 0, 0, 1, 0, 0, 0, 1, 0) + struct.pack("<3I", 0, 1, 2)
PLY = (
    "ply\nformat {} 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
    "element face 1\nproperty list {} int vertex_indices\nend_header\n"
)


@pytest.fixture(autouse=True)
def alarm() -> Iterator[None]:
    """A parser that never ends fails its test."""
    signal.alarm(20)
    yield
    signal.alarm(0)


def tree(**changes: object) -> dict:
    return glb_tree(3, 3) | changes


def changed(section: str, index: int, **values: object) -> dict:
    made = tree()
    made[section][index] |= values
    return made


UNUSABLE: dict[str, tuple[str, str | bytes]] = {
    "obj missing vertex": ("obj", CORNERS + "f 1 2 9\n"),
    "obj negative beyond the first": ("obj", CORNERS + "f -1 -2 -9\n"),
    "obj no corners": ("obj", CORNERS + "f\n"),
    "obj two corners": ("obj", CORNERS + "f 1 2\n"),
    "obj words": ("obj", CORNERS + "f a b c\n"),
    "obj nan": ("obj", CORNERS.replace("v 1 0 0", "v nan 0 0") + "f 1 2 3\n"),
    "obj infinite": ("obj", CORNERS.replace("v 1 0 0", "v inf 0 0") + "f 1 2 3\n"),
    "obj 1e300": ("obj", CORNERS.replace("v 1 0 0", "v 1e300 0 0") + "f 1 2 3\n"),
    "obj 1e400": ("obj", CORNERS.replace("v 1 0 0", "v 1e400 0 0") + "f 1 2 3\n"),
    "obj no faces": ("obj", CORNERS),
    "obj no vertices": ("obj", "f 1 2 3\n"),
    "obj empty": ("obj", b""),
    "obj zeros": ("obj", bytes(1000)),
    "obj gigantic line": ("obj", CORNERS + "f" + " 1 2 3" * 100_000 + "\n"),
    "obj gigantic number": ("obj", CORNERS + "f 1 2 " + "3" * 100_000 + "\n"),
    "obj index of 64 bits": ("obj", CORNERS + "f 1 2 18446744073709551617\n"),
    "off no faces": ("off", "OFF\n3 0 0\n0 0 0\n1 0 0\n0 1 0\n"),
    "off negative counts": ("off", "OFF\n-3 -1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"),
    "off negative index": ("off", "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 -1\n"),
    "off fewer lines": ("off", "OFF\n3 5 0\n0 0 0\n1 0 0\n"),
    "off empty lines": ("off", "OFF\n3 1 0\n" + "\n" * 200_000),
    "off binary": ("off", b"OFF BINARY\n" + bytes(range(256)) * 10),
    "ply no header": ("ply", b"ply\n"),
    "ply endless header": ("ply", b"ply\nformat ascii 1.0\n" + b"comment x\n" * 200_000),
    "ply list longer than the file": (
        "ply",
        PLY.format("binary_little_endian", "uint").encode() + TRIANGLE[:36] + b"\xff" * 16,
    ),
    "ply list of bytes": (
        "ply",
        PLY.format("binary_little_endian", "char").encode() + TRIANGLE[:36] + b"\xfd" + TRIANGLE[36:],
    ),
    "ply list of floats": (
        "ply",
        PLY.format("binary_little_endian", "float").encode() + TRIANGLE[:36] + struct.pack("<f3i", 3e9, 0, 1, 2),
    ),
    "ply list of what is no type": ("ply", PLY.format("ascii", "colour") + "0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"),
    "ply cut short": ("ply", PLY.format("binary_little_endian", "uchar").encode() + TRIANGLE[:20]),
    "ply negative count": ("ply", PLY.format("ascii", "uchar").replace("face 1", "face -1") + "0 0 0\n"),
    "ply index out of range": ("ply", PLY.format("ascii", "uchar") + "0 0 0\n1 0 0\n0 1 0\n3 0 1 7\n"),
    "stl count lies": ("stl", bytes(80) + struct.pack("<I", 1000) + bytes(100)),
    "stl no faces": ("stl", bytes(84)),
    "stl nan": ("stl", bytes(80) + struct.pack("<I12fH", 1, *[float("nan")] * 12, 0)),
    "stl text cut short": ("stl", "solid x\nfacet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0"),
    "glb empty": ("glb", b""),
    "glb another magic": ("glb", b"glTX" + glb_of(tree(), TRIANGLE)[4:]),
    "glb header longer than the file": ("glb", glb_of(tree(), TRIANGLE)[:12] + struct.pack("<II", 1 << 31, 0x4E4F534A)),
    "glb not json": ("glb", glb_of(tree(), TRIANGLE).replace(b'{"', b"{{", 1)),
    "glb deep json": ("glb", struct.pack("<4sIIII", b"glTF", 2, 1 << 20, 1 << 20, 0x4E4F534A) + b"[" * (1 << 20)),
    "glb list": ("glb", glb_of([], TRIANGLE)),  # type: ignore[arg-type]
    "glb view out of range": ("glb", glb_of(changed("bufferViews", 1, byteOffset=10_000), TRIANGLE)),
    "glb view longer than the file": ("glb", glb_of(changed("bufferViews", 0, byteLength=1 << 40), b"")),
    "glb negative offset": ("glb", glb_of(changed("bufferViews", 1, byteOffset=-8), TRIANGLE)),
    "glb accessor beyond its view": ("glb", glb_of(changed("accessors", 1, count=3000), TRIANGLE)),
    "glb negative count": ("glb", glb_of(changed("accessors", 1, count=-3), TRIANGLE)),
    "glb no such view": ("glb", glb_of(changed("accessors", 1, bufferView=9), TRIANGLE)),
    "glb no such mesh": ("glb", glb_of(changed("nodes", 0, mesh=9), TRIANGLE)),
    "glb no such accessor": ("glb", glb_of(tree(meshes=[{"primitives": [{"attributes": {"POSITION": 7}}]}]), TRIANGLE)),
    "glb index out of range": ("glb", glb_of(tree(), TRIANGLE[:-4] + struct.pack("<I", 7))),
    "glb matrix of nan": ("glb", glb_of(changed("nodes", 0, matrix=[float("nan")] * 16), TRIANGLE)),
    "glb matrix of 1e300": ("glb", glb_of(changed("nodes", 0, matrix=[1e300] * 16), TRIANGLE)),
    "glb external buffer": ("glb", glb_of(tree(buffers=[{"byteLength": 48, "uri": "/etc/passwd"}]))),
    "glb buffer of a url": ("glb", glb_of(tree(buffers=[{"byteLength": 48, "uri": "http://127.0.0.1:9/x.bin"}]))),
}
"""Kind of file and its content."""


@pytest.mark.parametrize("name", UNUSABLE)
def test_an_unusable_file_has_a_reason(name: str) -> None:
    kind, content = UNUSABLE[name]
    with pytest.raises(MeshError) as error:
        load_mesh(content if isinstance(content, bytes) else content.encode(), kind, max_faces=1000)
    said = str(error.value)
    assert 0 < len(said) < 80 and said.isprintable()


USABLE: dict[str, tuple[str, str | bytes, int]] = {
    "obj polygon": ("obj", "".join(f"v {np.cos(a)} {np.sin(a)} 0\n" for a in range(6)) + "f 1 2 3 4 5 6\n", 4),
    "obj negative": ("obj", CORNERS + "f -4 -3 -2\nf -4 -3 -1\n", 2),
    "obj continued lines": ("obj", CORNERS + "f 1 \\\n2 \\\n3\n", 1),
    "obj old ends of lines": ("obj", (CORNERS + "f 1 2 3\n").replace("\n", "\r\n"), 1),
    "obj faces before vertices": ("obj", "f 1 2 3\n" + CORNERS, 1),
    "obj coordinates of textures that are not there": ("obj", CORNERS + "f 1/9/9 2/9/9 3/9/9\n", 1),
    "obj unused nan": ("obj", CORNERS + "v nan nan nan\nf 1 2 3\n", 1),
    "off with colours": ("off", "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2 255 0 0\n", 1),
    "off with comments": ("off", "# made by x\nOFF # y\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n", 1),
    "off counts on the first line": ("off", "OFF3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n", 1),
    "ply": ("ply", PLY.format("ascii", "uchar") + "0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n", 1),
    "stl binary that begins as text": (
        "stl",
        b"solid".ljust(80) + struct.pack("<I12fH", 1, *[0] * 3, *[0, 0, 0, 1, 0, 0, 0, 1, 0], 0),
        1,
    ),
    "glb": ("glb", glb_of(tree(), TRIANGLE), 1),
    "glb node its own child": ("glb", glb_of(changed("nodes", 0, children=[0]), TRIANGLE), 1),
}


@pytest.mark.parametrize("name", USABLE)
def test_an_odd_file_is_read(name: str) -> None:
    kind, content, faces = USABLE[name]
    mesh = load_mesh(content if isinstance(content, bytes) else content.encode(), kind, max_faces=1000)
    assert len(mesh.faces) == faces and np.isfinite(mesh.vertices).all()


@pytest.mark.parametrize("kind", ["obj", "off", "ply", "stl", "glb"])
def test_noise_in_a_sound_file_is_a_mesh_or_a_reason(kind: str) -> None:
    """Bytes changed at random, seeded: nothing but a mesh with finite numbers or a MeshError comes of it."""
    sound = {name: case for name, case in USABLE.items() if name.partition(" ")[0] == kind}
    rng = random.Random(kind)
    for _, content, _ in sound.values():
        data = content if isinstance(content, bytes) else content.encode()
        for _ in range(60):
            spoilt = bytearray(data)
            for _ in range(rng.choice((1, 2, 6))):
                spoilt[rng.randrange(len(spoilt))] = rng.choice((0, 45, 57, 255, rng.randrange(256)))
            try:
                mesh = load_mesh(bytes(spoilt[: rng.randint(1, len(spoilt) * 2)]), kind, max_faces=1000)
            except MeshError as error:
                assert str(error).isprintable()
            else:
                assert np.isfinite(mesh.vertices).all() and 0 < len(mesh.faces) <= 1000


def textured(name: str) -> bytes:
    """A triangle of one material, its colour half grey, its texture by name."""
    return b"mtllib m.mtl\n" + CORNERS.encode() + b"vt 0.5 0.5\nusemtl a\nf 1/1 2/1 3/1\n"


def material(name: str) -> bytes:
    return f"newmtl a\nKd 0.5 0.5 0.5\nmap_Kd {name}\n".encode()


def texture_of(picture: bytes | None, name: str = "t.png") -> np.ndarray | None:
    """The texture that a material ends up with."""
    files = {"m.mtl": material(name), name: picture}
    (found,) = load_mesh(textured(name), "obj", read=files.get, max_faces=10).materials
    assert np.allclose(found.diffuse, 0.5)
    return found.texture


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that announces a size and holds hardly anything."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )


GREY = Image.fromarray(np.full((4, 4), 128, np.uint8))
KINDS = {
    "jpeg": encoded(GREY, "JPEG", quality=100),
    "jpeg cmyk": encoded(Image.new("CMYK", (4, 4), (0, 0, 0, 127)), "JPEG", quality=100),
    "png 16 bit": encoded(Image.fromarray(np.full((4, 4), 128 << 8, np.uint16)), "PNG"),
    "png palette": encoded(GREY.quantize(4), "PNG"),
    "png with alpha": encoded(GREY.convert("RGBA"), "PNG"),
    "png grey with alpha": encoded(GREY.convert("LA"), "PNG"),
    "gif": encoded(GREY, "GIF"),
    "gif of many pictures": encoded(GREY, "GIF", save_all=True, append_images=[Image.new("L", (4, 4))] * 9),
    "tiff": encoded(GREY, "TIFF"),
    "tiff 16 bit": encoded(Image.fromarray(np.full((4, 4), 128 << 8, np.uint16)), "TIFF"),
    "bmp": encoded(GREY, "BMP"),
    "webp": encoded(GREY.convert("RGB"), "WEBP", lossless=True),
}


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_of_any_kind_are_textures(kind: str) -> None:
    texture = texture_of(KINDS[kind])
    assert texture is not None and texture.shape == (4, 4, 3) and texture.dtype == np.uint8
    assert np.abs(texture.astype(int) - 128).max() <= 2


def test_one_bit_is_black_or_white() -> None:
    texture = texture_of(encoded(GREY.point(lambda v: 255 * (v > 100), "1"), "PNG"))
    assert texture is not None and (texture == 255).all()


NO_PICTURES = {
    "absent": None,
    "empty": b"",
    "text": b"no picture",
    "png bomb": png_header(50_000, 50_000),
    "png as large as the reader allows": png_header(12_000, 12_000),
    "png without pixels": png_header(4, 4)[:-30],
    "png of no size": png_header(0, 0),
    "jpeg cut short": KINDS["jpeg"][:-200],
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n(/tmp/x) (w) file closefile\n%%EOF\n",
    "mesh": CORNERS.encode(),
}


@pytest.mark.parametrize("name", ["t.png", "t.eps", "t"])
@pytest.mark.parametrize("kind", NO_PICTURES)
def test_what_is_no_picture_leaves_the_colour(kind: str, name: str, caplog: pytest.LogCaptureFixture) -> None:
    assert texture_of(NO_PICTURES[kind], name) is None
    assert "colour" in caplog.text, "it is said"


NAMES = (
    "../../../etc/passwd",
    "/etc/passwd",
    "..\\..\\secret.png",
    "../secret.png",
    "http://127.0.0.1:9/x.png",
    "file:///etc/passwd",
    "",
    ".",
    "..",
    "m.mtl/",
    "a" * 5000,
    "nul\x00.png",
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("which", ["mtllib", "map_Kd"])
def test_names_do_not_leave_the_folder(tmp_path: Path, which: str, name: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.png").write_bytes(encoded(Image.new("RGB", (2, 2), "red"), "PNG"))
    (tmp_path / "m.mtl").write_bytes(material("secret.png"))
    (folder / "m.mtl").write_bytes(material(name))
    data = textured("").replace(b"m.mtl", name.encode()) if which == "mtllib" else textured("")
    (folder / "x.obj").write_bytes(data)
    (found,) = read_mesh_at(str(folder / "x.obj"), max_faces=10).materials
    assert found.texture is None


@pytest.mark.parametrize("name", ["m.mtl", "t.png"])
def test_a_failing_disk_is_no_absent_file(name: str) -> None:
    """The picture taken without it would be kept for good."""

    def read(wanted: str) -> bytes | None:
        if wanted == name:
            raise OSError(errno.EIO, "Input/output error", name)
        return material("t.png")

    with pytest.raises(OSError, match="Input/output error"):
        load_mesh(textured("t.png"), "obj", read=read, max_faces=10)


def test_a_damaged_texture_is_no_absent_one() -> None:
    def read(wanted: str) -> bytes | None:
        if wanted == "t.png":
            raise MemberError("x.zip: member t.png can't be read (Bad CRC-32)")
        return material("t.png")

    with pytest.raises(MemberError, match=r"t\.png can't be read"):
        load_mesh(textured("t.png"), "obj", read=read, max_faces=10)


def test_json_of_a_glb_holds_numbers_only_where_they_belong() -> None:
    made = json.loads(json.dumps(tree()))
    for path in (("accessors", 0, "count"), ("accessors", 1, "componentType"), ("bufferViews", 0, "byteLength")):
        for value in ("3", None, [], {}, 2.5, True, 1 << 70):
            spoilt = json.loads(json.dumps(made))
            spoilt[path[0]][path[1]][path[2]] = value
            try:
                load_mesh(glb_of(spoilt, TRIANGLE), "glb", max_faces=1000)
            except MeshError as error:
                assert str(error)
