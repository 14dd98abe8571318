"""Atomic files: whole under their name or not there at all."""

import hashlib
import json
import os
import re
import socket
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

_TEMPORARY = re.compile(r"\.tmp-(?P<host>.+)-(?P<pid>\d+)-[0-9a-f]{8}-")
_NAME = 100
"""Characters of a file's name that its temporary name repeats: file systems allow 255 bytes in all."""
_CLOCK_SLACK_S = 3600
"""By how much the clocks of files and processes may differ."""


def write_atomic(path: Path, write: Callable[[Path], None]) -> Path:
    """Let `write` fill a temporary file beside `path`, flush it to disk and give it its name.

    The temporary name is hidden and says whose it is (`temporary_name`); it is removed when `write` fails.
    """
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
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _dump(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _is_being_written(path: Path, pid: int) -> bool:
    """Whether the process that began a file may still go on; its number may have gone to another one since."""
    try:
        owner = psutil.Process(pid)
        dead = owner.status() == psutil.STATUS_ZOMBIE  # killed in a container, where nobody waits for orphans
        return not dead and owner.create_time() < path.stat().st_mtime + _CLOCK_SLACK_S
    except (psutil.NoSuchProcess, FileNotFoundError):
        return False
    except psutil.AccessDenied:
        return True
