"""How many faces and vertices a mesh file holds or announces, found before it is parsed: parsers take up to a hundred
times a file's size, so what is too large has to be refused by a look at its bytes.
"""

import json
import re
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

VERTICES_A_FACE = 4
"""Vertices that are allowed for each allowed face; STL files and unmerged meshes have three."""
LINE_LIMIT = 16 << 20
"""Bytes of a line of text (16 MiB): one polygon with millions of corners is no mesh."""
_HEADER_LIMIT = 1 << 20
"""Bytes within which the counts have to stand."""
_TREE_LIMIT = 64 << 20
"""Bytes of the JSON in a GLB."""
_ATTRIBUTES = 8
"""Arrays a mesh of a GLB may bring for each of its vertices."""
_CORNER_BYTES = 2
"""Bytes that a corner of a face takes at least in a text."""
_CHUNK = 4 << 20
_OFF = re.compile(rb"(?:\s|#[^\n]*\n)*\w*OFF\s*(?:#[^\n]*\s*)*(\d+)\s+(?:#[^\n]*\s*)*(\d+)")
_PLY = re.compile(rb"\nelement\s+(\w+)\s+(\d+)")


class TooLarge(ValueError):
    """A file that holds more than its header says, or more than is read."""


def count_elements(data: bytes, kind: str, max_faces: int) -> tuple[int, int]:
    """Faces and vertices of a file, polygons as triangles; 0 where they can't be told or can't be over the limit.

    kind: off, obj, glb, ply or stl.
    Raises TooLarge: a text file with far more lines than it announces, a gigantic line or header. ValueError, KeyError
    and others: the header can't be read.
    """
    count = {"obj": _of_obj, "off": _of_off, "ply": _of_ply, "stl": _of_stl, "glb": _of_glb}[kind]
    return count(data, max_faces)


def _of_obj(data: bytes, max_faces: int) -> tuple[int, int]:
    if len(data) <= _CORNER_BYTES * max_faces:
        return 0, 0
    vertices = sum(data.count(start) for start in (b"\nv ", b"\nv\t"))
    faces = sum(data.count(start) for start in (b"\nf ", b"\nf\t"))
    if faces <= max_faces and data.count(b" ") + data.count(b"\t") > max_faces:  # polygons, perhaps
        faces = sum(_triangles(chunk) for chunk in _chunks(data))
    return faces, vertices


def _triangles(text: bytes) -> int:
    """Triangles of an OBJ's polygons: the corners of its face lines less two."""
    starts = _words(text)
    characters = np.frombuffer(text, dtype=np.uint8)
    lines = np.cumsum(characters == ord("\n"))[starts]
    first = np.flatnonzero(np.append(True, lines[1:] != lines[:-1])) if len(lines) else lines
    words = np.diff(np.append(first, len(lines)))
    is_face = characters[starts[first]] == ord("f")
    return int((words[is_face] - 3).clip(min=0).sum())


def _words(text: bytes) -> np.ndarray:
    """Where the words of a text begin."""
    blank = np.frombuffer(text, dtype=np.uint8) <= ord(" ")
    return np.flatnonzero(~blank & np.append(True, blank[:-1]))


def _of_off(data: bytes, max_faces: int) -> tuple[int, int]:
    match = _OFF.match(data[:_HEADER_LIMIT])
    vertices, faces = (int(match[1]), int(match[2])) if match else (0, 0)
    _check_lines(data, vertices + faces)
    if faces <= max_faces and len(data) > _CORNER_BYTES * max_faces:
        words = sum(len(_words(chunk)) for chunk in _chunks(data))
        faces = max(faces, words - 7 * vertices - 8 * faces)  # coordinates and colours, triangles with colours
    return faces, vertices


def _of_ply(data: bytes, _: int) -> tuple[int, int]:
    end = data.find(b"end_header", 0, _HEADER_LIMIT)
    if end < 0:
        raise TooLarge("a header without end")
    counts = {name: int(number) for name, number in _PLY.findall(data[:end])}
    vertices, faces = counts.get(b"vertex", 0), counts.get(b"face", 0)
    if b"ascii" in data[:64]:
        _check_lines(data, sum(counts.values()) + data.count(b"\n", 0, end))
    return faces, vertices


def _of_stl(data: bytes, _: int) -> tuple[int, int]:
    if len(data) >= 84 and len(data) == 84 + 50 * (faces := int.from_bytes(data[80:84], "little")):
        return faces, 0
    if b"solid" not in data[:_HEADER_LIMIT].lower():
        raise ValueError("neither a text nor as long as the count in its header says")
    return sum(data.count(word) for word in (b"endfacet", b"ENDFACET")), 0


def _of_glb(data: bytes, _: int) -> tuple[int, int]:
    length, kind = struct.unpack_from("<II", data, 12)
    if kind != 0x4E4F534A or length > _TREE_LIMIT:  # "JSON"
        raise TooLarge("a header without end")
    tree: dict[str, Any] = json.loads(data[20 : 20 + length])
    sizes = [int(accessor["count"]) for accessor in tree.get("accessors", [])]
    uses = [node["mesh"] for node in tree.get("nodes", []) if "mesh" in node]
    faces = [sum(_corners(part, sizes) // 3 for part in mesh["primitives"]) for mesh in tree.get("meshes", [])]
    return sum(faces[mesh] for mesh in uses), sum(sizes) // _ATTRIBUTES


def _corners(primitive: dict[str, Any], sizes: list[int]) -> int:
    return sizes[primitive["indices"] if "indices" in primitive else primitive["attributes"]["POSITION"]]


def _check_lines(data: bytes, announced: int) -> None:
    """Parsers cut the whole text into lines before they look at the counts."""
    lines = data.count(b"\n") + data.count(b"\r")
    if lines > 4 * announced + 10_000:
        raise TooLarge(f"{lines} lines, where {announced} are announced")


def _chunks(data: bytes) -> Iterator[bytes]:
    """Pieces of a text that end with a line."""
    start = 0
    while start < len(data):
        end = data.find(b"\n", min(start + _CHUNK, len(data))) + 1 or len(data)
        if end - start > _CHUNK + LINE_LIMIT:
            raise TooLarge("a gigantic line")
        yield data[start:end]
        start = end
