"""The content-keyed store: finished pieces of work below DVC's grain.

DVC empties a stage's outputs before it runs, so a stage keeps its finished parts and checkpoints here, under a key that
hashes everything they depend on, and links them into its output at the end. A killed stage loses the piece it was
making; a changed parameter, input or line of code has another key and never meets foreign pieces.
"""

import dataclasses
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from c2p.data.files import sweep, temporary_name


def key(*parts: Any) -> str:
    """Hash whatever a piece depends on: 64 hex digits.

    `parts` are plain data (None, bool, int, float, str, list, tuple, dict with text keys) and dataclasses of them:
    parameters, digests of inputs, `tasks.closure.code_digest` of the code. Equal data give equal keys; tuples count as
    lists.

    Raises TypeError or ValueError: a part that has no canonical JSON (a path, an array, a NaN).
    """
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content: 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclasses.dataclass(frozen=True)
class Store:
    """Pieces under `<root>/.c2p/store`; picklable, and safe with any number of processes and threads."""

    root: Path
    """The project's folder."""

    @property
    def folder_of_pieces(self) -> Path:
        return self.root / ".c2p" / "store"

    def path(self, piece: str, suffix: str) -> Path:
        """Where the piece with this key lies once it is made."""
        return self.folder_of_pieces / piece[:2] / (piece + suffix)

    def get_or_make(self, piece: str, suffix: str, make: Callable[[Path], object]) -> Path:
        """Return the piece's file, made by `make(path)` if it isn't there yet.

        `make` writes one file at the path it is given (whose name ends in `suffix`); it appears under its own name only
        when whole and on the disk. When two make the same piece at once, both succeed.
        """
        return self.get_or_make_all(piece, (suffix,), make)[0]

    def get_or_make_all(self, piece: str, suffixes: Sequence[str], make: Callable[..., object]) -> list[Path]:
        """Return the files of a piece that has several, made together by `make(path, ...)` if one isn't there yet."""
        targets = [self.path(piece, suffix) for suffix in suffixes]
        if all(target.exists() for target in targets):
            return targets
        folder = targets[0].parent
        folder.mkdir(parents=True, exist_ok=True)
        temporaries = [temporary_name(target) for target in targets]
        try:
            make(*temporaries)
            for temporary in temporaries:
                _flush(temporary)
            for temporary, target in zip(temporaries, targets, strict=True):
                os.replace(temporary, target)
        finally:
            for temporary in temporaries:
                temporary.unlink(missing_ok=True)
        _flush(folder)
        return targets

    def folder(self, piece: str) -> Path:
        """Return a folder of the piece's own, made if need be: checkpoints of a training that can be resumed."""
        folder = self.root / ".c2p" / "work" / piece[:2] / piece
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def sweep(self) -> int:
        """Remove what killed processes of this machine left half made, here and in the outs; return how many files."""
        return sum(sweep(self.root / name) for name in (".c2p", "data", "metrics", "models", "plots", "results"))


def link_into(piece: Path, out: Path) -> Path:
    """Give a finished file a second name `out` (a hard link; a copy across devices), replacing what was there.

    Files that DVC tracks are read-only in spirit: write a new file and rename it, never write into a linked one.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(out)
    try:
        try:
            os.link(piece, temporary)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
                raise
            shutil.copyfile(piece, temporary)
            _flush(temporary)
        os.replace(temporary, out)
    finally:
        temporary.unlink(missing_ok=True)
    return out


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(f"a key's part must be plain data, got {type(value).__name__}")


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
