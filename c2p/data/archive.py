"""Archives read in place: members of a zip or tar by name, nothing ever unpacked."""

import stat
import tarfile
import zipfile
import zlib
from bisect import bisect_left
from functools import lru_cache
from pathlib import Path, PurePosixPath

MEMBER_LIMIT = 2 << 30
"""Bytes of the largest member that is read (2 GiB; ShapeNetCore.v2's largest OBJ has 0.4 GB)."""
COUNT_LIMIT = 5_000_000
"""Members an archive may have (ShapeNetCore's largest synset: about 250,000)."""


class ArchiveError(ValueError):
    """An archive or member that can't be read; the message is one line."""


class Archive:
    """A zip or tar opened for reading; members are regular files with relative names that stay inside."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            if zipfile.is_zipfile(path):
                self._zip: zipfile.ZipFile | None = zipfile.ZipFile(path)
                infos = {i.filename: i for i in self._zip.infolist() if not i.is_dir() and _regular(i)}
                self._digests = {name: f"{i.CRC:08x}-{i.file_size}" for name, i in infos.items()}
            else:
                self._zip = None
                self._tar = tarfile.open(path)
                members = {m.name: m for m in self._tar.getmembers() if m.isreg()}
                self._digests = {name: f"{m.mtime}-{m.size}" for name, m in members.items()}
                self._members = members
        except FileNotFoundError:
            raise ArchiveError(f"{path}: no such archive; run the download stage (dvc repro download)") from None
        except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, zlib.error) as error:
            raise ArchiveError(f"{path}: not a readable zip or tar ({error}); fetch or copy it again") from None
        if len(self._digests) > COUNT_LIMIT:
            raise ArchiveError(f"{path}: {len(self._digests)} members; allowed: up to {COUNT_LIMIT}")
        self.names = sorted(name for name in self._digests if _inside(name))

    def __contains__(self, name: str) -> bool:
        return name in self._digests and _inside(name)

    def within(self, folder: str) -> list[str]:
        """Names of the members below a folder, sorted."""
        start, end = (bisect_left(self.names, folder + c) for c in ("/", "0"))  # "0" is the character after "/"
        return self.names[start:end]

    def digest(self, name: str) -> str:
        """Cheap fingerprint of a member: CRC-32 and size in a zip, time and size in a tar."""
        return self._digests[name]

    def read(self, name: str) -> bytes:
        """Bytes of a member.

        Raises ArchiveError: absent, larger than MEMBER_LIMIT, corrupt, encrypted.
        """
        if name not in self:
            raise ArchiveError(f"{self.path}: no member {name}")
        try:
            if self._zip is not None:
                info = self._zip.getinfo(name)
                self._check_size(name, info.file_size)
                with self._zip.open(info) as file:
                    return file.read()
            member = self._members[name]
            self._check_size(name, member.size)
            file_object = self._tar.extractfile(member)
            assert file_object is not None
            data = file_object.read()
        except (
            zipfile.BadZipFile,
            zlib.error,
            tarfile.TarError,
            RuntimeError,
            EOFError,
            NotImplementedError,
            OSError,
        ) as error:
            raise ArchiveError(f"{self.path}: member {name} can't be read ({error})") from None
        if len(data) != member.size:
            raise ArchiveError(f"{self.path}: member {name} is cut short")
        return data

    def _check_size(self, name: str, size: int) -> None:
        if size > MEMBER_LIMIT:
            raise ArchiveError(f"{self.path}: member {name} has {size} bytes; allowed: up to {MEMBER_LIMIT}")


@lru_cache(maxsize=8)
def open_archive(path: Path) -> Archive:
    """Open an archive once a process: reading the index of a large zip takes seconds."""
    return Archive(path)


def _inside(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return not path.is_absolute() and not hidden and ":" not in path.parts[0]


def _regular(info: zipfile.ZipInfo) -> bool:
    mode = info.external_attr >> 16
    return mode == 0 or stat.S_IFMT(mode) in (0, stat.S_IFREG)
