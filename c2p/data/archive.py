"""Archives read in place, on a disk or behind a URL: members of a zip or tar by name, nothing ever unpacked."""

import errno
import hashlib
import stat
import tarfile
import threading
import weakref
import zipfile
import zlib
from bisect import bisect_left
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from c2p.data.places import Place, PlaceError, is_url, open_file, state

MEMBER_LIMIT = 2 << 30
"""Bytes of the largest member that is read (2 GiB; ShapeNetCore.v2's largest OBJ has 0.4 GB)."""
COUNT_LIMIT = 5_000_000
"""Members an archive may have (ShapeNetCore's largest synset: about 250,000)."""
_TAIL = 1 << 20
"""Bytes read after the end mark of a tar: a compressed one tells only there that it is whole."""


class ArchiveError(ValueError):
    """An archive that can't be read; the message is one line."""


class MemberError(ArchiveError):
    """A member that can't be read, though the archive can."""


class Archive:
    """A zip or tar opened for reading; members are regular files with relative names that stay inside.

    Closed when nobody holds it any more. Threads may share it.
    """

    def __init__(self, path: Place) -> None:
        self.path = path
        self._lock = threading.Lock()
        if not is_url(path) and Path(path).exists() and not Path(path).is_file():  # a pipe would keep us waiting
            raise ArchiveError(f"{path}: not a file; put a zip or tar there")
        try:
            stream = open_file(path)
            weakref.finalize(self, stream.close)
            self._file = _open(stream)
            found = _regular_members(self._file)
        except PlaceError:
            raise
        except FileNotFoundError:
            raise ArchiveError(f"{path}: no such archive; run the download stage (dvc repro download)") from None
        except MemoryError:
            raise
        except Exception as error:  # a reader meets hostile bytes: whatever it raises, the file is the cause
            reason = next(iter(str(error).splitlines()), "")  # tarfile lists every compression it tried
            raise ArchiveError(f"{path}: not a readable zip or tar ({reason}); fetch or copy it again") from None
        if len(found) > COUNT_LIMIT:
            raise ArchiveError(f"{path}: {len(found)} members; allowed: up to {COUNT_LIMIT}")
        self._members = {name: info for written, info in found if (name := _inside(written))}
        self.names = sorted(self._members)

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def within(self, folder: str) -> list[str]:
        """Names of the members below a folder, sorted."""
        start, end = (bisect_left(self.names, folder + c) for c in ("/", "0"))  # "0" is the character after "/"
        return self.names[start:end]

    def digest(self, name: str) -> str:
        """Fingerprint of a member's content: CRC-32 and size. A zip lists them, a tar is read through for them once."""
        info = self._members[name]
        if isinstance(info, zipfile.ZipInfo):
            return f"{info.CRC:08x}-{info.file_size}"
        return f"{self._checksums[name]}-{info.size}"

    def index_digest(self) -> str:
        """SHA-256 over names, sizes and checksums in the index: of the content in a zip, of the headers in a tar."""
        lines = (
            f"{name} {info.file_size} {info.CRC}"
            if isinstance(info, zipfile.ZipInfo)
            else f"{name} {info.size} {info.mtime} {info.chksum}"
            for name, info in sorted(self._members.items())
        )
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def read(self, name: str) -> bytes:
        """Bytes of a member.

        Raises MemberError: absent, larger than MEMBER_LIMIT, corrupt, encrypted. OSError: the disk fails.
        """
        if name not in self._members:
            raise MemberError(f"{self.path}: no member {name}")
        info = self._members[name]
        size = info.file_size if isinstance(info, zipfile.ZipInfo) else info.size
        if size > MEMBER_LIMIT:
            raise MemberError(f"{self.path}: member {name} has {size} bytes; allowed: up to {MEMBER_LIMIT}")
        try:
            data = self._read(info, size)
        except MemoryError:
            raise
        except Exception as error:  # hostile bytes again
            system = isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)
            if system:  # decompressors raise OSError without a number, and a file has no place before its start
                raise
            said = printable(str(error))
            raise MemberError(f"{self.path}: member {name} can't be read ({said})") from None
        if len(data) != size:
            raise MemberError(f"{self.path}: member {name} is cut short")
        return data

    def _read(self, info: zipfile.ZipInfo | tarfile.TarInfo, size: int) -> bytes:
        with self._lock:
            if isinstance(self._file, zipfile.ZipFile):
                assert isinstance(info, zipfile.ZipInfo)
                if info.header_offset in self._overlapping:
                    raise zipfile.BadZipFile("it overlaps another member")
                with self._file.open(info) as member:
                    return member.read(size + 1)  # without a number it would inflate up to 2 GiB at once
            assert isinstance(info, tarfile.TarInfo)
            file = self._file.extractfile(info)
            assert file is not None
            return file.read()

    @cached_property
    def _overlapping(self) -> set[int]:
        """Places in a zip where the data of a member reach into the next one, as in bombs."""
        assert isinstance(self._file, zipfile.ZipFile)
        ends = sorted((i.header_offset, i.header_offset + i.compress_size) for i in self._file.infolist())
        return {start for (start, end), (following, _) in pairwise(ends) if end > following}

    @cached_property
    def _checksums(self) -> dict[str, str]:
        """CRC-32 of every member of a tar, read in file order; a member that can't be read has none."""
        places = {name: info.offset_data for name, info in self._members.items() if isinstance(info, tarfile.TarInfo)}
        checksums = {}
        for name in sorted(places, key=lambda name: places[name]):
            try:
                checksums[name] = f"{zlib.crc32(self.read(name)):08x}"
            except MemberError:
                checksums[name] = ""
        return checksums


def open_archive(path: Place) -> Archive:
    """Open an archive, or give the one this process has open: reading the index of a large zip takes seconds.

    A file that was replaced meanwhile is opened anew.
    """
    place = path if is_url(path) else Path(path)
    try:
        known = state(place)
    except PlaceError:
        raise
    except OSError:
        return Archive(place)
    return _open_once(place, *known)


@lru_cache(maxsize=2)  # models come archive by archive, and the index of a large one takes 0.2 GB
def _open_once(path: Place, *_state: object) -> Archive:
    return Archive(path)


def is_unread(reason: str) -> bool:
    """Whether a reason is a MemberError's: the archive's bytes are at fault, not the mesh."""
    return reason.startswith("member ")


def _open(stream: BinaryIO) -> zipfile.ZipFile | tarfile.TarFile:
    if zipfile.is_zipfile(stream):
        return zipfile.ZipFile(stream)
    stream.seek(0)
    return tarfile.open(fileobj=stream)


def _regular_members(
    file: zipfile.ZipFile | tarfile.TarFile,
) -> list[tuple[str, zipfile.ZipInfo]] | list[tuple[str, tarfile.TarInfo]]:
    if isinstance(file, zipfile.ZipFile):
        return [(i.filename, i) for i in file.infolist() if i.filename and not i.is_dir() and _regular(i)]
    members = [(m.name, m) for m in file.getmembers() if m.isreg()]
    _check_end(file)
    return members


def _check_end(file: tarfile.TarFile) -> None:
    """Python takes a tar that is cut short, or whose headers are damaged, for one with fewer members."""
    stream = file.fileobj
    assert stream is not None
    stream.seek(file.offset)
    if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError(f"cut short or damaged at byte {file.offset}")
    stream.read(_TAIL)


def _inside(written: str) -> str:
    """A member's name with plain slashes and without `./`; empty: it is hidden or leaves the archive."""
    plain = printable(written).replace("\\", "/")
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    hidden = any(part.startswith((".", "__MACOSX")) for part in parts)
    if not parts or plain.startswith("/") or hidden or ":" in parts[0]:
        return ""
    name = "/".join(parts)
    return written if name == written else name  # one string instead of two


def printable(text: str) -> str:
    """A text with %XX in place of line ends, other control characters, and bytes that are no UTF-8 (tarfile's way)."""
    return text if text.isprintable() else "".join(c if c.isprintable() else f"%{ord(c) & 0xFF:02X}" for c in text)


def _regular(info: zipfile.ZipInfo) -> bool:
    mode = info.external_attr >> 16
    return mode == 0 or stat.S_IFMT(mode) in (0, stat.S_IFREG)
