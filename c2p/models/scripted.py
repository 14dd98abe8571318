"""OpenAI's own weight files: TorchScript archives, from which the tensors alone are taken."""

import warnings
import zipfile
from pathlib import Path

import torch
from torch import Tensor

_SETTINGS = ("input_resolution", "context_length", "vocab_size")
"""Entries of the published files that are no weights."""


def is_scripted(path: Path) -> bool:
    """Whether a file is a TorchScript archive."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.count("/") == 1 and name.endswith("/constants.pkl") for name in archive.namelist())


def scripted_weights(path: Path) -> dict[str, Tensor]:
    """Weights of a TorchScript archive by name, float32 where they are half precision.

    TorchScript's reader makes tensors and compiled code only, it does not unpickle Python objects; the code is not run.
    Raises RuntimeError: the archive can't be read.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        state = torch.jit.load(str(path), map_location="cpu").state_dict()
    return {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
        if name not in _SETTINGS
    }
