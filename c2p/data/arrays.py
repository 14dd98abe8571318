"""One array of every sample of a split, read shard by shard: what training wants before its first step.

Letters: N members, L bytes of each.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
import pyarrow as pa

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
    head = np.frombuffer(pattern, np.uint8, len(pattern) - first.nbytes)
    stacked = np.empty((len(shards), *first.shape), first.dtype)
    flat = stacked.reshape(len(shards), -1).view(np.uint8)
    for shard, begin, end in _runs(shards):
        members = _members(shard, np.asarray(offsets[begin:end]), np.asarray(sizes[begin:end]), len(pattern))
        ordinary = np.zeros(end - begin, bool)
        if members is not None and _ORDINARY in head.tobytes():
            ordinary = (members[:, : len(head)] == head).all(1)
            flat[begin:end] = members[:, len(head) :]
        for number in (begin + np.flatnonzero(~ordinary)).tolist():
            array = decode_npy(read_range(shard, offsets[number], sizes[number]))
            if array.shape != first.shape or array.dtype != first.dtype:
                told = f"{array.dtype} {array.shape} beside {first.dtype} {first.shape}"
                raise ValueError(f"{shard}: arrays that differ in shape or type ({told}); make the shards again")
            stacked[number] = array
    return stacked


def _runs(shards: Sequence[Place]) -> Iterator[tuple[Place, int, int]]:
    """Each shard with the first and one past the last of its members."""
    end = 0
    for shard, members in groupby(shards):
        begin, end = end, end + sum(1 for _ in members)
        yield shard, begin, end


def _members(shard: Place, offsets: np.ndarray, sizes: np.ndarray, size: int) -> np.ndarray | None:
    """Bytes of members (N, L), copied without Python's lock; None: not of one size, or not all there and in order.

    Arrow takes the file, mapped, for a column of texts whose every second one is a member and the others what lies
    between.
    """
    bounds = np.stack([offsets, offsets + sizes], 1).reshape(-1).astype(np.int64)
    if is_url(shard) or (sizes != size).any() or (np.diff(bounds) < 0).any():
        return None
    with pa.memory_map(str(shard)) as file:
        data = file.read_buffer()
        if bounds[-1] > data.size:
            return None
        column = pa.Array.from_buffers(pa.large_binary(), len(bounds) - 1, [None, pa.py_buffer(bounds), data])
        taken = column.take(pa.array(np.arange(0, len(bounds), 2)))
    return np.frombuffer(taken.buffers()[2], np.uint8, len(offsets) * size).reshape(len(offsets), size)
