"""The content-keyed store: finished pieces of work below DVC's grain.

DVC empties a stage's outputs before it runs, so a stage keeps its finished parts and checkpoints here, under a key that
hashes everything they depend on, and links them into its output at the end. A killed stage loses the piece it was
making; a changed parameter, input or line of code has another key and never meets foreign pieces.
"""

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from c2p.data.files import sha256, sweep, telling_no_room, temporary_name, write_atomic, write_text
from c2p.data.places import Place, download, exists, is_url, join, name_of, remove, to_place, upload
from c2p.data.pruning import touch


def key(*parts: Any) -> str:
    """Hash whatever a piece depends on: 64 hex digits.

    `parts` are plain data (None, bool, int, float, str, list, tuple, dict with text keys) and dataclasses of them:
    parameters, digests of inputs, `tasks.closure.code_digest` of the code. Equal data give equal keys; tuples count as
    lists.

    Raises TypeError or ValueError: a part that has no canonical JSON (a path, an array, a NaN).
    """
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclasses.dataclass(frozen=True)
class Store:
    """Finished pieces; picklable, and safe with any number of processes, threads and machines.

    They lie in the folder or behind the URL (any file system of fsspec) that C2P_STORE names: a fact of the machine,
    carried along by jobs. The default is `<root>/.c2p/store`. From a local store, pieces are hard-linked into the outs;
    from a remote one they are copied, and what the jobs read is copied there.
    """

    root: Path
    """The project's folder."""
    address: str = dataclasses.field(default_factory=lambda: os.environ.get("C2P_STORE", ""))
    """Folder or URL; empty: the default."""

    @property
    def base(self) -> Place:
        """The folder or URL of the pieces."""
        place = to_place(self.address or ".c2p/store")
        return self.root / place if isinstance(place, Path) else place

    def place(self, piece: str, suffix: str) -> Place:
        """Where the piece with this key lies once it is made: a path or a URL."""
        return join(self.base, piece[:2], piece + suffix)

    def path(self, piece: str, suffix: str) -> Path:
        """Where a piece of a local store lies."""
        place = self.place(piece, suffix)
        assert isinstance(place, Path), f"{self.address} is not a folder"
        return place

    def get_or_make(self, piece: str, suffix: str, make: Callable[[Path], object]) -> Place:
        """Return the piece's place, made by `make(path)` if it isn't there yet.

        `make` writes one file at the path it is given (whose name ends in `suffix`); it appears under its own name only
        when whole and on the disk. When two make the same piece at once, both succeed.
        """
        return self.get_or_make_all(piece, (suffix,), make)[0]

    def get_or_make_all(self, piece: str, suffixes: Sequence[str], make: Callable[..., object]) -> list[Place]:
        """Return the files of a piece that has several, made together by `make(path, ...)` if one isn't there yet."""
        targets = [self.place(piece, suffix) for suffix in suffixes]
        if not all(exists(target) for target in targets):
            (_make_there if is_url(self.address) else _make_here)(targets, make)
        for target in targets:
            if isinstance(target, Path):
                touch(target)
        return targets

    def link(self, piece: str, suffix: str, out: Path) -> Path:
        """Give a finished piece the name `out`: by a hard link, or as a copy from another device or a remote store."""
        place = self.place(piece, suffix)
        if isinstance(place, Path):
            return link_into(place, out)
        write_atomic(out, lambda temporary: download(place, temporary))
        write_text(self._note(sha256(out)), str(place))
        return out

    def share(self, place: Place, digest: str = "") -> Place:
        """Where a job finds an input: its path, or a URL; into a remote store a local file is copied if need be.

        digest: SHA-256 of the file if that is known. What came from the store itself isn't copied again.
        """
        if is_url(place) or not is_url(self.address):
            return place
        path = Path(place)
        digest = digest or sha256(path)
        with contextlib.suppress(FileNotFoundError):
            noted = self._note(digest).read_text(encoding="utf-8")
            if noted.startswith(f"{self.base}/") and exists(noted):
                return noted
        shared = join(self.base, "inputs", digest[:2], digest, path.name)
        if not exists(shared):
            upload(path, shared, temporary_name(path).name)
        return shared

    def forget(self, piece: str, suffix: str) -> None:
        """Remove a damaged file of a piece, so that it is made again."""
        remove(self.place(piece, suffix))

    def folder(self, piece: str) -> Path:
        """Return a folder of the piece's own, made if need be: checkpoints of a training that can be resumed."""
        folder = self.root / ".c2p" / "work" / piece[:2] / piece
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def sweep(self) -> int:
        """Remove what killed processes of this machine left half made, here and in the outs; return how many files."""
        folders = [self.root / name for name in (".c2p", "data", "metrics", "models", "plots", "results")]
        if isinstance(self.base, Path):
            folders.append(self.base)
        return sum(sweep(folder) for folder in folders)

    def _note(self, digest: str) -> Path:
        """Where it is noted which piece of a remote store has this content."""
        return self.root / ".c2p" / "notes" / digest[:2] / digest


def link_into(piece: Path, out: Path) -> Path:
    """Give a finished file a second name `out` (a hard link; a copy across devices), replacing what was there.

    Files that DVC tracks are read-only in spirit: write a new file and rename it, never write into a linked one.
    """
    with telling_no_room(out):
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


def _make_here(targets: Sequence[Place], make: Callable[..., object]) -> None:
    """Fill temporary files beside the targets and give them their names."""
    paths = [Path(target) for target in targets]
    temporaries = [temporary_name(path) for path in paths]
    with telling_no_room(paths[0]):
        paths[0].parent.mkdir(parents=True, exist_ok=True)
        try:
            make(*temporaries)
            for temporary in temporaries:
                _flush(temporary)
            for temporary, path in zip(temporaries, paths, strict=True):
                os.replace(temporary, path)
        finally:
            for temporary in temporaries:
                temporary.unlink(missing_ok=True)
        _flush(paths[0].parent)


def _make_there(targets: Sequence[Place], make: Callable[..., object]) -> None:
    """Fill files in a temporary folder of this machine (TMPDIR) and copy them to a remote store."""
    with tempfile.TemporaryDirectory(prefix="c2p-") as folder:
        paths = [Path(folder, name_of(target)) for target in targets]
        make(*paths)
        for path, target in zip(paths, targets, strict=True):
            upload(path, target, temporary_name(path).name)


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
