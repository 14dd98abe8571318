"""Single shapes, meshes or clouds, by the address a person writes.

An address is FILE, FILE:PART (a cloud of a file that holds several, see c2p.data.cloudformats) or ARCHIVE:MEMBER.
"""

import os
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from c2p.data import cloudformats
from c2p.data.archive import ArchiveError, open_archive
from c2p.data.cloudformats import CloudError, load_cloud
from c2p.data.clouds import centre_on_cloud, farthest_cloud
from c2p.data.files import sha256
from c2p.data.models import Model, UpAxis, read_mesh, read_mesh_at
from c2p.geometry import meshes
from c2p.geometry.meshes import Mesh, MeshError, normalise, rotate_up
from c2p.geometry.points import farthest_points, normalise_points, sample_surface
from c2p.params import Render

EXTENSIONS = tuple(dict.fromkeys((*meshes.EXTENSIONS, *cloudformats.EXTENSIONS)))
ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")

SINGLE = (1e-15, 1e15)
"""Between these a cloud's largest coordinate has to lie to be scaled in float32: squares stay ordinary numbers."""


class ShapeError(ValueError):
    """A shape that can't be used; the message is one line and names it."""


@dataclass(frozen=True)
class Shape:
    """A shape in the world frame, y up."""

    name: str
    """Its address."""
    points: np.ndarray
    """(P, 3) float: the file's cloud, in its own unit; or points drawn from the mesh's surface, unit sphere."""
    mesh: Mesh | None
    """In the unit sphere; None: the file holds a cloud."""


def open_shape(address: str, settings: Render, *, up: UpAxis) -> Shape:
    """Read a mesh, and draw points from its surface, or a cloud.

    settings: how many points are drawn, from which seed, and the most faces. up: up axis of the file.
    Raises ShapeError: no such file or member, a kind that is not read, or a shape that can't be used.
    """
    file, part = _split(address)
    member = ""
    try:
        if _extension(file.name) not in EXTENSIONS and (part or file.name.lower().endswith(ARCHIVES)):
            member, part = _member(file, part)
        return _shape(address, file, member, part, settings, up)
    except (MeshError, CloudError) as error:
        raise ShapeError(f"{address}: {error}") from None
    except ArchiveError as error:
        raise ShapeError(str(error)) from None


def shape_files(collection: Path) -> list[str]:
    """Addresses of all shapes below a folder or in a zip or tar, sorted; without hidden ones and links to folders.

    Raises ShapeError: neither a folder nor an archive, or nothing in it that could be a shape. ArchiveError: an archive
    that can't be read.
    """
    if collection.is_dir():
        names = [str(path) for path in _below(collection)]
    elif collection.is_file():
        names = [f"{collection}:{name}" for name in open_archive(collection).names]
    else:
        raise ShapeError(f"{collection}: no such folder or archive")
    found = sorted(name for name in names if _extension(name) in EXTENSIONS)
    if not found:
        raise ShapeError(f"{collection}: no shape in it; allowed: files that end in {', '.join(EXTENSIONS)}")
    return found


def standard_cloud(points: np.ndarray, count: int, *, normalise: bool = True) -> np.ndarray:
    """Farthest points of a cloud, in the unit sphere, as benchmark sets have them.

    points: (P, 3) float32 or float64, finite. Clouds in float64, and those whose squares float32 can't hold, are scaled
    in float64 first. normalise: off, the cloud is in that frame already.
    Returns (count, 3) float32.
    Raises CloudError: P is less than count.
    """
    if len(points) < count:
        raise CloudError(f"{len(points)} points; allowed: at least {count}, the number that the encoder reads")
    if not normalise:
        points = np.ascontiguousarray(points, dtype=np.float32)
        return points if len(points) == count else points[farthest_points(points, count)]
    largest = np.abs(points).max()
    if points.dtype != np.float32 or not SINGLE[0] < largest < SINGLE[1]:
        points = normalise_points(points.astype(np.float64) / largest).astype(np.float32)
    return farthest_cloud(points, count)


def content_digest(address: str) -> str:
    """Fingerprint of the file behind an address that shape_files gave: of its content, wherever it lies.

    Raises ShapeError: it can't be read.
    """
    file, member = _split(address)
    try:
        return f"{_extension(address)} {open_archive(file).digest(member) if member else sha256(file)}"
    except (ArchiveError, OSError, KeyError) as error:
        raise ShapeError(f"{address}: can't be read ({error})") from None


def _shape(address: str, file: Path, member: str, part: str, settings: Render, up: UpAxis) -> Shape:
    extension = _extension(member or file.name)
    if extension not in EXTENSIONS:
        raise ShapeError(f"{address}: a .{extension} file; allowed: {', '.join(EXTENSIONS)}, or a member of an archive")
    data = None
    if extension in cloudformats.EXTENSIONS:
        data = open_archive(file).read(member) if member else file.read_bytes()
        if extension != "ply" or _is_cloud(data):
            return Shape(address, rotate_up(load_cloud(data, extension, part=part), up), None)
    if part:
        raise ShapeError(f"{address}: no part {part!r}: the file holds one mesh")
    if member:
        model = Model(Path(member).stem, "", "", str(file), member, _root(member), up)
        mesh = read_mesh(model, max_faces=settings.max_faces, data=data)
    else:
        mesh = read_mesh_at(str(file), max_faces=settings.max_faces)
    mesh = replace(mesh, vertices=normalise(rotate_up(mesh.vertices, up))[0])
    points = sample_surface(mesh, settings.cloud_points, settings.seed)
    if settings.centre == "surface":
        mesh, points, _, _ = centre_on_cloud(mesh, points)
    return Shape(address, points, mesh)


def _is_cloud(ply: bytes) -> bool:
    try:
        return cloudformats.is_point_ply(ply)
    except Exception:  # hostile bytes: the mesh's reader says what is wrong
        return False


def _split(address: str) -> tuple[Path, str]:
    """The file of an address and what follows its colon."""
    if Path(address).is_file():
        return Path(address), ""
    if address.strip() and Path(address).is_dir():
        raise ShapeError(f"{address}: a folder; name a file in it, or use `c2p retrieve --in {address}`")
    places = [place for place, character in enumerate(address) if character == ":"]
    for place in reversed(places):
        if Path(address[:place]).is_file():
            return Path(address[:place]), address[place + 1 :]
    raise ShapeError(f"{address or repr(address)}: no such file; give a mesh, a cloud, or ARCHIVE.zip:MEMBER")


def _member(file: Path, part: str) -> tuple[str, str]:
    """Name of a member, and the part of it that is meant."""
    archive = open_archive(file)
    if not part:
        raise ShapeError(f"{file}: an archive; name a member, {file}:MEMBER, or use `c2p retrieve --in {file}`")
    ends = [len(part), *(place for place in reversed(range(len(part))) if part[place] == ":")]
    for end in ends:
        if part[:end] in archive:
            return part[:end], part[end + 1 :]
    example = archive.names[0] if archive.names else "-"
    plain = posixpath.normpath(part.replace("\\", "/"))
    if plain.startswith(("../", "/")) or plain == "..":
        raise ShapeError(f"{file}: {part!r} leaves the archive; allowed: a member's name, e.g. {example}")
    raise ShapeError(f"{file}: no member {part!r} among {len(archive.names)}, e.g. {example}")


def _below(folder: Path) -> Iterator[Path]:
    """Files below a folder; nothing hidden."""
    for place, inner, names in os.walk(folder):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        paths = (Path(place, name) for name in sorted(names) if not name.startswith("."))
        yield from (path for path in paths if path.is_file())  # a pipe would keep us waiting


def _root(member: str) -> str:
    """Folder of an archive that a member's materials may come from: ShapeNet keeps pictures beside `models/`."""
    parts = member.split("/models/")
    return parts[0] if len(parts) == 2 else posixpath.dirname(member)


def _extension(name: str) -> str:
    return name.rsplit("/", 1)[-1].rpartition(".")[2].lower()
