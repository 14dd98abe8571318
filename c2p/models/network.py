"""A CLIP in memory and what its visual tower is fed with; torch is all that this takes.

Letters: B batch, H W pixels, C feature width, K texts.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from c2p.models.folder import ModelError

VISUAL = "visual."
"""What the names of the visual tower's weights begin with in an open_clip model."""
RESIZE_MODE = "shortest"
"""open_clip's default way with images that are not square."""


@dataclass(frozen=True)
class Clip:
    """A CLIP model and everything needed to feed it."""

    model: Any
    """open_clip model, an nn.Module with encode_image and encode_text; evaluation mode, frozen."""
    tokenizer: Any
    """Texts to (K, context length) int64 tokens."""
    config: dict[str, Any]
    """open_clip's model configuration."""
    image_size: tuple[int, int]
    """Height and width the visual tower takes, pixels."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    """Filter for images of another size: `bicubic` or `bilinear`."""
    width: int
    """C: width of the features both towers give."""
    resize_mode: str = RESIZE_MODE
    """What open_clip does with images that are not square; the pipeline's are."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device


def prepare_images(images: Tensor, clip: Clip, *, standardise: bool = True) -> Tensor:
    """Resize to the tower's size where needed (antialiased) and standardise.

    images: (B, 3, H, W) float in [0, 1]. Returns (B, 3, h, w) float32. `standardise` off leaves the values as they are,
    as PointCLIP does with its depth maps.
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise ModelError(f"images: got shape {tuple(images.shape)}; allowed: (B, 3, H, W)")
    images = images.float()
    if tuple(images.shape[-2:]) != clip.image_size:
        channels = images[:, :1] if images.stride(1) == 0 else images  # an expanded grey image is resized once
        images = functional.interpolate(
            channels, clip.image_size, mode=clip.interpolation, align_corners=False, antialias=True
        )
        images = images.clamp(0, 1).expand(-1, 3, -1, -1)
    if not standardise:
        return images
    return (images - _channels(clip.mean, images)) / _channels(clip.std, images)


def _channels(values: tuple[float, ...], like: Tensor) -> Tensor:
    """(3, 1, 1), made on the device of `like`: a copy from the host would make it wait for a GPU."""
    return torch.stack([like.new_full((1, 1), value) for value in values])
