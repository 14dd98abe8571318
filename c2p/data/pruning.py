"""What the content-keyed store may lose: pieces that nothing links to any more and that nobody asked for of late.

A piece that an output or DVC's cache still holds is the same file under another name: removing it frees nothing, so it
stays. While a stage runs, nothing goes that it has made or found since it began.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from c2p.data.files import sweep, temporary_name

DAY_S = 86400.0
_RUNNING = "running"
"""Folder in a store with a file for every stage at work; those of killed ones are swept away."""


@dataclass(frozen=True)
class Survey:
    """What a folder of pieces holds; numbers of files and bytes."""

    name: str
    files: int
    size: int
    free_files: int
    """Those that may go."""
    free_size: int


def folders(root: Path, store: Path) -> dict[str, Path]:
    """Folders of pieces by what they hold: finished parts, checkpoints, features, notes on remote pieces, indices."""
    own = root / ".c2p"
    named = {"checkpoints": "work", "features": "evaluation", "notes": "notes", "indices": "retrieval"}
    return {"pieces": store} | {name: own / folder for name, folder in named.items()}


@contextmanager
def running(store: Path) -> Iterator[None]:
    """Keep a stage's pieces from being pruned while it works on a store of this machine or a shared disk."""
    folder = store / _RUNNING
    folder.mkdir(parents=True, exist_ok=True)
    marker = temporary_name(folder / "stage")
    with _lock(store):  # not between a pruning's look at a piece and its end
        marker.touch()
    try:
        yield
    finally:
        marker.unlink(missing_ok=True)


def touch(path: Path) -> None:
    """Note that a piece was asked for, in its access time: its other times tell DVC whether it changed."""
    with contextlib.suppress(OSError):  # somebody else's file on a shared disk
        os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))


def survey(root: Path, store: Path, *, days: float) -> list[Survey]:
    """Count every folder, and what of it may go: not linked to, and not asked for in so many days."""
    horizon = _horizon(store, days)
    found = []
    for name, folder in folders(root, store).items():
        units = [states for unit in _units(folder) if (states := _states(unit))]
        free = [states for states in units if _is_free(states, horizon)]
        found.append(Survey(name, *_total(units), *_total(free)))
    return found


def prune(root: Path, store: Path, *, days: float) -> tuple[int, int]:
    """Remove what may go; return how many files and bytes. Stages may run meanwhile."""
    count, total = 0, 0
    with _lock(store):
        horizon = _horizon(store, days)
        for folder in folders(root, store).values():
            for unit in _units(folder):
                states = _states(unit)
                if states and _is_free(states, horizon):
                    total += sum(state.st_size for state in states)
                    count += len(unit)
                    for path in unit:
                        path.unlink(missing_ok=True)
                    with contextlib.suppress(OSError):  # others are in it
                        unit[0].parent.rmdir()
    return count, total


def _horizon(store: Path, days: float) -> float:
    """The time before which a piece was last asked for that may go."""
    sweep(store / _RUNNING)
    begun = [path.stat().st_mtime for path in (store / _RUNNING).glob(".tmp-*")]
    return min([time.time() - days * DAY_S, *begun])


def _units(folder: Path) -> Iterator[list[Path]]:
    """Files that go together or not at all: those of one key, which lie side by side or in a folder of its own."""
    together: dict[Path, list[Path]] = {}
    for place, inner, names in os.walk(folder):
        if _RUNNING in inner and Path(place) == folder:
            inner.remove(_RUNNING)
        for name in sorted(names):
            if not name.startswith("."):
                own = len(Path(place).name) == 64
                together.setdefault(Path(place) if own else Path(place, name.partition(".")[0]), []).append(
                    Path(place, name)
                )
    yield from together.values()


def _states(unit: list[Path]) -> list[os.stat_result]:
    """States of a unit's files; empty: a run has just removed one."""
    try:
        return [path.stat() for path in unit]
    except FileNotFoundError:
        return []


def _is_free(states: list[os.stat_result], horizon: float) -> bool:
    return all(state.st_nlink == 1 and max(state.st_mtime, state.st_atime) < horizon for state in states)


def _total(units: list[list[os.stat_result]]) -> tuple[int, int]:
    """Files and bytes."""
    return sum(map(len, units)), sum(state.st_size for unit in units for state in unit)


def _lock(store: Path) -> FileLock:
    store.mkdir(parents=True, exist_ok=True)
    return FileLock(store / ".prune.lock")
