"""Features under the frozen teacher: of every RGB view, in half precision, and of every prompt; each computed once.

A folder holds `<shard>.npy` (n, V, C) float16 a shard, `text.npy` (K, T, C) float32, and `features.json`, which says
what they were made of. Letters: N samples, V view, C feature width, K class, T template.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from c2p.data.files import write_json
from c2p.data.manifest import Manifest
from c2p.data.places import join
from c2p.data.tars import read_range

FILE = "features.json"
TEXT_FILE = "text.npy"
VERSION = 1
_EXPONENT = np.uint16(0x7C00)
"""Bits of a half-precision number that are all set where it is not finite."""
_AGAIN = "make them again: dvc repro -f features"


class FeatureError(ValueError):
    """Features that are absent, damaged or of something else; the message is one line."""


@dataclass(frozen=True)
class ImageFeatures:
    """Features of one split, in the manifest's order."""

    keys: tuple[str, ...]
    values: np.ndarray
    """(N, V, C) float16, not normalised."""

    @property
    def digest(self) -> str:
        """SHA-256 of keys and values."""
        digest = hashlib.sha256("\n".join(self.keys).encode())
        digest.update(np.ascontiguousarray(self.values).data)
        return digest.hexdigest()


def feature_file(shard: str) -> str:
    """Name of the file with a shard's features."""
    return f"{shard.removesuffix('.tar')}.npy"


def renders_digest(manifest: Manifest, rows: Sequence[dict[str, Any]]) -> str:
    """SHA-256 over the keys and RGB views of samples: what their image features depend on, and nothing else."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(f"{row['key']}\n".encode())
        for member in sorted(manifest.members(row), key=lambda member: str(member["name"])):
            if member["name"].startswith("rgb."):
                digest.update(f"{member['name']} {member['size']}\n".encode())
                digest.update(read_range(join(manifest.folder, row["shard"]), member["offset"], member["size"]))
    return digest.hexdigest()


def write_feature_part(path: Path, values: np.ndarray) -> None:
    """Write one shard's features (n, V, C) as float16.

    Raises FeatureError: a value that is not finite in half precision.
    """
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    if not np.isfinite(half).all():
        largest = np.abs(values[np.isfinite(values)], dtype=np.float64).max(initial=0)
        raise FeatureError(
            f"features: not finite in half precision (largest of the others {largest:.3g}, allowed 65504); "
            "the teacher's weights are broken: choose others"
        )
    with path.open("wb") as file:
        np.save(file, half)


def write_text_part(path: Path, values: np.ndarray) -> None:
    """Write the prompts' features (K, T, C), each of length one, as float32.

    Raises FeatureError: a value that is not finite.
    """
    if not np.isfinite(values).all():
        raise FeatureError("text features: not finite; the teacher's weights are broken: choose others")
    with path.open("wb") as file:
        np.save(file, values.astype(np.float32))


def write_features_manifest(folder: Path, manifest: Manifest, *, teacher: str, templates: Sequence[str]) -> Path:
    """Say what the features in a folder were made of, once all of them lie there.

    teacher: digest of its folder.
    """
    shards: dict[str, list[str]] = {}
    for row in manifest.rows:
        if row["shard"]:
            shards.setdefault(row["shard"], []).append(row["key"])
    parts = {feature_file(shard): _head(folder / feature_file(shard)) | {"keys": k} for shard, k in shards.items()}
    text = {"classes": list(manifest.classes), "templates": list(templates), "file": TEXT_FILE}
    text |= _head(folder / TEXT_FILE)
    return write_json(folder / FILE, {"version": VERSION, "teacher": teacher, "images": parts, "text": text})


def read_features(folder: Path, manifest: Manifest, split: str, *, teacher: str = "") -> ImageFeatures:
    """Features of a split, checked against the manifest they were made from.

    teacher: digest of the folder of the teacher they have to be from; empty: whichever.
    Raises FeatureError: they are absent, damaged, not finite, or of other shards or another teacher, or the split is
    empty.
    """
    rows = manifest.split(split)
    if not rows:
        raise FeatureError(f"{manifest.folder}: no sample in split {split!r}; build the shards with `dvc repro shards`")
    known = _read_manifest(folder, teacher)
    shards: dict[str, list[str]] = {}
    for row in rows:
        shards.setdefault(row["shard"], []).append(row["key"])
    values = None
    done = 0
    for shard, keys in shards.items():
        path = folder / feature_file(shard)
        part = _read_part(path, known["images"].get(path.name, {}), keys)
        if values is None:
            values = np.empty((len(rows), *part.shape[1:]), np.float16)
        if part.shape[1:] != values.shape[1:]:
            raise FeatureError(f"{path}: shape {part.shape} beside {values.shape[1:]} of the other shards; {_AGAIN}")
        values[done : done + len(part)] = part
        done += len(part)
    assert values is not None
    return ImageFeatures(tuple(row["key"] for row in rows), values)


def read_text(folder: Path, classes: Sequence[str], templates: Sequence[str]) -> np.ndarray:
    """Features of the prompts of classes, (K, T, C) float32, each of length one.

    Raises FeatureError: they are absent, damaged, or of other classes or templates.
    """
    known = _read_manifest(folder, "")["text"]
    for name, wanted in (("classes", classes), ("templates", templates)):
        if known.get(name) != list(wanted):
            raise FeatureError(f"{folder / FILE}: text features of other {name}; {_AGAIN}")
    path = folder / TEXT_FILE
    values = _load(path)
    if values.dtype != np.float32 or values.shape[:2] != (len(classes), len(templates)) or values.ndim != 3:
        raise FeatureError(
            f"{path}: {values.dtype} {values.shape} for {len(classes)} classes and {len(templates)} templates; {_AGAIN}"
        )
    return values


def _head(path: Path) -> dict[str, Any]:
    """Shape and type of a file of features."""
    values = np.load(path, mmap_mode="r", allow_pickle=False)
    return {"shape": list(values.shape), "dtype": str(values.dtype)}


def _read_manifest(folder: Path, teacher: str) -> dict[str, Any]:
    path = folder / FILE
    try:
        known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if known["version"] != VERSION or not all(isinstance(known[name], dict) for name in ("images", "text")):
            raise TypeError
    except FileNotFoundError:
        raise FeatureError(f"{path}: no such features; make them with `dvc repro features`") from None
    except (ValueError, KeyError, TypeError):
        raise FeatureError(f"{path}: not a list of features of this version; {_AGAIN}") from None
    if teacher and known.get("teacher") != teacher:
        raise FeatureError(f"{path}: features of another teacher; {_AGAIN}")
    return known


def _read_part(path: Path, known: dict[str, Any], keys: Sequence[str]) -> np.ndarray:
    if known.get("keys") != list(keys):
        raise FeatureError(f"{path}: features of other samples than the shards hold; {_AGAIN}")
    values = _load(path)
    told = tuple(known.get("shape", ()))
    if values.dtype != np.float16 or values.ndim != 3 or values.shape != told or len(values) != len(keys):
        raise FeatureError(f"{path}: {values.dtype} {values.shape} for {len(keys)} samples; {_AGAIN}")
    return values


def _load(path: Path) -> np.ndarray:
    """An array, whole and finite."""
    try:
        values: np.ndarray = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise FeatureError(f"{path}: no such features; make them with `dvc repro features`") from None
    except (ValueError, EOFError, OSError) as error:
        raise FeatureError(f"{path}: cut short or damaged ({' '.join(str(error).split())[:100]}); {_AGAIN}") from None
    if not _finite(values):
        raise FeatureError(f"{path}: numbers that are not finite; {_AGAIN}")
    return values


def _finite(values: np.ndarray) -> bool:
    if values.dtype != np.float16:
        return bool(np.isfinite(values).all())
    return not ((values.view(np.uint16) & _EXPONENT) == _EXPONENT).any()  # four times as fast as numpy's own
