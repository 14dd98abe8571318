"""Where a 3D encoder of CG3D lies, and the CLIP whose language it speaks: known before PyTorch is imported."""

import hashlib
import json
from pathlib import Path

from c2p.data.files import sha256
from c2p.models.folder import ModelError, clip_digest, one_line

CONFIG_FILE = "point_encoder.json"
WEIGHTS_FILE = "point_encoder.safetensors"
ACCURACY = "validation_accuracy"
"""As c2p.training.history.ACCURACY."""


def is_point_folder(path: Path) -> bool:
    """Whether a folder holds a 3D encoder."""
    return (path / CONFIG_FILE).is_file()


def find_point_folder(path: Path) -> Path | None:
    """The folder of a 3D encoder that a path means; None: it means none.

    Itself, or of the seeds' folders in it the one with the best validation accuracy, of equals the first seed.
    Raises ModelError: seeds' folders without a readable history.
    """
    if is_point_folder(path):
        return path
    seeds = [folder for folder in path.glob("seed-*") if is_point_folder(folder)]
    if not seeds:
        return None
    return min(seeds, key=lambda folder: (-_accuracy(folder), len(folder.name), folder.name))


def find_point_clip(folder: Path) -> Path:
    """Where the pipeline puts the CLIP of a 3D encoder: `cg3d_clip` beside all seeds' folders, or `clip` beside it."""
    pipelines = folder.absolute().parent.parent / "cg3d_clip"
    beside = folder.parent / "clip"
    return pipelines if pipelines.is_dir() and not beside.is_dir() else beside


def point_digest(folder: Path) -> str:
    """SHA-256 over configuration and weights of a 3D encoder.

    Raises ModelError: a file is missing.
    """
    paths = [folder / name for name in (CONFIG_FILE, WEIGHTS_FILE)]
    if absent := [path for path in paths if not path.is_file()]:
        raise ModelError(f"{absent[0]}: missing; train the encoder again with `dvc repro cg3d`")
    return hashlib.sha256("".join(f"{path.name} {sha256(path)}\n" for path in paths).encode()).hexdigest()


def clip_of(folder: Path) -> str:
    """Digest of the CLIP whose language a 3D encoder speaks.

    Raises ModelError: its configuration can't be read.
    """
    path = folder / CONFIG_FILE
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["clip"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: not a 3D encoder of this version ({one_line(error)}); train it again") from None


def check_point_clip(folder: Path, clip: Path) -> None:
    """Refuse a CLIP that isn't the one a 3D encoder was trained with.

    Raises ModelError.
    """
    if not clip.is_dir():
        raise ModelError(f"{clip}: not there; a 3D encoder needs the CLIP it was trained with: give its folder")
    if clip_digest(clip) != clip_of(folder):
        raise ModelError(f"{clip}: not the CLIP that {folder} was trained with; give that one's folder")


def _accuracy(folder: Path) -> float:
    path = folder / "checkpoints" / "history.json"
    try:
        return max(row[ACCURACY] for row in json.loads(path.read_text(encoding="utf-8")) if ACCURACY in row)
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"{path}: no readable history ({one_line(error)}); name one seed's folder") from None
