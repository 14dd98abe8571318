"""ScanObjectNN: clouds of scanned objects in h5 files (`data` (N, 2048, 3), `label` (N,)), y up.

The files lie in a folder, or in the archive `h5_files.zip` there, as it is handed out.
"""

import io
from pathlib import Path

import numpy as np

from c2p.data.archive import open_archive
from c2p.data.cloudfile import check_clouds, read_hdf5
from c2p.data.vocabulary import SCANOBJECTNN

VARIANTS = {
    "scanobjectnn_obj_only": "main_split_nobg/{}_objectdataset.h5",
    "scanobjectnn_obj_bg": "main_split/{}_objectdataset.h5",
    "scanobjectnn_pb_t50_rs": "main_split/{}_objectdataset_augmentedrot_scale75.h5",
}
"""The three published variants: file of each, with the split (training or test) to fill in."""
ARCHIVE = "h5_files.zip"


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
        arrays = read_hdf5(path, path)
    elif (folder / ARCHIVE).is_file():
        member = _member(folder / ARCHIVE, name)
        path = folder / ARCHIVE / member
        arrays = read_hdf5(io.BytesIO(open_archive(folder / ARCHIVE).read(member)), path)
    else:
        raise ValueError(
            f"{path}: no such file, nor {ARCHIVE} in {folder}; run the download stage (dvc repro download)"
        )
    points, labels = check_clouds(arrays, path)
    if labels.min() < 0 or labels.max() >= len(SCANOBJECTNN):
        raise ValueError(f"{path}: labels {labels.min()} to {labels.max()}; allowed: 0 to {len(SCANOBJECTNN) - 1}")
    return points, labels


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
