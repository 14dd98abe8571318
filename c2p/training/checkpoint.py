"""Checkpoints of a run: weights to evaluate, and the state that resumes training bit for bit.

A run's folder holds `epoch-NNNN.safetensors` (visual tower after N finished epochs), one `state.pt` (everything needed
to go on after the newest of them) and, at the end, `history.json`. Every file is written atomically and weights come
before the state, so a kill at any moment leaves a folder that resumes.
"""

import io
import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from c2p.data.files import write_bytes

STATE_FILE = "state.pt"
HISTORY_FILE = "history.json"
PATTERN = "epoch-*.safetensors"


class CheckpointError(ValueError):
    """A checkpoint that can't be read or belongs to another run; the message is one line."""


@dataclass(frozen=True)
class Checkpoint:
    """Weights after some epochs."""

    epoch: int
    """Finished epochs: 1 is after the first."""
    path: Path


def list_checkpoints(folder: Path) -> list[Checkpoint]:
    """Checkpoints of a run, oldest first; none for a folder that does not exist."""
    found = [Checkpoint(int(path.stem.removeprefix("epoch-")), path) for path in folder.glob(PATTERN)]
    return sorted(found, key=lambda checkpoint: checkpoint.epoch)


def save_weights(folder: Path, epoch: int, weights: dict[str, Tensor]) -> Path:
    """Write the weights after `epoch` finished epochs; the same weights give the same bytes."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    return write_bytes(folder / f"epoch-{epoch:04d}.safetensors", save(tensors))


def load_weights(path: Path) -> dict[str, Tensor]:
    """Weights of one checkpoint.

    Raises CheckpointError: the file is missing or broken.
    """
    try:
        return load_file(path)
    except Exception as error:  # safetensors has its own kinds of error
        raise CheckpointError(f"{path}: not a readable checkpoint ({error}); delete it and train again") from None


def save_state(folder: Path, state: dict[str, Any], *, run: dict[str, Any]) -> None:
    """Replace the training state; `run` describes what it belongs to in plain data."""
    buffer = io.BytesIO()  # torch.save to a path would put the temporary file's name into the bytes
    torch.save({"run": json.dumps(run, sort_keys=True), "state": state}, buffer)
    write_bytes(folder / STATE_FILE, buffer.getvalue())


def load_state(folder: Path, *, run: dict[str, Any], device: torch.device) -> dict[str, Any] | None:
    """The state to resume from, or None where the folder holds none.

    Raises CheckpointError: the state is broken, or was saved with another `run`.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        return None
    try:
        saved = torch.load(path, map_location=device, weights_only=True)
        known, state = json.loads(saved["run"]), saved["state"]
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, TypeError, pickle.UnpicklingError) as error:
        line = " ".join(str(error).split())[:120]
        raise CheckpointError(f"{path}: not a readable training state ({line}); delete the folder") from None
    if known != json.loads(json.dumps(run)):
        differing = sorted(key for key in known.keys() | run.keys() if known.get(key) != run.get(key))
        raise CheckpointError(f"{path}: belongs to another run ({', '.join(differing)} differ); use an empty folder")
    return state
