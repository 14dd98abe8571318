"""Anybody's labelled clouds as a benchmark set: a training and a test file, or one file with a `split`.

Beside `data` and `label`, a file may have `label_names` (K,) texts in label order, `key` (N,) texts that name the
objects and, where one file has both splits, `split` (N,) of `train` and `test`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np

from c2p.data.benchmarks import Split
from c2p.data.cloudfile import check_clouds, read_arrays
from c2p.data.cloudpack import cloud_files

SPLITS: tuple[Split, ...] = ("train", "test")
_TEXTS = ("label_names", "key", "split")


@dataclass(frozen=True)
class Clouds:
    """One split as the files give it."""

    keys: tuple[str, ...]
    points: np.ndarray
    """(N, P, 3) float32, axes as in the file."""
    labels: np.ndarray
    """(N,) int64."""


def title_of(folder: Path) -> str:
    """What people call the set: its file, or what the names of its two files begin with."""
    stems = [path.stem for path in cloud_files(folder).values()]
    if len(stems) == 1:
        return stems[0]
    same = takewhile(lambda pair: pair[0] == pair[1], zip(*stems, strict=False))
    return re.sub(r"[\W_]*t?$", "", "".join(letter for letter, _ in same)) or "clouds"


def read_cloud_set(folder: Path, classes: Sequence[str]) -> tuple[tuple[str, ...], dict[Split, Clouds]]:
    """Class names in label order, and both splits of the files that take_clouds left in a folder.

    classes: names in label order; empty: those the files bring as `label_names`.
    Raises ValueError: files absent, as read_arrays and check_clouds, no class names or different ones, labels they
    don't cover, a class without objects in a split, a key of two objects, a `split` that is neither train nor test.
    """
    files = cloud_files(folder)
    arrays = {name: read_arrays(path, _TEXTS) for name, path in files.items()}
    names = tuple(classes) or _label_names(arrays, files)
    loaded = {name: check_clouds(of, files[name]) for name, of in arrays.items()}
    for name, (_, labels) in loaded.items():
        if labels.min() < 0 or labels.max() >= len(names):
            raise ValueError(
                f"{files[name]}: labels {labels.min()} to {labels.max()}; allowed: 0 to {len(names) - 1}, "
                f"the {len(names)} class names"
            )
    if "all" in files:
        whole, path = arrays["all"], files["all"]
        rows = {split: np.flatnonzero(of) for split, of in _split_rows(whole, len(loaded["all"][1]), path).items()}
        splits = {split: _clouds(split, whole, *loaded["all"], rows[split], path) for split in SPLITS}
    else:
        splits = {
            split: _clouds(split, arrays[split], *loaded[split], np.arange(len(loaded[split][1])), files[split])
            for split in SPLITS
        }
    _check_splits(splits, names, folder)
    return names, splits


def _label_names(arrays: dict[str, dict[str, np.ndarray]], files: dict[str, Path]) -> tuple[str, ...]:
    found = {name: tuple(of["label_names"].tolist()) for name, of in arrays.items() if "label_names" in of}
    if not found:
        raise ValueError(
            f"{next(iter(files.values()))}: no dataset 'label_names'; name the classes in label order: "
            "c2p profile use PROFILE --set 'download.clouds_classes=[chair, table]'"
        )
    if len(set(found.values())) > 1:
        raise ValueError(f"{files['test']}: other label_names than {files['train'].name}; allowed: the same in both")
    names = next(iter(found.values()))
    if len(set(names)) != len(names) or not all(name.strip() == name and name and "\n" not in name for name in names):
        raise ValueError(f"{next(iter(files.values()))}: label_names {', '.join(names)!r}; allowed: names that differ")
    return names


def _split_rows(arrays: dict[str, np.ndarray], count: int, path: Path) -> dict[Split, np.ndarray]:
    if "split" not in arrays:
        raise ValueError(
            f"{path}: no dataset 'split'; allowed: one file with `split` (N,) of train and test, or two files, "
            "training first"
        )
    given = arrays["split"]
    if len(given) != count or set(given.tolist()) - set(SPLITS):
        other = sorted(set(given.tolist()) - set(SPLITS))
        raise ValueError(
            f"{path}: split of {len(given)} entries for {count} objects, among them {other[:3]}; allowed: one entry an "
            "object, train or test"
        )
    return {split: given == split for split in SPLITS}


def _clouds(
    split: Split, arrays: dict[str, np.ndarray], points: np.ndarray, labels: np.ndarray, rows: np.ndarray, path: Path
) -> Clouds:
    if "key" not in arrays:
        return Clouds(tuple(f"{split}-{index:05d}" for index in range(len(rows))), points[rows], labels[rows])
    if len(arrays["key"]) != len(labels):
        raise ValueError(f"{path}: {len(arrays['key'])} keys for {len(labels)} objects; allowed: one an object")
    return Clouds(tuple(arrays["key"][rows].tolist()), points[rows], labels[rows])


def _check_splits(splits: dict[Split, Clouds], names: tuple[str, ...], folder: Path) -> None:
    for split, clouds in splits.items():
        if not clouds.keys:
            raise ValueError(f"{folder}: no object in the {split} split; allowed: objects of every class in both")
        absent = sorted(set(range(len(names))) - set(clouds.labels.tolist()))
        if absent:
            raise ValueError(
                f"{folder}: class {names[absent[0]]!r} (label {absent[0]}) has no {split} object; allowed: every class "
                "in both splits"
            )
    seen: set[str] = set()
    for key in (key for clouds in splits.values() for key in clouds.keys):
        if key in seen:
            raise ValueError(f"{folder}: two objects share the key {key!r}; allowed: keys that differ in both splits")
        seen.add(key)
