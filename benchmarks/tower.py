"""Towers to measure: open_clip's where it can be imported, else one of ViT-B/32's shape in plain torch.

The plain one has the names of open_clip's weights, and gives the same features with the same weights.
"""

from collections import OrderedDict
from dataclasses import dataclass
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from c2p.models.network import Clip

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of CLIP's pictures."""
VIT_B_32 = "ViT-B-32-quickgelu"


@dataclass(frozen=True)
class Shape:
    """Size of a vision transformer."""

    image: int = 224
    """Side of a picture, pixels."""
    patch: int = 32
    width: int = 768
    layers: int = 12
    heads: int = 12
    output: int = 512


def random_clip(model: str) -> tuple[Clip, str]:
    """A CLIP with random weights, and where it is from. What open_clip can't give, only ViT-B/32 has, visual alone.

    Raises ModuleNotFoundError: another model, and open_clip is not installed.
    """
    try:
        from c2p import params
        from c2p.models.clip import create_clip
    except ModuleNotFoundError:
        if model != VIT_B_32:
            raise
        torch.manual_seed(0)
        return plain_clip(Shape()), "plain torch, ViT-B/32's shape"
    settings = params.Teacher(
        model=model, pretrained="", epochs=1, batch=2, lr=1e-3, weight_decay=0.0, warmup=0.0, seed=0
    )
    return create_clip(settings), f"open_clip {model}"


def plain_clip(shape: Shape) -> Clip:
    """A CLIP of a plain visual tower and nothing else."""
    return Clip(
        model=SimpleNamespace(visual=VisionTransformer(shape)),
        tokenizer=None,
        config={},
        image_size=(shape.image, shape.image),
        mean=MEAN,
        std=STD,
        interpolation="bicubic",
        width=shape.output,
    )


class VisionTransformer(nn.Module):
    """CLIP's (Radford et al., 2021): a class token, normalisation before the layers, QuickGELU, a linear projection."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width, tokens = shape.width, (shape.image // shape.patch) ** 2 + 1
        self.conv1 = nn.Conv2d(3, width, shape.patch, shape.patch, bias=False)
        self.class_embedding = nn.Parameter(width**-0.5 * torch.randn(width))
        self.positional_embedding = nn.Parameter(width**-0.5 * torch.randn(tokens, width))
        self.ln_pre = LayerNorm(width)
        blocks = [_Block(width, shape.heads) for _ in range(shape.layers)]
        self.transformer = nn.ModuleDict({"resblocks": nn.Sequential(*blocks)})
        self.ln_post = LayerNorm(width)
        self.proj = nn.Parameter(width**-0.5 * torch.randn(width, shape.output))

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) standardised pictures to (B, C) features."""
        patches = self.conv1(images).flatten(2).transpose(1, 2)
        first = self.class_embedding.to(patches.dtype).expand(len(patches), 1, -1)
        tokens = torch.cat([first, patches], 1) + self.positional_embedding.to(patches.dtype)
        return self.ln_post(self.transformer["resblocks"](self.ln_pre(tokens))[:, 0]) @ self.proj


class LayerNorm(nn.LayerNorm):
    """In the type of what it is given, as open_clip's: a GPU's autocast makes float32 of it."""

    def forward(self, tokens: Tensor) -> Tensor:
        """Any shape with the width last."""
        return super().forward(tokens).to(tokens.dtype)


class QuickGELU(nn.Module):
    """OpenAI's activation, as open_clip writes it."""

    def forward(self, hidden: Tensor) -> Tensor:
        """Any shape."""
        return hidden * torch.sigmoid(1.702 * hidden)


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = LayerNorm(width), LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        layers = {"c_fc": nn.Linear(width, 4 * width), "gelu": QuickGELU(), "c_proj": nn.Linear(4 * width, width)}
        self.mlp = nn.Sequential(OrderedDict(layers))

    def forward(self, tokens: Tensor) -> Tensor:
        normed = self.ln_1(tokens)
        tokens = tokens + self.attn(normed, normed, normed, need_weights=False)[0]
        return tokens + self.mlp(self.ln_2(tokens))
