"""Places: a local path, or a URL of any file system that fsspec knows, read by range and written whole.

Whatever a URL's file system raises becomes an OSError with one line that names the place, so that a network that fails
is never taken for a file that is damaged.
"""

import io
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, cast

Place = str | Path

BLOCK = 2 << 20
"""Bytes fetched at a time when a remote file is read here and there (2 MiB; docs/scaling.md has what others cost)."""
_OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "oss"})
"""Protocols whose uploads appear whole or not at all under their name."""
_EXTRAS = {"s3": "s3", "s3a": "s3"}
"""Extra of this package that brings a protocol's file system."""
_FRESH_S = 10
"""Seconds for which the state of a remote file is taken as known."""


class PlaceError(OSError):
    """A remote place that can't be used; the message is one line."""

    errno = 5  # EIO: the system failed, not the file's content

    def __str__(self) -> str:
        return str(self.args[0])


class PlaceMissing(PlaceError, FileNotFoundError):
    """Nothing lies there."""


class PlaceDenied(PlaceError, PermissionError):
    """The credentials are absent or don't suffice."""


class PlaceUnreachable(PlaceError, ConnectionError):
    """The server doesn't answer, or not as it should; trying again may help."""


def is_url(place: Place) -> bool:
    """Whether a place is a URL other than file://."""
    return "://" in str(place) and not str(place).startswith("file://")


def to_path(place: Place) -> Path:
    """The path that a text or `file://` URL stands for, ~ expanded."""
    return Path(os.path.expanduser(str(place).removeprefix("file://")))


def to_place(text: str) -> Place:
    """A URL as it is, or the path that a text or `file://` URL stands for."""
    return text.rstrip("/") if is_url(text) else to_path(text)


def name_of(place: Place) -> str:
    """Last part of a path or URL, without query."""
    return str(place).partition("?")[0].rstrip("/").rsplit("/", 1)[-1] if is_url(place) else Path(place).name


def join(place: Place, *names: str) -> Place:
    """A place below a folder."""
    return "/".join([str(place).rstrip("/"), *names]) if is_url(place) else Path(place, *names)


def exists(place: Place) -> bool:
    """Whether a file lies there."""
    if not is_url(place):
        return Path(place).is_file()
    try:
        return bool(_info(str(place))["type"] == "file")
    except PlaceMissing:
        return False


def state(place: Place) -> tuple[Any, ...]:
    """What changes when a file is replaced: its size with the time, inode or entity tag that its system knows.

    Raises OSError: there is no such file, or it can't be reached.
    """
    if is_url(place):
        return _remote_state(str(place), int(time.monotonic() / _FRESH_S))
    known = Path(place).stat()
    return (known.st_ino, known.st_size, known.st_mtime_ns)


def size(place: Place) -> int:
    """Bytes of a file."""
    return int(_info(str(place))["size"]) if is_url(place) else Path(place).stat().st_size


def open_file(place: Place, *, ahead: int = 0) -> BinaryIO:
    """A file opened for reading here and there.

    Of a remote one whole blocks are fetched, and the last 32 kept; or, where `ahead` is given, what is asked for and so
    many bytes after it.
    Raises OSError: as all functions here; also where a server doesn't serve ranges.
    """
    if not is_url(place):
        return Path(place).open("rb")
    with _told(place):
        files, path = _resolve(str(place))
        file = files.open(path, "rb", block_size=ahead or BLOCK, cache_type="readahead" if ahead else "blockcache")
    if not file.seekable() or file.size is None:
        raise PlaceError(f"{place}: the server doesn't serve ranges of a file; copy it to a disk or an object store")
    return cast(BinaryIO, _Remote(str(place), file))


def read_bytes(place: Place) -> bytes:
    """A whole file."""
    if not is_url(place):
        return Path(place).read_bytes()
    with _told(place):
        files, path = _resolve(str(place))
        return bytes(files.cat_file(path))


def read_range(place: Place, offset: int, length: int) -> bytes:
    """Bytes of a file from an offset on, fewer where it ends before."""
    if not is_url(place):
        with Path(place).open("rb") as file:
            file.seek(offset)
            return file.read(length)
    if length == 0:
        return b""
    with _told(place):
        files, path = _resolve(str(place))
        return bytes(files.cat_file(path, start=offset, end=offset + length))


def list_names(folder: Place) -> list[str]:
    """Names of the files in a folder, sorted; none if there is no such folder."""
    if not is_url(folder):
        return sorted(path.name for path in Path(folder).glob("*") if path.is_file())
    with _told(folder):
        files, path = _resolve(str(folder))
        try:
            found = files.ls(path, detail=True)
        except FileNotFoundError:
            return []
    return sorted(name_of("x://" + entry["name"]) for entry in found if entry["type"] == "file")


def walk(folder: Place) -> list[str]:
    """Paths of all files below a folder, relative to it, sorted.

    Raises OSError: no such folder.
    """
    if not is_url(folder):
        return sorted(p.relative_to(folder).as_posix() for p in Path(folder).rglob("*") if p.is_file())
    with _told(folder):
        files, path = _resolve(str(folder))
        root = path.rstrip("/") + "/"
        found = files.find(path)
    if not found:
        raise PlaceMissing(f"{folder}: nothing lies there; check the address")
    return sorted(name.partition(root)[2] for name in found if root in name)


@contextmanager
def local_copy(place: Place) -> Iterator[Path]:
    """A path for what lies at a place: its own, or a copy that goes with the `with` block."""
    if not is_url(place):
        yield Path(place)
        return
    with tempfile.TemporaryDirectory(prefix="c2p-") as folder:
        copy = Path(folder, name_of(place))
        download(place, copy)
        yield copy


def download(place: Place, path: Path) -> None:
    """Copy a file to a local path."""
    if not is_url(place):
        shutil.copyfile(place, path)
        return
    with _told(place):
        files, remote = _resolve(str(place))
        files.get_file(remote, str(path))


def upload(path: Path, place: Place, temporary: str) -> None:
    """Copy a local file to a URL, where it appears only when whole: under a temporary name first, except on object
    stores, whose uploads do so by themselves. What lies there already is replaced.
    """
    with _told(place):
        files, target = _resolve(str(place))
        protocols = {files.protocol} if isinstance(files.protocol, str) else set(files.protocol)
        if protocols & _OBJECT_STORES:
            files.put_file(str(path), target)
            return
        scratch = target.rpartition("/")[0] + "/" + temporary
        files.makedirs(target.rpartition("/")[0], exist_ok=True)
        try:
            files.put_file(str(path), scratch)
            files.mv(scratch, target)
        finally:
            if files.exists(scratch):
                files.rm_file(scratch)


def remove(place: Place) -> None:
    """Remove a file if it is there."""
    if not is_url(place):
        Path(place).unlink(missing_ok=True)
        return
    with _told(place):
        files, path = _resolve(str(place))
        if files.exists(path):
            files.rm_file(path)


class _Remote(io.RawIOBase):
    """A remote file whose failures are OSErrors that name it."""

    def __init__(self, place: str, file: Any) -> None:
        self._place, self._file = place, file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def read(self, size: int | None = -1) -> bytes:
        with _told(self._place):
            return bytes(self._file.read(-1 if size is None else size))

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def _resolve(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path on it. Listings aren't kept: other machines write too."""
    import fsspec

    protocol = url.partition("://")[0]
    try:
        return fsspec.core.url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        extra = _EXTRAS.get(protocol)
        hint = f"install it with: pip install -c constraints.txt 'c2p[{extra}]'" if extra else "install that package"
        raise PlaceError(f"{url}: {protocol}:// needs a package ({error}); {hint}") from None
    except ValueError as error:
        raise PlaceError(f"{url}: {error}; allowed: a path, or a URL such as s3://BUCKET/FOLDER") from None


def _info(url: str) -> dict[str, Any]:
    with _told(url):
        files, path = _resolve(url)
        return dict(files.info(path))


@lru_cache(maxsize=64)
def _remote_state(url: str, _moment: int) -> tuple[Any, ...]:
    known = _info(url)
    tags = [
        str(known[key])
        for key in ("ETag", "etag", "LastModified", "Last-Modified", "mtime", "created", "updated")
        if key in known
    ]
    return (known["size"], *tags)


@contextmanager
def _told(place: Place) -> Iterator[None]:
    try:
        yield
    except PlaceError:
        raise
    except Exception as error:
        if not is_url(place):
            raise
        raise _translated(str(place), error) from error


def _translated(place: str, error: BaseException) -> PlaceError:
    """Libraries of file systems raise what they like; the kind of their error tells what happened."""
    cause, status = error.__cause__, getattr(error, "status", None)
    if isinstance(error, FileNotFoundError) and cause and type(cause).__module__.startswith("aiohttp"):
        return _translated(place, cause)  # fsspec takes any failure of HTTP for an absent file
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return PlaceMissing(f"{place}: nothing lies there; check the address")
    said = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, PermissionError) or "Credentials" in type(error).__name__ or status in (401, 403):
        return PlaceDenied(f"{place}: access denied ({said}); check the credentials (AWS_ACCESS_KEY_ID and such)")
    return PlaceUnreachable(f"{place}: {said}; check the address and the network")
