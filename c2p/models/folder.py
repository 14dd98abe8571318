"""Folders in open_clip's `local-dir` layout: where their files lie and what they say; nothing is loaded."""

import hashlib
import json
from pathlib import Path
from typing import Any

from c2p.data.files import sha256

CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"
WEIGHTS_FILES = (
    WEIGHTS_FILE,
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "model.safetensors",
    "pytorch_model.bin",
)
"""Names that folders of open_clip give their weights, the safest first."""


class ModelError(ValueError):
    """A model that does not exist, does not load or does not fit; the message is one line."""


def open_clip_folder(path: Path) -> Path:
    """The folder in open_clip's `local-dir` layout that a path means: itself, or the snapshot in a hub cache folder.

    A hub cache folder is `models--OWNER--NAME`, with `refs/` and `snapshots/`.
    Raises ModelError: it is neither.
    """
    if (path / CONFIG_FILE).is_file():
        return path
    snapshots = sorted(file.parent for file in path.glob(f"snapshots/*/{CONFIG_FILE}"))
    main = path / "refs" / "main"
    if main.is_file() and (present := path / "snapshots" / main.read_text(encoding="utf-8").strip()) in snapshots:
        return present
    if len(snapshots) == 1:
        return snapshots[0]
    if snapshots:
        names = ", ".join(folder.name for folder in snapshots)
        raise ModelError(f"{path}: {len(snapshots)} snapshots and no refs/main; give one of them: {names}")
    raise ModelError(f"{path}: no {CONFIG_FILE} there; give a folder in open_clip's local-dir layout")


def read_config(folder: Path) -> dict[str, Any]:
    """Content of a folder's configuration file: `model_cfg` and, mostly, `preprocess_cfg`.

    Raises ModelError: it is not one.
    """
    path = folder / CONFIG_FILE
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        model = config["model_cfg"]
        sections = [model["vision_cfg"], model["text_cfg"], config.get("preprocess_cfg", {})]
        if not (isinstance(model["embed_dim"], int) and all(isinstance(section, dict) for section in sections)):
            raise TypeError("embed_dim, vision_cfg, text_cfg")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: not an open_clip configuration ({one_line(error)})") from None
    return dict(config)


def folder_weights(folder: Path) -> Path:
    """The weights file of a folder in open_clip's layout.

    Raises ModelError: there is none.
    """
    found = [folder / name for name in WEIGHTS_FILES if (folder / name).is_file()]
    if not found:
        raise ModelError(f"{folder}: no {WEIGHTS_FILE} there; give a folder in open_clip's local-dir layout")
    return found[0]


def clip_digest(folder: Path) -> str:
    """SHA-256 over everything in a folder that decides features: configuration, weights, tokenizer; not the card.

    Raises ModelError: no such folder.
    """
    place = open_clip_folder(folder)
    files = sorted(path for path in place.iterdir() if path.is_file() and path.suffix != ".md" and path.name[0] != ".")
    return hashlib.sha256("".join(f"{path.name} {sha256(path)}\n" for path in files).encode()).hexdigest()


def one_line(error: BaseException) -> str:
    """An error's message as one line of at most 200 characters."""
    return " ".join(str(error).split())[:200] or type(error).__name__
