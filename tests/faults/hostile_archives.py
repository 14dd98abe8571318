"""Zips and tars written by hand, so that they can lie."""

import io
import struct
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path

OFF = b"OFF\n4 4 0\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 1 2\n3 0 1 3\n3 0 2 3\n3 1 2 3\n"


@dataclass(frozen=True)
class Entry:
    """A member of a zip: what its headers say, and its bytes."""

    name: str | bytes
    data: bytes = OFF
    stored: bytes | None = None
    """Bytes in the file; None: the data, as they are or deflated."""
    deflated: bool = True
    size: int | None = None
    """Declared size."""
    crc: int | None = None
    local_name: str | None = None
    """The name that stands before the data."""
    mode: int = 0
    flags: int = 0


def deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def deflated_zeros(megabytes: int) -> bytes:
    """Deflated zeros, a kilobyte a megabyte, made in no time: a flushed block may be repeated."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    packer.compress(b"")
    first = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return first + block * (megabytes - 1) + packer.flush()


def write_zip(path: Path, entries: list[Entry], *, overlapping: int = 0) -> Path:
    """Write a zip; the last `overlapping` entries of the directory all claim the place of the first of them."""
    file, directory, places = io.BytesIO(), [], []
    for number, entry in enumerate(entries):
        name = entry.name if isinstance(entry.name, bytes) else entry.name.encode()
        stored = entry.stored if entry.stored is not None else deflate(entry.data) if entry.deflated else entry.data
        size = len(entry.data) if entry.size is None else entry.size
        crc = zlib.crc32(entry.data) if entry.crc is None else entry.crc
        first = len(entries) - overlapping
        place = places[first] if overlapping and number > first else file.tell()
        places.append(place)
        flags = entry.flags | (0x800 if not isinstance(entry.name, bytes) else 0)
        common = struct.pack("<HHHHHIIIHH", 20, flags, 8 * entry.deflated, 0, 33, crc, len(stored), size, len(name), 0)
        local = name if entry.local_name is None else entry.local_name.encode()
        if place == file.tell():
            file.write(b"PK\3\4" + common + local.ljust(len(name), b"_") + stored)
        directory.append(
            b"PK\1\2"
            + struct.pack("<H", 20 | 3 << 8)
            + common
            + struct.pack("<HHHII", 0, 0, 0, entry.mode << 16, place)
            + name
        )
    start, listing = file.tell(), b"".join(directory)
    end = struct.pack("<HHHHIIH", 0, 0, len(entries), len(entries), len(listing), start, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(file.getvalue() + listing + b"PK\5\6" + end)
    return path


def write_tar(path: Path, members: list[tuple[tarfile.TarInfo | str, bytes]], mode: str = "w") -> Path:
    """Write a tar of headers, or names, with their bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode, format=tarfile.GNU_FORMAT) as file:
        for header, data in members:
            info = tarfile.TarInfo(header) if isinstance(header, str) else header
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


def special(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    """A link, pipe or device in a tar."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""
