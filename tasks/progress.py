"""Progress of long work that has no parts, such as a training: told by the work, shown by whoever runs it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[str, int, int], None]
"""Called with (what it is, steps done, steps in all)."""

_LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)


def tell(what: str, done: int, total: int) -> None:
    """Say how far the work is."""
    listener = _LISTENER.get()
    if listener is not None:
        listener(what, done, total)


@contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Let `listener` hear what is told inside the block."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


@contextmanager
def shown_on_terminal() -> Iterator[None]:
    """A bar on standard error where that is a terminal."""
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    if not sys.stderr.isatty():
        yield
        return
    bars: list[tqdm] = []

    def show(what: str, done: int, total: int) -> None:
        if not bars:
            bars.append(tqdm(initial=done, total=total, desc=what))
        bars[0].update(done - bars[0].n)

    try:
        with logging_redirect_tqdm(), heard_by(show):
            yield
    finally:
        for bar in bars:
            bar.close()
