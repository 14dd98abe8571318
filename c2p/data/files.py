"""Atomic files: whole under their name or not there at all."""

import errno
import hashlib
import json
import os
import re
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_TEMPORARY = re.compile(r"\.tmp-(?P<host>.+)-(?P<pid>\d+)-[0-9a-f]{8}-")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NAME = 100
"""Characters of a file's name that its temporary name repeats: file systems allow 255 bytes in all."""
_PIECE = 16 << 20
"""Bytes of a file that are hashed at a time."""
_CLOCK_SLACK_S = 3600
"""By how much the clocks of files and processes may differ."""


def write_atomic(path: Path, write: Callable[[Path], None]) -> Path:
    """Let `write` fill a temporary file beside `path`, flush it to disk and give it its name.

    The temporary name is hidden and says whose it is (`temporary_name`); it is removed when `write` fails.
    Raises NoRoom, and what `write` raises.
    """
    with telling_no_room(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_name(path)
        try:
            write(temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    return path


class NoRoom(OSError):
    """The disk, or what the user may have of it, is full; the message is one line."""

    def __str__(self) -> str:
        return str(self.args[1])


@contextmanager
def telling_no_room(path: Path) -> Iterator[None]:
    """Say which file there was no room for, and what to do: the system's error often names no file.

    Raises NoRoom.
    """
    try:
        yield
    except NoRoom:
        raise
    except Exception as error:
        full = next((cause for cause in _causes(error) if getattr(cause, "errno", None) in _FULL), None)
        if full is None:
            raise
        number = full.errno or errno.ENOSPC
        raise NoRoom(
            number,
            f"{path}: {os.strerror(number)}; make room there and run again: what is finished is kept",
        ) from error


def temporary_name(path: Path) -> Path:
    """A hidden name beside `path`, with its ending, that tells `sweep` which process of which machine writes there."""
    return path.with_name(f".tmp-{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}-{path.name[-_NAME:]}")


def sweep(folder: Path) -> int:
    """Remove what killed processes of this machine left half made anywhere below a folder; return how many files."""
    removed = 0
    for place, _, names in os.walk(folder):
        for name in names:
            if (match := _TEMPORARY.match(name)) and match["host"] == socket.gethostname():
                path = Path(place, name)
                if not _is_being_written(path, int(match["pid"])):
                    path.unlink(missing_ok=True)
                    removed += 1
    return removed


def write_bytes(path: Path, data: bytes) -> Path:
    """Write bytes atomically."""
    return write_atomic(path, lambda temporary: _dump(temporary, data))


def write_text(path: Path, text: str) -> Path:
    """Write UTF-8 text atomically."""
    return write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> Path:
    """Write JSON atomically: sorted keys, two-space indent, final newline; NaN is refused (ValueError)."""
    return write_text(path, json.dumps(value, sort_keys=True, indent=2, allow_nan=False) + "\n")


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes; in large pieces, since after each another thread may take Python's lock."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        piece = memoryview(bytearray(min(_PIECE, max(1, path.stat().st_size))))
        while count := file.readinto(piece):
            digest.update(piece[:count])
    return digest.hexdigest()


def _dump(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _is_being_written(path: Path, pid: int) -> bool:
    """Whether the process that began a file may still go on; its number may have gone to another one since."""
    import psutil  # where nothing is left half written, nobody needs it

    try:
        owner = psutil.Process(pid)
        dead = owner.status() == psutil.STATUS_ZOMBIE  # killed in a container, where nobody waits for orphans
        return not dead and owner.create_time() < path.stat().st_mtime + _CLOCK_SLACK_S
    except (psutil.NoSuchProcess, FileNotFoundError):
        return False
    except psutil.AccessDenied:
        return True


def _causes(error: BaseException) -> Iterator[OSError]:
    """System errors that led to an error: closing a half-written file raises what hides them."""
    known: BaseException | None = error
    while known is not None:
        if isinstance(known, OSError):
            yield known
        known = known.__cause__ or known.__context__
