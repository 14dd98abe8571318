"""How an open_clip model comes into being: with random weights from a seed, or bare, for weights that are at hand."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

log = logging.getLogger(__name__)

_DRAWS = frozenset({nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_, torch.Tensor.uniform_})
"""Not Tensor.normal_: some initialisers draw from it until they like what they get."""


@contextmanager
def quiet() -> Iterator[None]:
    """Keep open_clip's notes off the root logger."""
    root = logging.getLogger()
    handler = logging.NullHandler()  # without any handler, logging.info would install one on stderr for good
    root.addHandler(handler)
    root.addFilter(_refuse)
    try:
        yield
    finally:
        root.removeFilter(_refuse)
        root.removeHandler(handler)


@contextmanager
def random_weights(seed: int) -> Iterator[None]:
    """Random numbers from `seed` without touching the global generator; memory that nobody fills is NaN.

    What a model forgets to initialise would otherwise hold what lay there before: `fill_forgotten` finds it.
    """
    before, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic
    filled = memory.fill_uninitialized_memory
    try:
        torch.use_deterministic_algorithms(True, warn_only=True)
        memory.fill_uninitialized_memory = True
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        memory.fill_uninitialized_memory = filled
        torch.use_deterministic_algorithms(before, warn_only=warns)


@contextmanager
def bare_weights() -> Iterator[None]:
    """Draw nothing: every weight is about to be replaced, and drawing a ViT-B/32's takes a second."""
    with _NoDraws():
        yield


@torch.no_grad()
def fill_forgotten(model: nn.Module, *, name: str, seed: int) -> None:
    """Give weights that a model left as NaN normal numbers of variance 1 / rows, as open_clip its projections.

    CoCa's caption decoder has one. Only for a model built inside `random_weights`.
    """
    generator = torch.Generator().manual_seed(seed)
    for weight, tensor in model.named_parameters():
        if tensor.isnan().any():
            tensor.normal_(std=len(tensor) ** -0.5, generator=generator)
            log.info("%s: open_clip leaves %s without numbers; it gets random ones", name, weight)


class _NoDraws(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _DRAWS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def _refuse(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.CRITICAL
