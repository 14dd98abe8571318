"""Point clouds in the files that people have: numpy's, HDF5, PLY without faces, text.

P points, N clouds. A row of a cloud has 3 to 12 numbers; x, y and z come first, normals or colours are not read.
"""

import io
import math
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from c2p.data.cloudfile import MAX_BYTES, array_head, check_size, own_dataset

EXTENSIONS = ("npy", "npz", "ply", "xyz", "txt", "pts", "h5", "hdf5")
COLUMNS = (3, 12)
"""Numbers a point, from and to."""
MAX_POINTS = 20_000_000
NUMBERS = "iuf"
"""Kinds of numpy's that count as numbers."""
HEAD = 4096
"""Bytes that hold an array's head; numpy writes 128."""
DATA = "data"
"""Dataset of an HDF5 file that is read where none is named, as ScanObjectNN and ModelNet's h5 files have it."""
_COUNT = re.compile(r"\s*(\d+)[ \t]*\r?\n")
"""First line of a .pts file that says how many points follow."""


class CloudError(ValueError):
    """A file that holds no cloud, or not the one asked for; the message is the reason in a few words."""


def load_cloud(data: bytes, extension: str, *, part: str = "") -> np.ndarray:
    """Read a cloud from a file's bytes.

    extension: one of EXTENSIONS, in any case, with or without dot. part: what of the file is meant where it holds
    several: an array's name (.npz, HDF5), a row of an array (N, P, 3), or both as `NAME:ROW`; empty: its only one.
    Returns (P, 3) float32 or float64, finite, in the file's own frame and unit.
    Raises CloudError: not such a file, no such part, another shape, more than MAX_POINTS, numbers that are not finite.
    """
    kind = extension.lower().lstrip(".")
    name, row = _parsed(part)
    if kind == "npy":
        values = _picked(_npy(data), row, part="")
    elif kind == "npz":
        values = _npz(data, name, row)
    elif kind in ("h5", "hdf5"):
        values = _hdf5(data, name or DATA, row)
    elif kind in ("xyz", "txt", "pts"):
        values = _picked(_text(data), row, part="")
    elif kind == "ply":
        values = _picked(_ply(data), row, part="")
    else:
        raise CloudError(f"cloud file extension {extension!r}; allowed: {', '.join(EXTENSIONS)}")
    if name and kind not in ("npz", "h5", "hdf5"):
        raise CloudError(f"no part {name!r}: a .{kind} file holds one array")
    return check_cloud(values)


def check_cloud(values: np.ndarray) -> np.ndarray:
    """The coordinates of a cloud: (P, 3 to 12) numbers to (P, 3) float32, or float64 where they were that or integers.

    Raises CloudError: another shape, no points or too many, not numbers, not finite, or all in one place.
    """
    low, high = COLUMNS
    if values.ndim != 2 or not low <= values.shape[1] <= high:
        raise CloudError(f"an array of shape {values.shape}; allowed: (P, 3), or up to (P, {high}) with x, y, z first")
    _check_numbers(values.dtype, "the array")
    if not 1 <= len(values) <= MAX_POINTS:
        raise CloudError(f"{len(values)} points; allowed: 1 to {MAX_POINTS}")
    points = values[:, :3].astype(np.float32 if values.dtype in (np.float16, np.float32) else np.float64)
    broken = int((~np.isfinite(points)).any(1).sum())
    if broken:
        raise CloudError(f"{broken} of {len(points)} points are not finite; remove them")
    if (points == points[0]).all():
        raise CloudError(f"all {len(points)} points lie in one place")
    return points


def is_point_ply(data: bytes) -> bool:
    """Whether a PLY file announces no faces.

    Raises ValueError or others: its header can't be read.
    """
    from c2p.geometry.counts import count_elements

    faces, _ = count_elements(data, "ply", MAX_POINTS)
    return faces == 0


def _parsed(part: str) -> tuple[str, int | None]:
    """Name and row of a part; empty and None where it doesn't say."""
    name, _, row = part.rpartition(":")
    if not row.isdecimal():
        return part, None
    return name, int(row)


def _picked(values: np.ndarray, row: int | None, *, part: str) -> np.ndarray:
    """One cloud of an array that may hold several."""
    shown = f"{part}:" if part else ""
    if values.ndim == 3:
        if row is None:
            raise CloudError(f"{len(values)} clouds; name one: FILE:{shown}0 to FILE:{shown}{len(values) - 1}")
        if row >= len(values):
            raise CloudError(f"no cloud {row}; allowed: 0 to {len(values) - 1}")
        return np.asarray(values[row])
    if row is not None:
        raise CloudError(f"no cloud {row}: an array of shape {values.shape} is not (N, P, 3)")
    return values


def _npy(data: bytes) -> np.ndarray:
    try:
        shape, dtype = array_head(data[:HEAD], "the array", Path("npy"))
        _check_numbers(dtype, "the array")
        if math.prod(shape) * dtype.itemsize > len(data):  # numpy would take the memory before it looked
            raise CloudError(f"cut short: an array of shape {shape} in {len(data)} bytes")
        values: np.ndarray = np.load(io.BytesIO(data), allow_pickle=False)
        return values
    except CloudError:
        raise
    except (ValueError, EOFError, OSError, TypeError) as error:
        raise CloudError(f"not an .npy file ({_line(error).removeprefix('npy: ')})") from None


def _npz(data: bytes, name: str, row: int | None) -> np.ndarray:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            arrays = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            if name and name not in arrays:
                raise CloudError(f"no array {name!r}; found: {', '.join(sorted(arrays)) or 'none'}")
            if not name and len(arrays) != 1:
                raise CloudError(f"{len(arrays)} arrays; name one: FILE:{sorted(arrays)[0] if arrays else 'NAME'}")
            wanted = name or next(iter(arrays))
            if arrays[wanted].file_size > MAX_BYTES:
                raise CloudError(f"array {wanted!r} has {arrays[wanted].file_size} bytes; allowed: up to {MAX_BYTES}")
            content = archive.read(arrays[wanted])
    except CloudError:
        raise
    except Exception as error:  # hostile bytes meet zipfile and its decompressors
        raise CloudError(f"not an .npz file ({_line(error)})") from None
    return _picked(_npy(content), row, part=wanted if name else "")


def _hdf5(data: bytes, name: str, row: int | None) -> np.ndarray:
    import h5py

    place = Path("HDF5")
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            known = sorted(file)  # names only: `in` would follow a link
            if name not in known:
                raise CloudError(f"no dataset {name!r}; found: {', '.join(known) or 'none'}; name one: FILE:NAME")
            dataset = own_dataset(file, name, place)
            _check_numbers(dataset.dtype, f"{name!r}")
            one = dataset.ndim == 3 and row is not None and row < len(dataset)
            check_size(name, dataset.shape[1:] if one else dataset.shape, dataset.dtype, place)
            if one:
                return np.asarray(dataset[row])
            return _picked(np.asarray(dataset[()]), row, part="" if name == DATA else name)
    except CloudError:
        raise
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise CloudError(f"not a readable HDF5 file ({_line(error)})") from None


def _text(data: bytes) -> np.ndarray:
    try:
        text = data.decode("utf-8-sig").replace(",", " ").replace(";", " ")
    except UnicodeDecodeError:
        raise CloudError("not a text of numbers") from None
    announced = _COUNT.match(text)
    rest = text[announced.end() :] if announced else text
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy warns of empty files
            values = np.loadtxt(io.StringIO(rest), dtype=np.float64, comments=["#", "//"], ndmin=2)
    except ValueError as error:
        raise CloudError(f"not a text of numbers ({_line(error)})") from None
    if announced and len(values) != int(announced[1]):
        raise CloudError(f"{len(values)} points, where the first line announces {announced[1]}")
    return values


def _ply(data: bytes) -> np.ndarray:
    import trimesh

    try:
        if not is_point_ply(data):
            raise CloudError("a mesh, no cloud")
        found: Any = trimesh.load(io.BytesIO(data), file_type="ply", process=False)
        values: np.ndarray = np.asarray(found.vertices)
        return values
    except CloudError:
        raise
    except MemoryError:
        raise
    except Exception as error:  # hostile bytes meet a parser
        raise CloudError(f"not a readable PLY file ({_line(error)})") from None


def _check_numbers(dtype: np.dtype, name: str) -> None:
    if dtype.kind not in NUMBERS or dtype.fields or dtype.subdtype:
        raise CloudError(f"{name} holds {dtype}; allowed: whole numbers and floats")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
