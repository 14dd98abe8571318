"""Image features of every RGB view under the frozen teacher: computed once, in half precision."""

import hashlib
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
        raise ValueError(
            f"{folder}: {len(values)} features for {len(rows)} samples; make them again: dvc repro -f features"
        )
    return ImageFeatures(tuple(row["key"] for row in rows), values)
