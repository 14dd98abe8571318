"""A user's folder or archive of meshes, on a disk or behind a URL, taken over as one archive."""

import errno
import os
import re
import shutil
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from c2p.data.archive import Archive, printable
from c2p.data.files import write_atomic
from c2p.data.places import Place, download, exists, is_url, join, name_of, read_bytes, walk

EPOCH = (1980, 1, 1, 0, 0, 0)
_PACKED = re.compile(r"(\.tar)?\.(gz|bz2|xz|tgz|tbz2|txz)$", re.IGNORECASE)
_CHUNK = 1 << 20


def take_meshes(place: Place, folder: Path) -> Path:
    """Copy an archive, or pack a folder into `<name>.zip`, below `folder`; same content, same bytes.

    A compressed tar of the disk is taken over as a plain one: to read a member, all before it would be unpacked.
    Raises ValueError: no such path, or not a folder, zip or tar. OSError: the URL can't be used, no room. Links
    that leave the folder are not followed; what a web server calls a folder is none.
    """
    if is_url(place):
        return _take_remote(str(place), folder)
    path = Path(place)
    if path.is_dir():
        return write_atomic(folder / f"{path.resolve().name}.zip", lambda temporary: _pack(path, temporary))
    if not path.is_file():
        raise ValueError(
            f"download.meshes: got {str(path)!r}; no such folder or archive; "
            "set it with: c2p profile use meshes --set download.meshes=PATH"
        )
    Archive(path)
    if zipfile.is_zipfile(path) or _is_plain(path):
        return write_atomic(folder / path.name, lambda temporary: _copy(path, temporary))
    return write_atomic(folder / _PACKED.sub(".tar", path.name), lambda temporary: _inflate(path, temporary))


def _pack(source: Path, target: Path) -> None:
    root = source.resolve()
    paths = (path for path in sorted(source.rglob("*")) if path.is_file() and path.resolve().is_relative_to(root))
    _write(target, ((_name(path.relative_to(source)), path.read_bytes()) for path in paths))


def _name(path: Path) -> str:
    """A path as a member's name; bytes that are no UTF-8 as %XX."""
    return printable(os.fsencode(path).decode("utf-8", "surrogateescape"))


def _write(target: Path, members: Iterable[tuple[str, bytes]]) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name, EPOCH), data)


def _take_remote(url: str, folder: Path) -> Path:
    if exists(url):
        Archive(url)
        return write_atomic(folder / name_of(url), lambda temporary: download(url, temporary))
    names = sorted(walk(url), key=PurePosixPath)
    members = ((name, read_bytes(join(url, name))) for name in names)
    return write_atomic(folder / f"{name_of(url)}.zip", lambda temporary: _write(temporary, members))


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)


def _is_plain(path: Path) -> bool:
    try:
        tarfile.open(path, "r:").close()
    except tarfile.ReadError:
        return False
    return True


def _inflate(source: Path, target: Path) -> None:
    """The tar in a compressed one, up to its end mark."""
    with tarfile.open(source) as tar:
        tar.getmembers()
        need, free = tar.offset, shutil.disk_usage(target.parent).free
        if need > free:
            raise OSError(
                errno.ENOSPC,
                f"{need / 1e9:.1f} GB unpacked, {free / 1e9:.1f} GB are free; make room",
                str(target.parent),
            )
        stream = tar.fileobj
        assert stream is not None
        stream.seek(0)
        with target.open("wb") as out:
            while need > 0:
                out.write(piece := stream.read(min(need, _CHUNK)))
                need -= len(piece)
            out.write(bytes(2 * tarfile.BLOCKSIZE))
