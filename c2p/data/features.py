"""Image features of every RGB view under the frozen teacher: computed once, in half precision."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from c2p.data.manifest import Manifest


@dataclass(frozen=True)
class ImageFeatures:
    """Features of one split, in the manifest's order."""

    keys: tuple[str, ...]
    values: np.ndarray
    """(N, V, C) float16, not normalised."""

    @property
    def digest(self) -> str:
        """SHA-256 of keys and values."""
        return hashlib.sha256("\n".join(self.keys).encode() + np.ascontiguousarray(self.values).tobytes()).hexdigest()


def write_feature_part(path: Path, values: np.ndarray) -> None:
    """Write one shard's features (n, V, C) as float16."""
    with path.open("wb") as file:
        np.save(file, values.astype(np.float16))


def read_features(folder: Path, manifest: Manifest, split: str) -> ImageFeatures:
    """Features of a split, checked against the manifest they were made from.

    Raises ValueError: they are absent or belong to other shards, or the split is empty.
    """
    rows = manifest.split(split)
    if not rows:
        raise ValueError(f"{manifest.folder}: no sample in split {split!r}; build the shards with `dvc repro shards`")
    parts = []
    for name, count in Counter(row["shard"] for row in rows).items():
        path = folder / f"{name.removesuffix('.tar')}.npy"
        if not path.is_file():
            raise ValueError(f"{path}: no such features; make them with `dvc repro features`")
        values = np.load(path, allow_pickle=False)
        if len(values) != count:
            raise ValueError(
                f"{path}: {len(values)} features for {count} samples; make them again: dvc repro -f features"
            )
        parts.append(values)
    return ImageFeatures(tuple(row["key"] for row in rows), np.concatenate(parts))
