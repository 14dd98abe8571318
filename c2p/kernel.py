"""Compiled loops: numba turns a function over numpy arrays into machine code at its first call.

Without fast-math, so that a kernel's bits are those of the same loop in Python, on every machine.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., object])


def kernel(function: F) -> F:
    """Compile a function at its first call with given types; it releases the GIL and divides as numpy does.

    The machine code is kept beside the source, as Python keeps its own; where that folder can't be written, each
    process compiles anew, and nothing is written elsewhere.
    """
    keep = "NUMBA_CACHE_DIR" in os.environ or os.access(Path(function.__code__.co_filename).parent, os.W_OK)
    return cast(F, numba.njit(cache=keep, nogil=True, error_model="numpy")(function))
