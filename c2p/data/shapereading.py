"""Reading many shapes at once, in worker processes, for encoders that read farthest points."""

import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np

from c2p.data.cloudformats import CloudError
from c2p.data.models import UpAxis
from c2p.data.shapes import ShapeError, open_shape, standard_cloud
from c2p.params import Render

ALONE = 8
"""Up to so many shapes are read in this process: workers take a second to start."""
AT_ONCE = 4
"""Shapes that a worker gets at a time."""

WAITING = 2048
"""Clouds that may wait for the encoder: 25 MB."""


class ReadersDied(RuntimeError):
    """A worker process was killed; the message is one line."""


@dataclass(frozen=True)
class Reading:
    """How shapes are read."""

    render: Render
    points: int
    """Farthest points kept."""
    up: UpAxis


@dataclass(frozen=True)
class Read:
    """What came of one shape."""

    cloud: np.ndarray | None
    """(points, 3) float32, unit sphere, y up; None: it can't be used."""
    reason: str
    """Why it can't be used; empty: it can."""
    lasting: bool
    """Whether the reason lies in the file's content, and not in a disk that failed or memory that ran out."""


def read_clouds(addresses: Sequence[str], reading: Reading, *, workers: int) -> Iterator[Read]:
    """Read shapes and choose their farthest points; results come in the order of the addresses, whatever the workers.

    Raises ReadersDied: a worker was killed.
    """
    if len(addresses) <= ALONE or workers <= 1:
        yield from (read_cloud(address, reading) for address in addresses)
        return
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_leave_interrupts_alone)
    try:
        for start in range(0, len(addresses), WAITING):
            some = addresses[start : start + WAITING]
            yield from pool.map(read_cloud, some, [reading] * len(some), chunksize=AT_ONCE)
    except BrokenProcessPool:
        raise ReadersDied(
            "a process that read shapes was killed, often for lack of memory; what was encoded is kept: run again with "
            "fewer workers (C2P_WORKERS=1)"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def read_cloud(address: str, reading: Reading) -> Read:
    """Read one shape."""
    try:
        shape = open_shape(address, reading.render, up=reading.up)
        return Read(standard_cloud(shape.points, reading.points), "", True)
    except (ShapeError, CloudError) as error:
        return Read(None, str(error).removeprefix(f"{address}: "), True)
    except (OSError, MemoryError) as error:
        return Read(None, " ".join(str(error).split()) or type(error).__name__, False)


def _leave_interrupts_alone() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
