"""Image features of every RGB view under the frozen teacher: computed once, in half precision."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from c2p.data.files import write_atomic, write_json
from c2p.data.manifest import Manifest


@dataclass(frozen=True)
class ImageFeatures:
    """Features of one split, in the manifest's order."""

    keys: tuple[str, ...]
    values: np.ndarray
    """(N, V, C) float16, not normalised."""


def write_feature_part(path: Path, values: np.ndarray) -> None:
    """Write one shard's features (n, V, C) as float16."""
    with path.open("wb") as file:
        np.save(file, values.astype(np.float16))


def write_index(folder: Path, shards: dict[str, list[str]]) -> Path:
    """Record which keys each feature file holds, in order."""
    return write_json(folder / "index.json", shards)


def read_features(folder: Path, manifest: Manifest, split: str) -> ImageFeatures:
    """Features of a split, checked against the manifest they were made from.

    Raises ValueError: they belong to other shards.
    """
    rows = manifest.split(split)
    names = list(dict.fromkeys(row["shard"] for row in rows))
    paths = [folder / f"{name.removesuffix('.tar')}.npy" for name in names]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise ValueError(f"{missing[0]}: no such features; make them with `dvc repro features`")
    values = np.concatenate([np.load(path, allow_pickle=False) for path in paths])
    if len(values) != len(rows):
        raise ValueError(f"{folder}: {len(values)} features for {len(rows)} samples; make them again: dvc repro -f features")
    return ImageFeatures(tuple(row["key"] for row in rows), values)


def write_text_features(path: Path, values: np.ndarray) -> Path:
    """Write prompt features (K, C) float32 atomically."""

    def save(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.save(file, values.astype(np.float32))

    return write_atomic(path, save)
