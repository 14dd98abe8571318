"""What a tower moves through memory there and back: the bytes that its operations read and write, counted one by one.

Matrix products apart, that is what decides how long a GPU takes over it. What stays in a cache is counted as well; a
compiler that fuses operations has less. `python -m benchmarks.traffic` prints it for ViT-B/32.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.tower import VIT_B_32, random_clip
from c2p.models.depth_encoder import DepthEncoder
from c2p.models.network import Clip, prepare_images
from c2p.training import lean as blocks
from c2p.training.gradients import autocast
from c2p.training.lean import lean
from c2p.training.memory import kept_bytes

IMAGES = 4
FULL = 512
"""Depth images of a full batch."""


def traffic(clip: Clip, precision: str) -> dict[str, dict[str, float]]:
    """Megabytes there and back of a tower as it came and lean: moved for each image and, as fixed, once for a batch
    (over the weights); and kept for each image in between.

    Lean blocks are those of a GPU with a full batch. Counted on a CPU, where autocast leaves norms in bfloat16: a GPU's
    moves more through those of the tower as it came.
    """
    table: dict[str, dict[str, float]] = {}
    for name, change in (("as_it_came", _same), ("lean", partial(lean, images=FULL))):
        encoder = DepthEncoder.from_clip(clip).cpu().train()
        change(encoder.visual)
        image = torch.zeros(1, 3, *clip.image_size)
        with _as_on_a_gpu():
            small, large = (_there_and_back(encoder, clip, precision, images) for images in (IMAGES, 2 * IMAGES))
            encoder.eval()
            with autocast(image.device, precision):
                kept = kept_bytes(encoder, image)[0]
        table[name] = {
            "moved_mb": round((large - small) / IMAGES / 1e6, 1),
            "fixed_mb": round((2 * small - large) / 1e6),
            "kept_mb": round(kept / 1e6, 2),
        }
    return table


def moved(work: Callable[[], object]) -> int:
    """Bytes that the operations in `work` read and write: every tensor once each, and nothing for a mere view."""
    with _Count() as count:
        work()
    return count.bytes


def _there_and_back(encoder: DepthEncoder, clip: Clip, precision: str, images: int) -> int:
    pictures = prepare_images(torch.rand(images, 3, *clip.image_size), clip)

    def work() -> None:
        with autocast(pictures.device, precision):
            features = encoder.visual(pictures)
        torch.autograd.grad(features.float().sum(), list(encoder.visual.parameters()))

    return moved(work)


class _Count(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        read = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        given = {value.untyped_storage().data_ptr() for value in read}
        found = [value for value in tree_leaves(out) if isinstance(value, Tensor)]
        writes = any(a.alias_info is not None and a.alias_info.is_write for a in function._schema.arguments)
        written = [value for value in found if writes or value.untyped_storage().data_ptr() not in given]
        if written and "empty" not in function._schema.name:
            self.bytes += sum(map(_size, read)) + sum(map(_size, written))
        return out


def _size(tensor: Tensor) -> int:
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())  # expanded: read once


@contextmanager
def _as_on_a_gpu() -> Iterator[None]:
    before, blocks.FEW_TOKENS = blocks.FEW_TOKENS, 0
    try:
        yield
    finally:
        blocks.FEW_TOKENS = before


def _same(tower: nn.Module) -> nn.Module:
    return tower


if __name__ == "__main__":
    for _precision in ("float32", "bfloat16"):
        print(_precision, traffic(random_clip(VIT_B_32)[0], _precision))
