"""Meshes: loading, checking, cleaning, normalising.

V vertices, F faces. Loading is trimesh's; what comes out is one triangle list whose vertices lie at distinct positions,
each used by a face, with flat colours or textures by material.
"""

import io
import logging
import posixpath
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import sqrt
from typing import Any, Literal

import numpy as np
import trimesh
from PIL import Image

from c2p.geometry.counts import VERTICES_A_FACE, TooLarge, count_elements
from c2p.geometry.materials import FORMATS, Material, Materials
from c2p.geometry.relative import absolute_indices
from c2p.kernel import kernel

logger = logging.getLogger(__name__)

EXTENSIONS = ("off", "obj", "glb", "ply", "stl")
SLIVER = 1e-12
"""A face whose doubled area is at most this share of its longest edge squared is degenerate."""

LARGEST = 1e60
"""Coordinates up to here have areas that can be computed in float64."""

Read = Callable[[str], bytes | None]


class MeshError(ValueError):
    """A mesh that cannot be used; the message is the reason in a few words."""


@dataclass(frozen=True)
class Mesh:
    """Triangles with materials."""

    vertices: np.ndarray
    """(V, 3) float64, finite."""
    faces: np.ndarray
    """(F, 3) int64."""
    face_material: np.ndarray
    """(F,) int32 indices into materials."""
    uv: np.ndarray
    """(F, 3, 2) float32 texture coordinates of each face's corners, v up; 0 where there are none."""
    materials: tuple[Material, ...]


def load_mesh(data: bytes, extension: str, *, read: Read | None = None, max_faces: int) -> Mesh:
    """Load a mesh from a file's bytes.

    extension: off, obj, glb, ply or stl, in any case, with or without dot; read: gives the bytes of a file named
    relative to the mesh's (MTL, textures; `../images/x.jpg` occurs), or None where there is none or it may not be read.
    Coincident faces (same three positions, any winding: the first stays) and degenerate faces are dropped. A missing
    MTL or texture is logged, not an error.
    Raises what `read` raises. MeshError: unreadable, no faces, index out of range, non-finite or too large vertices,
    more than max_faces faces, all faces degenerate. ValueError: unknown extension.
    """
    kind = extension.lower().lstrip(".")
    if kind not in EXTENSIONS:
        raise ValueError(f"mesh file extension {extension!r}; allowed: {', '.join(EXTENSIONS)}")
    _check_size(data, kind, max_faces)
    data = absolute_indices(data) if kind == "obj" else data
    resolver = _Resolver(read)
    try:
        scene = trimesh.load_scene(
            io.BytesIO(data), file_type=kind, resolver=resolver, process=False, **_OPTIONS.get(kind, {})
        )
        _check_count(sum(len(getattr(scene.geometry[n], "faces", ())) for n in _uses(scene)), max_faces)
        parts = list(_parts(scene))
        if kind == "obj":
            parts.reverse()  # trimesh gives an OBJ's runs of faces last to first
    except MeshError:
        raise
    except IndexError:
        raise MeshError("index out of range") from None
    except MemoryError:
        raise
    except Exception as error:  # a parser meets hostile bytes: whatever it raises, the file is the cause
        logger.debug("unreadable %s", kind, exc_info=True)
        raise MeshError("index out of range" if "outside the range" in str(error) else "unreadable") from error
    finally:
        if resolver.failure:  # trimesh would take it for an absent file
            raise resolver.failure
    if not parts:
        raise MeshError("no faces")
    return clean_mesh(_join(parts))


def clean_mesh(mesh: Mesh) -> Mesh:
    """Check a mesh, merge vertices of equal position, drop degenerate, coincident faces and unused vertices.

    Raises MeshError: as load_mesh.
    """
    vertices, faces = mesh.vertices, mesh.faces
    if len(faces) == 0:
        raise MeshError("no faces")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise MeshError("index out of range")
    used = np.zeros(len(vertices), dtype=bool)
    used[faces] = True
    if not np.isfinite(vertices[used]).all():
        raise MeshError("non-finite vertices")
    if np.abs(vertices[used]).max() > LARGEST:
        raise MeshError("vertices too large")
    vertices, faces = _compact(vertices, faces, used)
    first, label = _distinct(vertices)
    vertices, faces = vertices[first], label[faces]
    keep = np.flatnonzero(~_degenerate(vertices, faces))
    if len(keep) == 0:
        raise MeshError("all faces degenerate")
    keep = keep[_distinct(np.sort(faces[keep], axis=1))[0]]
    faces = faces[keep]
    used = np.zeros(len(vertices), dtype=bool)
    used[faces] = True
    vertices, faces = _compact(vertices, faces, used)
    return Mesh(vertices, faces, mesh.face_material[keep], mesh.uv[keep], mesh.materials)


def rotate_up(vertices: np.ndarray, up: Literal["y", "z"]) -> np.ndarray:
    """Turn (..., 3) coordinates whose up axis is `up` into the world frame, y up.

    For z up this is the published turn of ModelNet, (x, y, z) -> (-y, z, -x) (CLIP2Point's code).
    Raises ValueError: another axis.
    """
    if up == "y":
        return vertices
    if up != "z":
        raise ValueError(f"up axis {up!r}; allowed: y, z")
    return np.stack([-vertices[..., 1], vertices[..., 2], -vertices[..., 0]], axis=-1)


def normalise(vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Move the vertices' mean to the origin and divide by the largest norm (CLIP2Point's published code).

    vertices: (V, 3) float64. Returns (vertices, centre (3,), scale) with vertices = (given - centre) / scale; scale is
    1 where all vertices coincide.
    """
    centre = vertices.mean(0)
    centred = vertices - centre
    scale = float(np.sqrt((centred**2).sum(1)).max()) or 1.0
    return centred / scale, centre, scale


_OPTIONS: dict[str, dict[str, Any]] = {"obj": {"group_material": False}}


def _check_size(data: bytes, kind: str, max_faces: int) -> None:
    """Refuse a file by what it announces, before it is parsed."""
    try:
        faces, vertices = count_elements(data, kind, max_faces)
    except TooLarge as error:
        raise MeshError(str(error)) from None
    except MemoryError:
        raise
    except Exception as error:  # hostile bytes
        raise MeshError("unreadable") from error
    _check_count(faces, max_faces)
    if vertices > max(VERTICES_A_FACE * max_faces, 1000):
        raise MeshError(f"more than {VERTICES_A_FACE * max_faces} vertices")


def _check_count(count: int, max_faces: int) -> None:
    if count > max_faces:
        raise MeshError(f"more than {max_faces} faces")


class _Resolver(trimesh.resolvers.Resolver):
    """Gives trimesh the files that `read` allows; a name outside what it allows looks absent."""

    def __init__(self, read: Read | None) -> None:
        self._read = read
        self.failure: Exception | None = None
        """Why a file that is there was not given: its bytes are damaged, the disk or the network fails."""

    def __getitem__(self, key: str) -> bytes:
        """An MTL file, or a buffer of a GLB."""
        name = posixpath.normpath(key.strip().replace("\\", "/"))
        try:
            data = self._read(name) if self._read else None
        except Exception as error:
            self.failure = error
            raise
        if data is None:
            shown = name if len(name) < 200 else f"{name[:200]}..."
            logger.warning("%r: not there, or outside the model's folder; its faces take the diffuse colour", shown)
            raise FileNotFoundError(name)
        return data

    def get(self, key: str) -> bytes:
        """A picture: trimesh drops what is none without a word, and would open any format, with programs for some."""
        data = self[key]
        try:
            Image.open(io.BytesIO(data), formats=FORMATS).close()
        except Exception:  # hostile bytes meet Pillow
            logger.warning("%r: not a picture, or too large a one; its faces take the diffuse colour", key.strip())
            raise FileNotFoundError(key) from None
        return data

    def keys(self) -> list[str]:
        return []

    def write(self, name: str, data: Any) -> None:
        raise PermissionError(name)

    def namespaced(self, namespace: str) -> "_Resolver":
        return self


def _uses(scene: trimesh.Scene) -> list[Any]:
    """Geometry of every node: a GLB may place one mesh many times."""
    return [scene.graph[node][1] for node in scene.graph.nodes_geometry]


def _parts(scene: trimesh.Scene) -> Iterator[Mesh]:
    """The triangle meshes of a scene, placed."""
    known, lost = Materials(), 0
    for node in scene.graph.nodes_geometry:
        transform, name = scene.graph[node]
        geometry = scene.geometry[name]
        if not isinstance(geometry, trimesh.Trimesh) or len(geometry.faces) == 0:
            continue
        vertices = np.asarray(geometry.vertices, dtype=np.float64)
        if not np.array_equal(transform, np.eye(4)):
            vertices = vertices @ transform[:3, :3].T + transform[:3, 3]
        faces = np.asarray(geometry.faces, dtype=np.int64)
        material, uv = known.of(geometry.visual, faces)
        lost += len(faces) if uv is None and material.texture is not None else 0
        if uv is None:
            uv = np.zeros((len(faces), 3, 2), dtype=np.float32)
            material = Material(material.diffuse, None)
        yield Mesh(vertices, faces, np.zeros(len(faces), dtype=np.int32), uv, (material,))
    if lost:
        logger.warning("%d faces have a texture but no usable texture coordinates; they take the diffuse colour", lost)


def _join(parts: list[Mesh]) -> Mesh:
    starts = np.cumsum([0] + [len(part.vertices) for part in parts])
    materials: list[Material] = []
    places: dict[tuple[bytes, int], int] = {}
    owner = []
    for part in parts:
        (material,) = part.materials
        key = (material.diffuse.tobytes(), id(material.texture))
        if key not in places:
            places[key] = len(materials)
            materials.append(material)
        owner.append(np.full(len(part.faces), places[key], dtype=np.int32))
    return Mesh(
        np.concatenate([part.vertices for part in parts]),
        np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=False)]),
        np.concatenate(owner),
        np.concatenate([part.uv for part in parts]),
        tuple(materials),
    )


def _compact(vertices: np.ndarray, faces: np.ndarray, used: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keep only used vertices, in their order."""
    if used.all():
        return vertices, faces
    return vertices[used], (np.cumsum(used) - 1)[faces]


def _distinct(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First index of each distinct row, ascending, and for every row the place of its like among them."""
    order = np.lexsort(rows.T)  # stable: like rows stay in their order
    ranked = rows[order]
    new = np.ones(len(rows), dtype=bool)
    new[1:] = (ranked[1:] != ranked[:-1]).any(1)
    group = np.cumsum(new) - 1
    first = order[new]
    ascending = np.argsort(first)
    place = np.empty(len(first), dtype=np.int64)
    place[ascending] = np.arange(len(first))
    label = np.empty(len(rows), dtype=np.int64)
    label[order] = place[group]
    return first[ascending], label


@kernel
def _degenerate(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Which faces have no area to speak of: (F,) bool."""
    degenerate = np.empty(len(faces), dtype=np.bool_)
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ux, uy, uz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        vx, vy, vz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        wx, wy, wz = vx - ux, vy - uy, vz - uz
        x, y, z = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        longest = max(ux * ux + uy * uy + uz * uz, vx * vx + vy * vy + vz * vz, wx * wx + wy * wy + wz * wz)
        degenerate[f] = sqrt(x * x + y * y + z * z) <= SLIVER * longest
    return degenerate
