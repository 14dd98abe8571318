"""Models: where each mesh of a collection lies, what it is and which split it belongs to."""

import posixpath
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from c2p.data.archive import Archive, open_archive
from c2p.geometry.meshes import Mesh, load_mesh

UpAxis = Literal["y", "z"]
COMPANIONS = (".mtl", ".bin", ".jpg", ".jpeg", ".png", ".bmp", ".tga", ".tif", ".tiff", ".gif", ".webp")
"""Endings of the files a mesh may refer to."""
NAME_LIMIT = 250
"""Characters of a file's name."""
_ALONE = (".off", ".stl")
"""Endings of meshes that refer to no other file."""


@dataclass(frozen=True)
class Model:
    """One mesh in an archive."""

    key: str
    """Unique in its collection; letters, digits, `-` and `_` only (WebDataset splits names at dots)."""
    label: str
    """Class name as prompts use it."""
    split: str
    """train, val or test; empty: the collection brings no split."""
    archive: str
    """Path or URL of the archive."""
    member: str
    """Name of the mesh inside the archive."""
    root: str
    """Folder inside the archive that materials and textures may come from."""
    up: UpAxis
    """Up axis of the file."""


def read_mesh(model: Model, *, max_faces: int, data: bytes | None = None) -> Mesh:
    """Load a model's mesh with the materials and textures of its own folder; axes as in the file.

    data: the member's bytes where they are known.
    Raises MeshError or ArchiveError: the mesh can't be used.
    """
    archive = open_archive(model.archive)
    folder = posixpath.dirname(model.member)
    extension = model.member.rsplit(".", 1)[-1].lower()

    def read(relative: str) -> bytes | None:
        return read_within(archive, folder, model.root, relative)

    found = archive.read(model.member) if data is None else data
    return load_mesh(found, extension, read=read, max_faces=max_faces)


def read_within(archive: Archive, folder: str, root: str, relative: str) -> bytes | None:
    """Bytes of the member that `relative` names as seen from `folder`, if it lies inside `root` and is a companion;
    else None.

    Raises ArchiveError: it is there and can't be read.
    """
    name = posixpath.normpath(posixpath.join(folder, relative.replace("\\", "/").strip()))
    if not name.startswith(root + "/") or not name.lower().endswith(COMPANIONS) or name not in archive:
        return None
    return archive.read(name)


def fingerprint(model: Model) -> list[str]:
    """What the rendering of a model depends on besides parameters: its file, and those it may refer to."""
    archive = open_archive(model.archive)
    files = [f"{model.member} {archive.digest(model.member)}"]
    if model.root and not model.member.lower().endswith(_ALONE):
        files += _companions(archive, model.root)
    return [model.key, model.label, model.split, model.up, *files]


@lru_cache(maxsize=1)
def _companions(archive: Archive, root: str) -> tuple[str, ...]:
    """Materials and pictures below a folder, with checksums; meshes of one folder come one after the other."""
    names = (name for name in archive.within(root) if name.lower().endswith(COMPANIONS))
    return tuple(f"{name} {archive.digest(name)}" for name in names)


def read_mesh_at(path: str, *, max_faces: int) -> Mesh:
    """Load one mesh file, or a member of an archive written `ARCHIVE:MEMBER`; materials come from its own folder.

    Raises MeshError or ArchiveError: it can't be used. ValueError: no such file.
    """
    file = Path(path)
    if file.is_file():
        folder = file.resolve().parent

        def read(relative: str) -> bytes | None:
            name = relative.replace("\\", "/").strip()
            if "\0" in name or max(map(len, name.split("/"))) > NAME_LIMIT:  # no file has such a name
                return None
            target = (folder / name).resolve()
            return target.read_bytes() if target.is_relative_to(folder) and target.is_file() else None

        return load_mesh(file.read_bytes(), file.suffix.lower().lstrip("."), read=read, max_faces=max_faces)
    archive, colon, member = path.partition(":")
    if colon and Path(archive).is_file():
        parts = member.split("/models/")
        root = parts[0] if len(parts) == 2 else posixpath.dirname(member)
        return read_mesh(Model(Path(member).stem, "", "", archive, member, root, "y"), max_faces=max_faces)
    raise ValueError(f"{path}: no such mesh; give a file, or ARCHIVE.zip:MEMBER")
