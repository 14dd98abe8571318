"""One array of every sample of a split, read shard by shard: what training wants before its first step."""

from collections.abc import Sequence
from contextlib import ExitStack
from io import FileIO
from itertools import groupby
from pathlib import Path

import numpy as np

from c2p.data.places import Place, is_url
from c2p.data.tars import decode_npy, read_range

_ORDINARY = b"'fortran_order': False"


def read_arrays(shards: Sequence[Place], offsets: Sequence[int], sizes: Sequence[int]) -> np.ndarray:
    """Members that are .npy files of one shape and type, stacked: (N, ...).

    shards, offsets, sizes: of each member, the file it lies in and its bytes there.
    Raises ValueError: there are none, a file ends within a member, or shapes or types differ.
    """
    if not shards:
        raise ValueError("arrays: got none; allowed: at least one member")
    pattern = read_range(shards[0], offsets[0], sizes[0])
    first = decode_npy(pattern)
    head = pattern[: len(pattern) - first.nbytes]
    stacked = np.empty((len(shards), *first.shape), first.dtype)
    flat = stacked.reshape(len(shards), -1).view(np.uint8)
    for shard, numbers in groupby(range(len(shards)), key=lambda number: shards[number]):
        with ExitStack() as stack:
            local = not is_url(shard) and _ORDINARY in head
            file = stack.enter_context(Path(shard).open("rb", buffering=0)) if local else None
            for number in numbers:
                offset, size = offsets[number], sizes[number]
                if file is None or size != len(pattern) or not _fill(file, offset, head, flat[number].data):
                    stacked[number] = _checked(decode_npy(read_range(shard, offset, size)), first, shard)
    return stacked


def _fill(file: FileIO, offset: int, head: bytes, out: memoryview) -> bool:
    """Read an array right into its place; False where it is not all there or begins otherwise than `head`."""
    file.seek(offset)
    return file.read(len(head)) == head and file.readinto(out) == len(out)


def _checked(array: np.ndarray, first: np.ndarray, shard: Place) -> np.ndarray:
    if array.shape != first.shape or array.dtype != first.dtype:
        told = f"{array.dtype} {array.shape} beside {first.dtype} {first.shape}"
        raise ValueError(f"{shard}: arrays that differ in shape or type ({told}); make the shards again")
    return array
