"""Memory of a training on its device: predicted before it starts, so that what is too big is known by name.

Bytes, with N samples, P points, V views, C feature width, W weights, K depth maps a sample, m samples a piece and
H x H depth maps: points 12 N P; image features 2 N V C; weights and gradients 4 W each, and the copies of weights that
a forward pass keeps (for bfloat16, c2p.training.lean), measured; optimiser 8 W (two moments) and, while it steps,
8 min(W, STEP_NUMBERS); depth maps 4 K m H^2 for each of the MAPS that are there at a time; activations K m times what
one image keeps for its way back, which is measured.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from c2p.training.optim import STEP_NUMBERS
from c2p.training.steps import TrainingError

MAPS = 6
"""Grey maps in float32 that drawing, shading and resizing hold at a time."""
GIB = 2**30


class OutOfMemory(TrainingError):
    """The device's memory is too small; the message says what takes it and what to change."""


@dataclass(frozen=True)
class Memory:
    """Predicted bytes on one device."""

    points: int
    features: int
    weights: int
    """Weights, gradients, and copies of weights."""
    optimizer: int
    maps: int
    activations: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(getattr(self, field.name) for field in fields(self))

    def __str__(self) -> str:
        parts = ", ".join(f"{field.name} {getattr(self, field.name) / GIB:.2f}" for field in fields(self))
        return f"{self.total / GIB:.2f} GiB ({parts})"


def predict_memory(
    points: Tensor, features: Tensor, *, weights: int, images: int, size: int, image_bytes: int, copies: int
) -> Memory:
    """Memory of a training. weights: their number; images: depth maps of a piece, K m; size: their side, pixels;
    image_bytes, copies: from `kept_bytes`.
    """
    return Memory(
        points=points.numel() * 4,
        features=features.numel() * features.element_size(),
        weights=weights * 8 + copies,
        optimizer=weights * 8 + min(weights, STEP_NUMBERS) * 8,
        maps=images * size**2 * 4 * MAPS,
        activations=images * image_bytes,
    )


def kept_bytes(tower: nn.Module, image: Tensor) -> tuple[int, int]:
    """Bytes that a forward pass keeps for the way back, beside the weights; image: (1, 3, H, W).

    Returns those of each image (the second one's share), and those that all images use together: copies of weights.
    """
    one, two = _kept(tower, image), _kept(tower, image.repeat(2, 1, 1, 1))
    return two - one, max(0, 2 * one - two)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch failed for lack of memory, on a GPU or on the CPU."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def _kept(tower: nn.Module, images: Tensor) -> int:
    own = {weight.untyped_storage().data_ptr() for weight in tower.parameters()}
    sizes: dict[int, int] = {}
    held = []  # storages must live on, or another one could get the same address

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        held.append(storage)
        return nothing  # a tensor that is kept by what made it would never be freed

    nothing = torch.empty(0)
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        tower(images)
    return sum(size for place, size in sizes.items() if place not in own)
