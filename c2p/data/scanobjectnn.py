"""ScanObjectNN: clouds of scanned objects in h5 files (`data` (N, 2048, 3), `label` (N,)), y up."""

from pathlib import Path

import h5py
import numpy as np

from c2p.data.vocabulary import SCANOBJECTNN

VARIANTS = {
    "scanobjectnn_obj_only": "main_split_nobg/{}_objectdataset.h5",
    "scanobjectnn_obj_bg": "main_split/{}_objectdataset.h5",
    "scanobjectnn_pb_t50_rs": "main_split/{}_objectdataset_augmentedrot_scale75.h5",
}
"""The three published variants: file of each, with the split (training or test) to fill in."""


def read_split(folder: Path, variant: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Clouds (N, P, 3) float32 and labels (N,) int64 of a variant's `train` or `test` split.

    Raises ValueError: no such file, not HDF5, keys absent, wrong shapes, labels outside the 15 classes, bad numbers.
    """
    path = folder / VARIANTS[variant].format({"train": "training", "test": "test"}[split])
    if not path.is_file():
        raise ValueError(f"{path}: no such file; ScanObjectNN's h5_files folder has it: place it there")
    try:
        with h5py.File(path, "r") as file:
            missing = [key for key in ("data", "label") if key not in file]
            if missing:
                raise ValueError(f"{path}: no dataset {missing[0]!r}; found: {', '.join(sorted(file)) or 'none'}")
            points, labels = np.asarray(file["data"]), np.asarray(file["label"]).reshape(-1)
    except OSError as error:
        raise ValueError(f"{path}: not a readable HDF5 file ({error}); fetch it again") from None
    if points.ndim != 3 or points.shape[2] != 3 or len(points) != len(labels) or len(points) == 0:
        raise ValueError(f"{path}: data {points.shape} and label {labels.shape}; allowed: (N, P, 3) and (N,), N > 0")
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
