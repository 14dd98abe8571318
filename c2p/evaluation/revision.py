"""Which code made a number: git's id of a folder's content, computed without git."""

import hashlib
from pathlib import Path

DIGITS = 12


def code_revision(package: Path) -> str:
    """Git's id of a folder's content as it lies there: the first digits of `git rev-parse HEAD:c2p` once committed.

    A tree, not a commit: `git log --format=%H -- c2p` and `git rev-parse COMMIT:c2p` lead from the one to the other. It
    names the whole library as it was when the tables were written, not the time, not the clone, not whether it was
    committed before or after the run. Hidden files and Python's caches don't count.
    """
    return _tree(package).hex()[:DIGITS]


def _tree(folder: Path) -> bytes:
    """Git's sha1 of a tree: entries sorted by name, folders as if their name ended in a slash; no empty folders."""
    entries = []
    for path in folder.iterdir():
        if path.name.startswith(".") or path.name == "__pycache__" or path.suffix == ".pyc":
            continue
        if not path.is_dir():
            mode = b"100755" if path.stat().st_mode & 0o100 else b"100644"
            entries.append((path.name.encode(), mode, _object(b"blob", path.read_bytes())))
        elif any(child.is_file() for child in path.rglob("*") if "__pycache__" not in child.parts):
            entries.append((path.name.encode() + b"/", b"40000", _tree(path)))
    body = b"".join(mode + b" " + name.rstrip(b"/") + b"\0" + sha for name, mode, sha in sorted(entries))
    return _object(b"tree", body)


def _object(kind: bytes, body: bytes) -> bytes:
    return hashlib.sha1(kind + b" " + str(len(body)).encode() + b"\0" + body, usedforsecurity=False).digest()
