"""A job on a cluster's worker: only where it gives the bytes that it gives here.

A worker has to run one job at a time on one thread, the same code and the same versions of whatever decides bytes as
the machine that sends the job; anything else is refused with one line. Nothing here knows Prefect, Dask or Ray.
"""

import functools
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from c2p.data.scene import versions
from tasks.closure import code_digest
from tasks.shard_map import THREADS

J = TypeVar("J")
R = TypeVar("R")

LIBRARIES = (
    "embreex",
    "numba",
    "numpy",
    "pillow",
    "pyarrow",
    "pytorch3d",
    "torch",
    "trimesh",
    "warp-lang",
    "webdataset",
)


class UnequalWorker(ValueError):
    """A worker of the cluster that can't be trusted to make the same bytes."""


@dataclass(frozen=True)
class Equipment:
    """What decides bytes besides a job: the code of its module, Python, and the libraries."""

    code: str
    python: str
    libraries: tuple[tuple[str, str], ...]


@functools.cache
def equipment(module: str) -> Equipment:
    """That of this machine, for the jobs of a module of the project."""
    python = ".".join(platform.python_version_tuple()[:2])
    return Equipment(code_digest(module), python, tuple(versions(*LIBRARIES).items()))


def run_job(function: Callable[[J], R], job: J, expected: Equipment) -> R:
    """Run a job on this worker.

    Raises what the job raises. UnequalWorker: threads, code or versions differ from `expected`.
    """
    check_worker(function.__module__, expected)
    return function(job)


def check_worker(module: str, expected: Equipment) -> None:
    """Raises UnequalWorker: this process has more than one thread for numbers, or other code or versions."""
    for name in THREADS:
        if (threads := os.environ.get(name, "not set")) != "1":
            raise UnequalWorker(
                f"worker {platform.node()}: {name} is {threads}; allowed: 1, since bytes may vary with the number of "
                "threads; set it where the workers start"
            )
    have = equipment(module)
    if have == expected:
        return
    told = [
        f"{name} {mine} for {theirs}"
        for (name, theirs), (_, mine) in zip(expected.libraries, have.libraries, strict=True)
        if mine != theirs
    ]
    if have.python != expected.python:
        told.append(f"Python {have.python} for {expected.python}")
    if have.code != expected.code:
        told.append(f"other code of c2p in {sys.modules[__name__].__file__}")
    raise UnequalWorker(f"worker {platform.node()} has {', '.join(told)}; install the same there and start it anew")
