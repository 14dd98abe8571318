"""What was checked stays checked: a hidden note beside a file says which digest it had, while size and time agree."""

import json
from pathlib import Path

from c2p.data.files import write_json


def mark_verified(path: Path, digest: str) -> None:
    """Note that a file has a digest."""
    state = path.stat()
    write_json(_note(path), {"sha256": digest, "size": state.st_size, "mtime_ns": state.st_mtime_ns})


def is_verified(path: Path, digest: str = "") -> bool:
    """Whether a file was checked, against `digest` if that is given, and has not been touched since."""
    try:
        note, state = json.loads(_note(path).read_text(encoding="utf-8")), path.stat()
        same = (note["size"], note["mtime_ns"]) == (state.st_size, state.st_mtime_ns)
        return same and digest in ("", note["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _note(path: Path) -> Path:
    return path.with_name(f".{path.name}.verified")
