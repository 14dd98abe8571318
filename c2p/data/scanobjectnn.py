"""ScanObjectNN: clouds of scanned objects in h5 files (`data` (N, 2048, 3), `label` (N,)), y up.

The files lie in a folder, or in the archive `h5_files.zip` there, as it is handed out.
"""

import io
import math
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from c2p.data.archive import open_archive
from c2p.data.vocabulary import SCANOBJECTNN

VARIANTS = {
    "scanobjectnn_obj_only": "main_split_nobg/{}_objectdataset.h5",
    "scanobjectnn_obj_bg": "main_split/{}_objectdataset.h5",
    "scanobjectnn_pb_t50_rs": "main_split/{}_objectdataset_augmentedrot_scale75.h5",
}
"""The three published variants: file of each, with the split (training or test) to fill in."""
ARCHIVE = "h5_files.zip"
MAX_BYTES = 2 << 30
"""Of a dataset once read; the largest published one has 0.28 GB. HDF5 compresses: a small file may hold any size."""
_KINDS = "iuf"


def read_split(folder: Path, variant: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Clouds (N, P, 3) float32 and labels (N,) int64 of a variant's `train` or `test` split.

    Nothing outside the file is read: links, external storage and virtual datasets are refused, as is anything but
    numbers.
    Raises ValueError: no such file, not HDF5, keys absent, wrong kinds or shapes, labels outside the 15 classes, bad
    numbers; ArchiveError: the archive can't be read.
    """
    name = VARIANTS[variant].format({"train": "training", "test": "test"}[split])
    path = folder / name
    if path.is_file():
        points, labels = _read(path, path)
    elif (folder / ARCHIVE).is_file():
        member = _member(folder / ARCHIVE, name)
        path = folder / ARCHIVE / member
        points, labels = _read(io.BytesIO(open_archive(folder / ARCHIVE).read(member)), path)
    else:
        raise ValueError(
            f"{path}: no such file, nor {ARCHIVE} in {folder}; run the download stage (dvc repro download)"
        )
    if points.ndim != 3 or points.shape[2] != 3 or len(points) != len(labels) or len(points) == 0:
        raise ValueError(f"{path}: data {points.shape} and label {labels.shape}; allowed: (N, P, 3) and (N,), N > 0")
    if not (np.isfinite(labels).all() and np.array_equal(labels, labels.astype(np.int64))):
        raise ValueError(f"{path}: labels that are not whole numbers; fetch it again")
    if labels.min() < 0 or labels.max() >= len(SCANOBJECTNN):
        raise ValueError(f"{path}: labels {labels.min()} to {labels.max()}; allowed: 0 to {len(SCANOBJECTNN) - 1}")
    if not np.isfinite(points).all():
        raise ValueError(f"{path}: points that are not finite; fetch it again")
    return points.astype(np.float32), labels.astype(np.int64)


def present_classes(labels: np.ndarray, *, complete: bool, path: Path) -> tuple[int, ...]:
    """Indices of the official classes that occur.

    complete: all have to. Raises ValueError: a class without objects.
    """
    present = tuple(int(label) for label in np.unique(labels))
    missing = [name for index, name in enumerate(SCANOBJECTNN) if index not in present]
    if complete and missing:
        raise ValueError(f"{path}: class {missing[0]!r} has no object; ScanObjectNN has 15 classes: fetch it again")
    return present


def _member(archive: Path, name: str) -> str:
    """The member of the archive that is a published file, below whatever folders."""
    found = [member for member in open_archive(archive).names if f"/{member}".endswith(f"/{name}")]
    if len(found) != 1:
        raise ValueError(f"{archive}: {len(found)} members end in {name}; allowed: one; ask for the archive again")
    return found[0]


def _read(file: Path | BinaryIO, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Points and labels (flat) of an open file; `path` is its name in messages."""
    try:
        with h5py.File(file, "r") as opened:
            names = set(opened)  # iterating reads names only; `in` would follow a link
            missing = [key for key in ("data", "label") if key not in names]
            if missing:
                raise ValueError(f"{path}: no dataset {missing[0]!r}; found: {', '.join(sorted(names)) or 'none'}")
            return _values(opened, "data", path), _values(opened, "label", path).reshape(-1)
    except (OSError, RuntimeError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a readable HDF5 file ({' '.join(str(error).split())}); fetch it again") from None


def _values(file: Any, name: str, path: Path) -> np.ndarray:
    """The numbers of a dataset that lies in the file itself."""
    link = file.get(name, getlink=True)
    if not isinstance(link, h5py.HardLink):
        raise ValueError(f"{path}: {name!r} is a link to elsewhere; allowed: a dataset of the file's own")
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.shape is None:
        raise ValueError(f"{path}: {name!r} is no dataset of numbers")
    if dataset.is_virtual or dataset.external:
        raise ValueError(f"{path}: {name!r} has its values in other files; allowed: a dataset of the file's own")
    if dataset.dtype.kind not in _KINDS or dataset.dtype.fields or dataset.dtype.subdtype:
        raise ValueError(f"{path}: {name!r} holds {dataset.dtype}; allowed: whole numbers and floats")
    size = math.prod(dataset.shape) * dataset.dtype.itemsize
    if size > MAX_BYTES:
        raise ValueError(f"{path}: {name!r} of shape {dataset.shape} has {size} bytes; allowed: up to {MAX_BYTES}")
    return np.asarray(dataset[()])
