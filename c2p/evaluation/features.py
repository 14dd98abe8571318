"""Features of rendered views, encoded once and kept under the digest of everything they depend on.

Legend: N object, V view, P point, C feature width, B objects or images a batch.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from c2p.data.files import write_atomic

Draw = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Points (B, P, 3) and rotations (V, 3, 3) to images (B, V, 3, H, W) in [0, 1]."""
Encode = Callable[[torch.Tensor], torch.Tensor]
"""Images (B, 3, H, W) in [0, 1] to features (B, C)."""

FEATURE_CODE = (
    "c2p.geometry.depth",
    "c2p.geometry.views",
    "c2p.geometry.voxels",
    "c2p.models.clip",
    "c2p.models.prompts",
    "c2p.evaluation.drawings",
    __name__,
)
"""Modules whose text decides what a feature is."""


def encode_views(
    encode: Encode, points: np.ndarray, rotations: np.ndarray, draw: Draw, batch: int, *, device: str = "cpu"
) -> np.ndarray:
    """Draw every view of every object and encode it.

    Args:
        encode: images (B*V, 3, H, W) to features (B*V, C).
        points: (N, P, 3) float32, unit sphere, y up.
        rotations: (V, 3, 3) world to view.
        draw: points and rotations to images.
        batch: objects drawn and encoded at once.
        device: where the encoder lives.
    Returns:
        (N, V, C) float32, not normalised.
    Raises ValueError: no objects, or a feature that is not finite.
    """
    if len(points) == 0:
        raise ValueError("0 objects to encode; allowed: at least 1")
    turns = torch.tensor(rotations, device=device, dtype=torch.float32)
    pieces = []
    with torch.inference_mode():
        for start in range(0, len(points), batch):
            cloud = torch.as_tensor(np.ascontiguousarray(points[start : start + batch]), device=device)
            images = draw(cloud, turns)
            features = encode(images.flatten(0, 1))
            pieces.append(features.unflatten(0, images.shape[:2]).float().cpu().numpy())
    encoded = np.concatenate(pieces)
    if not np.isfinite(encoded).all():
        raise ValueError("features that are not finite; the encoder's weights are broken: make them again")
    return encoded


def digest_array(values: np.ndarray) -> str:
    """Sha256 of an array: its type, shape and bytes."""
    head = f"{values.dtype.str} {values.shape} ".encode()
    return hashlib.sha256(head + np.ascontiguousarray(values).tobytes()).hexdigest()


def digest_files(*paths: Path) -> str:
    """Sha256 over the sha256 of each file, in the order given; names and places don't count."""
    total = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def digest_weights(folder: Path) -> str:
    """Sha256 of an encoder folder in open_clip's local-dir layout.

    Raises ValueError: a file of the layout is missing.
    """
    paths = [folder / "open_clip_config.json", folder / "open_clip_model.safetensors"]
    for path in paths:
        if not path.is_file():
            raise ValueError(f"{folder}: no {path.name}; an encoder folder holds {paths[0].name} and {paths[1].name}")
    return digest_files(*paths)


@cache
def digest_code(modules: tuple[str, ...] = FEATURE_CODE) -> str:
    """Sha256 of the text of modules, found without importing them: part of the key of what they make."""
    specs = [find_spec(name) for name in modules]
    return digest_files(*(Path(spec.origin) for spec in specs if spec is not None and spec.origin))


def place(folder: Path, key: Mapping[str, Any]) -> Path:
    """Path of the array with this key (plain JSON values) in a cache folder, made or not."""
    text = json.dumps(key, sort_keys=True, allow_nan=False)
    return folder / f"{hashlib.sha256(text.encode()).hexdigest()}.npy"


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one CPU thread: sums don't depend on the machine's cores; parallel work is one job a process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def write_array(path: Path, values: np.ndarray) -> Path:
    """Write an array as .npy, atomically."""

    def save(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.save(file, values)

    return write_atomic(path, save)


def read_features(pieces: Sequence[Path]) -> np.ndarray:
    """Features (N, V, C) float32 whose pieces lie in these files, in this order."""
    return np.concatenate([np.load(piece, allow_pickle=False) for piece in pieces])
