"""Slots: a few files are fetched at once, whatever the number of processes, each with a bar of its own."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from c2p.data.transfer import Progress

AT_ONCE = 4
"""Files fetched at the same time, by all processes together."""


@contextmanager
def slot(folder: Path) -> Iterator[int]:
    """Hold one of AT_ONCE slots, shared by all processes that fetch into `folder`; its number."""
    held = _take(folder)
    while held is None:
        time.sleep(0.2)
        held = _take(folder)
    number, lock = held
    try:
        yield number
    finally:
        lock.release()


def _take(folder: Path) -> tuple[int, FileLock] | None:
    for number in range(AT_ONCE):
        lock = FileLock(folder / f".slot-{number}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        return number, lock
    return None


@contextmanager
def bar(name: str, number: int, progress: Progress | None) -> Iterator[Progress | None]:
    """A progress bar on a terminal, one line a slot, beside the caller's own hook; elsewhere the hook alone."""
    from tqdm import tqdm

    if not sys.stderr.isatty():
        yield progress
        return
    with tqdm(desc=name, unit="B", unit_scale=True, position=number + 1, leave=False) as shown:

        def show(done: int, total: int) -> None:
            shown.total = total or None
            shown.update(done - shown.n)
            if progress:
                progress(done, total)

        yield show
