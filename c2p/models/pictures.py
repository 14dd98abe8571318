"""Features of rendered pictures under the teacher, in batches that fit the device.

Letters: V view, H W pixels, C feature width, B images a batch.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from c2p.models.clip import Clip, encode_images
from c2p.models.folder import ModelError

log = logging.getLogger(__name__)

MOST_IMAGES = 1024
"""B on a GPU at most: larger batches are no faster."""
PROBE_IMAGES = 8
MEMORY_SHARE = 0.6
"""Of the free memory that a batch may take: the rest is for the allocator's gaps."""


def encode_pictures(clip: Clip, pictures: Iterable[np.ndarray], *, images_at_once: int | None = None) -> np.ndarray:
    """Features of every view of every object, not normalised.

    pictures: arrays (V, H, W, 3) uint8, one an object, of one shape. images_at_once: B; None: what fits the device; one
    object on a CPU, whose cache more would leave. Returns (n, V, C) float32.
    Raises ModelError: the device's memory does not hold one picture.
    """
    features: list[np.ndarray] = []
    with _tensor_cores():
        for objects in _grouped(clip, pictures, images_at_once):
            images = torch.from_numpy(np.stack(objects)).to(clip.device)  # bytes travel, floats are made there
            encoded = _encode(clip, images.flatten(0, 1).permute(0, 3, 1, 2))
            features.append(encoded.unflatten(0, images.shape[:2]).cpu().numpy())
    return np.concatenate(features)


def fitting_images(clip: Clip, shape: tuple[int, ...]) -> int:
    """How many pictures (H, W, 3) the device takes at once, by what a few of them take of its memory.

    Raises ModelError: not even those.
    """
    if clip.device.type != "cuda":
        return 1
    torch.cuda.reset_peak_memory_stats(clip.device)
    before = torch.cuda.memory_allocated(clip.device)
    _encode(clip, torch.zeros((PROBE_IMAGES, 3, *shape[:2]), dtype=torch.uint8, device=clip.device))
    each = (torch.cuda.max_memory_allocated(clip.device) - before) / PROBE_IMAGES
    free = torch.cuda.mem_get_info(clip.device)[0]
    images = max(1, min(MOST_IMAGES, int(MEMORY_SHARE * free / each)))
    log.info("%d images at once: %.1f MB each, %.1f GB free", images, each / 1e6, free / 1e9)
    return images


def _grouped(clip: Clip, pictures: Iterable[np.ndarray], images_at_once: int | None) -> Iterator[list[np.ndarray]]:
    """Objects that are encoded together."""
    objects: list[np.ndarray] = []
    for views in pictures:
        if images_at_once is None:
            images_at_once = fitting_images(clip, views.shape[1:])
        objects.append(views)
        if (len(objects) + 1) * len(views) > images_at_once:
            yield objects
            objects = []
    if objects:
        yield objects


@torch.inference_mode()
def _encode(clip: Clip, images: Tensor) -> Tensor:
    """Features (B, C) of pictures (B, 3, H, W) uint8, in smaller batches where memory turns out not to hold them."""
    size = len(images)
    while True:
        try:
            return torch.cat([encode_images(clip, part.float() / 255) for part in images.split(size)])
        except torch.OutOfMemoryError:
            if size == 1:
                raise ModelError(
                    f"{clip.device}: out of memory with a single picture of {clip.image_size[0]} pixels; free the "
                    "device, choose a smaller teacher.model, or set C2P_DEVICE=cpu"
                ) from None
        size = -(-size // 2)
        log.info("%s: out of memory; %d images at once", clip.device, size)
        if clip.device.type == "cuda":
            torch.cuda.empty_cache()


@contextmanager
def _tensor_cores() -> Iterator[None]:
    """Matrix products in TF32 on GPUs: as many digits as the half precision that features are kept in."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
