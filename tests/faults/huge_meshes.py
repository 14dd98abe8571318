"""Ten million faces in every format, honest and lying: what load_mesh says of each and what memory that takes.

Run as a program: prints a line of JSON a case: name, reason, seconds and by how many MB the peak of resident memory
rose above the file itself.
"""

import json
import resource
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

from c2p.geometry.meshes import MeshError, load_mesh

FACES = 10_000_000
MAX_FACES = 5_000_000
"""The default of render.max_faces."""
ADDRESS_SPACE = 8 << 30
"""Bytes of memory that may be asked for: a runaway parser fails instead of taking the machine with it."""
CORNERS = b"0 0 0\n1 0 0\n0 1 0\n"


def obj() -> bytes:
    return b"v 0 0 0\nv 1 0 0\nv 0 1 0\n" + b"f 1 2 3\n" * FACES


def obj_with_tabs() -> bytes:
    return b"v 0 0 0\nv 1 0 0\nv 0 1 0\n" + b"f\t1\t2\t3\n" * FACES


def obj_of_one_polygon() -> bytes:
    return b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf" + b" 1 2 3" * (FACES // 3) + b"\n"


def obj_of_many_polygons() -> bytes:
    return b"v 0 0 0\nv 1 0 0\nv 0 1 0\n" + (b"f" + b" 1 2 3" * 1000 + b"\n") * (FACES // 3000)


def obj_of_vertices() -> bytes:
    return b"v 0 0 0\n" * (4 * FACES) + b"f 1 2 3\n"


def off() -> bytes:
    return b"OFF\n3 %d 0\n" % FACES + CORNERS + b"3 0 1 2\n" * FACES


def off_that_lies() -> bytes:
    return b"OFF\n3 1 0\n" + CORNERS + b"3 0 1 2\n" * FACES


def off_of_one_polygon() -> bytes:
    return b"OFF\n3 1 0\n" + CORNERS + b"%d" % FACES + b" 0 1 2" * (FACES // 3) + b"\n"


def off_of_vertices() -> bytes:
    return b"OFF\n%d 1 0\n" % (4 * FACES) + b"0 0 0\n" * (4 * FACES) + b"3 0 1 2\n"


PLY = "ply\nformat {} 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\nelement face {}\n"
LIST = "property list uchar int vertex_indices\nend_header\n"


def ply() -> bytes:
    header = (PLY.format("binary_little_endian", FACES) + LIST).encode()
    return header + struct.pack("<9f", 0, 0, 0, 1, 0, 0, 0, 1, 0) + struct.pack("<B3i", 3, 0, 1, 2) * FACES


def ply_after_long_comments() -> bytes:
    comments = "".join(f"comment {'x' * 70}\n" for _ in range(2000))
    head, _, tail = (PLY.format("ascii", FACES) + LIST).partition("element vertex")
    return (head + comments + "element vertex" + tail).encode() + CORNERS + b"3 0 1 2\n" * FACES


def ply_that_lies() -> bytes:
    return (PLY.format("ascii", 1) + LIST).encode() + CORNERS + b"3 0 1 2\n" * FACES


def ply_of_one_polygon() -> bytes:
    header = (PLY.format("binary_little_endian", 1) + LIST.replace("uchar int", "uint int")).encode()
    points = struct.pack("<9f", 0, 0, 0, 1, 0, 0, 0, 1, 0)
    return header + points + struct.pack("<I", FACES) + struct.pack("<i", 1) * FACES


def ply_of_a_gigantic_list() -> bytes:
    header = (PLY.format("binary_little_endian", 1) + LIST.replace("uchar int", "uint int")).encode()
    return header + struct.pack("<9f", 0, 0, 0, 1, 0, 0, 0, 1, 0) + struct.pack("<I3i", 4_000_000_000, 0, 1, 2)


def stl() -> bytes:
    return bytes(80) + struct.pack("<I", FACES) + (bytes(48) + b"\0\0") * FACES


def stl_that_lies() -> bytes:
    return bytes(80) + struct.pack("<I", 1) + (bytes(48) + b"\0\0") * FACES


def stl_as_text() -> bytes:
    face = b"facet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\nendloop\nendfacet\n"
    return b"solid x\n" + face * (FACES // 2 + 1) + b"endsolid x\n"


def glb_of(tree: dict, body: bytes = b"") -> bytes:
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text
    if body:
        chunks += struct.pack("<II", len(body), 0x004E4942) + body
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def glb_tree(points: int, corners: int, *, nodes: int = 1, stored: bool = True) -> dict:
    accessors = [
        {"componentType": 5126, "count": points, "type": "VEC3", "bufferView": 0},
        {"componentType": 5125, "count": corners, "type": "SCALAR", "bufferView": 1},
    ]
    if not stored:
        accessors = [{k: v for k, v in accessor.items() if k != "bufferView"} for accessor in accessors]
    storage = {
        "buffers": [{"byteLength": 12 * points + 4 * corners}],
        "bufferViews": [
            {"buffer": 0, "byteLength": 12 * points},
            {"buffer": 0, "byteOffset": 12 * points, "byteLength": 4 * corners},
        ],
    }
    return (storage if stored else {}) | {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": list(range(nodes))}],
        "nodes": [{"mesh": 0} for _ in range(nodes)],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "accessors": accessors,
    }


def glb() -> bytes:
    points = struct.pack("<9f", 0, 0, 0, 1, 0, 0, 0, 1, 0)
    return glb_of(glb_tree(3, 3 * FACES), points + struct.pack("<3I", 0, 1, 2) * FACES)


def glb_of_zeros() -> bytes:
    return glb_of(glb_tree(4 * FACES, 30 * FACES, stored=False))


def glb_of_copies() -> bytes:
    points = struct.pack("<9f", 0, 0, 0, 1, 0, 0, 0, 1, 0)
    return glb_of(glb_tree(3, 300_000, nodes=FACES // 100_000), points + struct.pack("<3I", 0, 1, 2) * 100_000)


CASES: dict[str, tuple[str, Callable[[], bytes]]] = {
    make.__name__: (make.__name__.partition("_")[0], make)
    for make in (
        obj,
        obj_with_tabs,
        obj_of_one_polygon,
        obj_of_many_polygons,
        obj_of_vertices,
        off,
        off_that_lies,
        off_of_one_polygon,
        off_of_vertices,
        ply,
        ply_after_long_comments,
        ply_that_lies,
        ply_of_one_polygon,
        ply_of_a_gigantic_list,
        stl,
        stl_that_lies,
        stl_as_text,
        glb,
        glb_of_zeros,
        glb_of_copies,
    )
}


def resident_mb(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


def try_case(name: str) -> dict[str, object]:
    kind, make = CASES[name]
    data = make()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, started = resident_mb("VmRSS"), time.monotonic()
    try:
        mesh = load_mesh(data, kind, max_faces=MAX_FACES)
        reason = f"loaded {len(mesh.faces)} faces"
    except MeshError as error:
        reason = str(error)
    except MemoryError:
        reason = "out of memory"
    rise = resident_mb("VmHWM") - before
    return {
        "case": name,
        "reason": reason,
        "seconds": round(time.monotonic() - started, 2),
        "rise_mb": round(rise),
        "file_mb": len(data) >> 20,
    }


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    for case in sys.argv[1:] or CASES:
        print(json.dumps(try_case(case)), flush=True)
