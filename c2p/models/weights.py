"""Weight files of CLIPs: read without running anything, checked, and put into a model.

Forms, told apart by content: safetensors, a PyTorch checkpoint (tensors alone or under `state_dict`, with or without
the prefix `module.` of parallel training), and OpenAI's TorchScript archives.
"""

import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from open_clip.convert import convert_state_dict
from open_clip.model import convert_to_custom_text_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from c2p.models.folder import ModelError, one_line
from c2p.models.scripted import is_scripted, scripted_weights

FORMS = "safetensors, a PyTorch checkpoint of tensors, or OpenAI's TorchScript archive"
_DAMAGED = "cut short, damaged or no weights file"
_PARALLEL = "module."
_POSITION_IDS = "text.transformer.embeddings.position_ids"
"""Numbers that older Hugging Face text towers stored beside their weights."""

_TORN = (struct.error, zipfile.BadZipFile)
"""What else reading raises where a file ends in the middle of a number."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Weights of a file by name, on the CPU, in the precision they are stored in.

    Raises ModelError: no such file, cut short, none of the known forms, or with anything but tensors in it: a pickle
    that would run code is refused before it does.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such weights file")
    try:
        if _is_safetensors(path):
            return load_file(path)
        if zipfile.is_zipfile(path) and is_scripted(path):
            return scripted_weights(path)
        return _tensors(path, torch.load(path, map_location="cpu", weights_only=True))
    except pickle.UnpicklingError as error:
        raise ModelError(f"{path}: {_refusal(error)}") from None
    except SafetensorError as error:
        raise ModelError(f"{path}: cut short or damaged ({one_line(error)}); fetch it again") from None
    except (RuntimeError, EOFError, LookupError, ValueError, TypeError, AttributeError, OSError, *_TORN) as error:
        if isinstance(error, ModelError | PermissionError):
            raise
        raise ModelError(
            f"{path}: cut short, damaged or no weights file ({one_line(error)}); allowed: {FORMS}"
        ) from None


def fit_weights(model: nn.Module, weights: Mapping[str, Tensor], *, source: str, only: str = "") -> None:
    """Put weights into an open_clip model, names of older layouts brought up to date.

    source: where they are from, for the message. only: what the names of those begin with that are put in; the others
    are looked at for name and shape alone.
    Raises ModelError: the first weight that is missing, unknown, of another shape or not finite.
    """
    state = _up_to_date(model, dict(weights))
    expected = model.state_dict()
    check_shapes(state, expected, what=source)
    state, expected = ({n: t for n, t in some.items() if n.startswith(only)} for some in (state, expected))
    model.load_state_dict(state, strict=not only)
    for name, tensor in expected.items():  # the model's own memory now: a file's pages are read once, in copying
        if tensor.numel() and not all(bound.isfinite() for bound in torch.aminmax(tensor)):
            raise ModelError(f"{source}: {name} holds numbers that are not finite; get the weights again")


def check_shapes(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, what: str = "weights") -> None:
    """Raise ModelError naming the first weight that is missing, unknown or of another shape than expected."""
    names = sorted(weights.keys() ^ expected.keys())
    if names:
        state = "is missing" if names[0] in expected else "is unknown to this model"
        others = f" (and {len(names) - 1} more differ)" if len(names) > 1 else ""
        raise ModelError(f"{what}: {names[0]} {state}{others}; use weights of the same architecture")
    for name, tensor in weights.items():
        if tensor.shape != expected[name].shape:
            raise ModelError(
                f"{what}: {name} has shape {tuple(tensor.shape)}, this model's is {tuple(expected[name].shape)}; "
                "use weights of the same architecture"
            )


def _is_safetensors(path: Path) -> bool:
    """Whether a file begins as one: the length of its header, then a JSON table."""
    if path.suffix == ".safetensors":
        return True
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def _tensors(path: Path, found: Any) -> dict[str, Tensor]:
    """The weights in what a checkpoint holds."""
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if not isinstance(found, dict) or not found or not all(isinstance(value, Tensor) for value in found.values()):
        kind = f"a {type(found).__name__}" if not isinstance(found, dict) else "a table of other things than tensors"
        raise ModelError(f"{path}: holds {kind}; allowed: {FORMS}")
    if all(str(name).startswith(_PARALLEL) for name in found):
        found = {str(name).removeprefix(_PARALLEL): tensor for name, tensor in found.items()}
    return {str(name): tensor for name, tensor in found.items()}


def _up_to_date(model: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names and shapes as the present open_clip has them, as its own loader makes them; nothing is resized."""
    state = convert_state_dict(model, state)
    if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    for name in ("logit_scale", "logit_bias"):  # scalars, or vectors of one
        own = getattr(model, name, None)
        if own is not None and name in state and state[name].numel() == 1:
            state[name] = state[name].reshape(own.shape)
    if not hasattr(model, _POSITION_IDS):
        state.pop(_POSITION_IDS, None)
    return state


def _refusal(error: pickle.UnpicklingError) -> str:
    if "GLOBAL" in str(error):
        return "holds Python objects beside tensors, which could run code; refused: convert it to safetensors"
    return f"{_DAMAGED}; allowed: {FORMS}"
