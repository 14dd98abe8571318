"""What a fetched file has to look like, by its name: servers send pages with status 200 in place of archives."""

import tarfile
import zipfile
from pathlib import Path

HEAD = 512
"""Bytes that tell a kind."""
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ")
_SAFETENSORS_HEADER = 100_000_000
"""Bytes a safetensors header may have (the format's own limit)."""


class KindError(ValueError):
    """Content that is not what the file's name says; the message is a clause that follows `got`."""


def check_head(name: str, head: bytes) -> None:
    """Check a file's first bytes against its name.

    head: the first HEAD bytes, or the whole of a shorter file. Raises KindError.
    """
    if head.startswith(b"version https://git-lfs"):
        raise KindError("a Git LFS pointer in place of the file")
    if head.lstrip()[:1] == b"<":
        raise KindError("a web page in place of the file")
    suffix = Path(name).suffix.lower()
    known = {
        ".zip": head.startswith(_ZIP),
        ".pt": head.startswith(_ZIP),
        ".tar": head[257:262] == b"ustar" or head.startswith(_COMPRESSED),
        ".gz": head[257:262] == b"ustar" or head.startswith(_COMPRESSED),
        ".h5": head.startswith(b"\x89HDF\r\n\x1a\n"),
        ".safetensors": 0 < int.from_bytes(head[:8], "little") < _SAFETENSORS_HEADER and head[8:9] == b"{",
        ".txt": b"\0" not in head,
    }
    if not known.get(suffix, True):
        raise KindError(f"{head[:16]!r}, which begins no {suffix[1:]} file")


def is_compressed_tar(path: Path) -> bool:
    """Whether a file is named as a tar and is compressed: its members can be read in order only, not at random."""
    with path.open("rb") as file:
        return path.suffix in (".tar", ".gz", ".tgz") and file.read(HEAD).startswith(_COMPRESSED)


def check_whole(name: str, path: Path) -> None:
    """Check a complete file: its first bytes, and the end of an archive, which a file cut short lacks.

    name: what it will be called; `path` may have another name. Raises KindError.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
        check_head(name, head)
        if head[257:262] == b"ustar":
            file.seek(max(0, path.stat().st_size - 2 * tarfile.BLOCKSIZE))
            if any(file.read()):
                raise KindError("a tar without its end: it is cut short")
    if head.startswith(_ZIP) and not zipfile.is_zipfile(path):
        raise KindError("a zip without its end: it is cut short")
