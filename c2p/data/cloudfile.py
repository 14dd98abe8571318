"""Files of labelled clouds: `data` (N, P, 3) and `label` (N,) in HDF5 or NumPy's npz, read as data and nothing else.

Nothing outside a file is read and nothing in it is executed: links, external storage, virtual datasets and pickles are
refused, and so is what would be too large once unpacked.
"""

import io
import math
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

MAX_BYTES = 2 << 30
"""Of an array once read; the largest of ScanObjectNN has 0.28 GB. Both formats compress: a small file may hold any
size."""
REQUIRED = ("data", "label")
ENDINGS = (".h5", ".hdf5", ".npz")
_NUMBERS = "iuf"
_TEXTS = "US"
_HEAD = 4096
"""Bytes that hold an array's head; NumPy writes 128 for plain types."""
_UNREADABLE = (OSError, RuntimeError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error)


def read_arrays(path: Path, texts: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """`data` and `label` as numbers, and those of `texts` that the file has as arrays of text.

    Raises ValueError: another ending, not readable, keys absent, wrong kinds, too large.
    """
    if path.suffix.lower() not in ENDINGS:
        raise ValueError(f"{path}: clouds in a {path.suffix or 'nameless'} file; allowed: {', '.join(ENDINGS)}")
    return _read_npz(path, texts) if path.suffix.lower() == ".npz" else read_hdf5(path, path, texts)


def read_hdf5(file: Path | BinaryIO, path: Path, texts: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """As read_arrays, from an open HDF5 file; `path` is its name in messages."""
    try:
        with h5py.File(file, "r") as opened:
            names = set(opened)  # iterating reads names only; `in` would follow a link
            _require(names, path)
            arrays = {name: _numbers(opened, name, path) for name in REQUIRED}
            return arrays | {name: _texts(opened, name, path) for name in texts if name in names}
    except _UNREADABLE as error:
        raise ValueError(f"{path}: not a readable HDF5 file ({' '.join(str(error).split())}); fetch it again") from None


def check_clouds(arrays: Mapping[str, np.ndarray], path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Clouds (N, P, 3) float32 and labels (N,) int64 of a file's arrays.

    Raises ValueError: wrong shapes, no objects, labels that are no whole numbers, points that are not finite.
    """
    points, labels = arrays["data"], arrays["label"].reshape(-1)
    if points.ndim != 3 or points.shape[2] != 3 or len(points) != len(labels) or len(points) == 0:
        raise ValueError(f"{path}: data {points.shape} and label {labels.shape}; allowed: (N, P, 3) and (N,), N > 0")
    if not (np.isfinite(labels).all() and np.array_equal(labels, labels.astype(np.int64))):
        raise ValueError(f"{path}: labels that are not whole numbers; fetch it again")
    with np.errstate(over="ignore"):
        points = points.astype(np.float32)
    if not np.isfinite(points).all():
        raise ValueError(f"{path}: points that are not finite; fetch it again")
    return points, labels.astype(np.int64)


def _require(names: set[str], path: Path) -> None:
    missing = [key for key in REQUIRED if key not in names]
    if missing:
        raise ValueError(f"{path}: no dataset {missing[0]!r}; found: {', '.join(sorted(names)) or 'none'}")


def _numbers(file: Any, name: str, path: Path) -> np.ndarray:
    dataset = own_dataset(file, name, path)
    if dataset.dtype.kind not in _NUMBERS or dataset.dtype.fields or dataset.dtype.subdtype:
        raise ValueError(f"{path}: {name!r} holds {dataset.dtype}; allowed: whole numbers and floats")
    check_size(name, dataset.shape, dataset.dtype, path)
    return np.asarray(dataset[()])


def _texts(file: Any, name: str, path: Path) -> np.ndarray:
    dataset = own_dataset(file, name, path)
    if h5py.check_string_dtype(dataset.dtype) is None or dataset.ndim != 1:
        raise ValueError(f"{path}: {name!r} holds {dataset.dtype} of shape {dataset.shape}; allowed: a list of texts")
    check_size(name, dataset.shape, dataset.dtype, path)
    return np.array(dataset.asstr()[()], dtype=str)


def own_dataset(file: Any, name: str, path: Path) -> Any:
    """A dataset that lies in the open HDF5 file itself, not read yet.

    Raises ValueError: it is none, or a link, virtual or in other files.
    """
    link = file.get(name, getlink=True)
    if not isinstance(link, h5py.HardLink):
        raise ValueError(f"{path}: {name!r} is a link to elsewhere; allowed: a dataset of the file's own")
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.shape is None:
        raise ValueError(f"{path}: {name!r} is no dataset of numbers")
    if dataset.is_virtual or dataset.external:
        raise ValueError(f"{path}: {name!r} has its values in other files; allowed: a dataset of the file's own")
    return dataset


def check_size(name: str, shape: tuple[int, ...], dtype: np.dtype, path: Path) -> None:
    """Raise ValueError where an array of this shape would be larger than MAX_BYTES."""
    size = math.prod(shape) * dtype.itemsize
    if size > MAX_BYTES:
        raise ValueError(f"{path}: {name!r} of shape {shape} has {size} bytes; allowed: up to {MAX_BYTES}")


def _read_npz(path: Path, texts: Sequence[str]) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.removesuffix(".npy") for name in archive.namelist()}
            _require(names, path)
            wanted = {name: _NUMBERS for name in REQUIRED} | {name: _TEXTS for name in texts if name in names}
            return {name: _member(archive, name, kinds, path) for name, kinds in wanted.items()}
    except _UNREADABLE as error:
        raise ValueError(f"{path}: not a readable npz file ({' '.join(str(error).split())}); write it again") from None


def _member(archive: zipfile.ZipFile, name: str, kinds: str, path: Path) -> np.ndarray:
    """An array of an npz whose head was looked at before any of it is unpacked."""
    allowed = "whole numbers and floats" if kinds == _NUMBERS else "a list of texts"
    with archive.open(f"{name}.npy") as file:
        head = file.read(_HEAD)
    shape, dtype = array_head(head, name, path)
    if dtype.kind not in kinds or dtype.fields or (kinds == _TEXTS and len(shape) != 1):
        raise ValueError(f"{path}: {name!r} holds {dtype} of shape {shape}; allowed: {allowed}")
    check_size(name, shape, dtype, path)
    with archive.open(f"{name}.npy") as file:
        data = file.read(len(head) + math.prod(shape) * dtype.itemsize)
    try:
        values = np.load(io.BytesIO(data), allow_pickle=False)
    except ValueError as error:
        raise ValueError(f"{path}: {name!r} can't be read ({' '.join(str(error).split())}); write it again") from None
    return np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values


def array_head(head: bytes, name: str, path: Path) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of an array, by the head of its .npy.

    Raises ValueError: it is none.
    """
    file = io.BytesIO(head)
    try:
        version = np.lib.format.read_magic(file)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, _, dtype = read(file)
    except (ValueError, KeyError) as error:
        raise ValueError(f"{path}: {name!r} is no array ({' '.join(str(error).split())}); write it again") from None
    return shape, dtype
