"""Trust on first use: catalogue.lock in the project's root records the digest of each file the catalogue has none for.

It is meant to be committed: whoever fetches later gets the same bytes or an error.
"""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from c2p.data.files import write_json

FILE = "catalogue.lock"
BY_HAND = "placed by hand"
_MEND = f"restore it (git checkout {FILE}), or delete it to trust the files as they are now"


class LockError(ValueError):
    """A catalogue.lock that can't be understood; the message is one line."""


@dataclass(frozen=True)
class Record:
    """What a file was when it was first seen."""

    sha256: str
    size: int
    url: str
    """Where it came from; `placed by hand` where the user put it there."""


def read_records(path: Path) -> dict[str, Record]:
    """Records by file key; none if there is no lock yet.

    Raises LockError: not JSON, or not what `record` writes.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:  # UnicodeDecodeError too
        raise LockError(f"{path}: not JSON ({error}); {_MEND}") from None
    if not isinstance(data, dict):
        raise LockError(f"{path}: not a table of files; {_MEND}")
    return {key: _record(path, key, value) for key, value in data.items()}


def record(path: Path, key: str, entry: Record) -> None:
    """Add a file's record to the lock; processes may do so at once.

    Raises LockError as read_records, and where the file is already recorded with another digest.
    """
    with FileLock(path.with_name(f".{path.name}.tmp")):
        records = read_records(path)
        known = records.get(key)
        if known == entry:
            return
        if known and known.sha256 != entry.sha256:
            raise LockError(f"{path}: {key} is recorded with sha256 {known.sha256}, got {entry.sha256}")
        if known is None:
            write_json(path, {name: asdict(value) for name, value in (records | {key: entry}).items()})


def _record(path: Path, key: str, value: Any) -> Record:
    fields = {"sha256", "size", "url"}
    if not isinstance(value, dict) or set(value) != fields:
        raise LockError(f"{path}: {key}: got {value!r:.80}; allowed: {', '.join(sorted(fields))}; {_MEND}")
    if not (isinstance(value["sha256"], str) and re.fullmatch("[0-9a-f]{64}", value["sha256"])):
        raise LockError(f"{path}: {key}: sha256 {value['sha256']!r:.80}; allowed: 64 hex digits; {_MEND}")
    size = value["size"]
    if not isinstance(size, int) or isinstance(size, bool) or size < 0 or not isinstance(value["url"], str):
        raise LockError(f"{path}: {key}: size {size!r:.40}, url {value['url']!r:.80}; {_MEND}")
    return Record(**value)
