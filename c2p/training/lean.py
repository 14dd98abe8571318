"""A vision transformer in fewer passes over memory and faster operations: the same function of the same weights.

Each operation between the matrix products reads and writes every token's numbers anew, and a GPU computes faster than
it moves them. Here the affine part of a norm and QuickGELU's factor go into the weights of the matrix products beside
them, where those have fewer numbers than the tokens of a batch; queries, keys and values stay one tensor. With
norm(x) = g * n(x) + h:

    W norm(x) + b = (W diag(g)) n(x) + (b + W h)
    QuickGELU(u) = u * sigmoid(c u) = silu(c u) / c with c = 1.702 (Hendrycks and Gimpel, 2016, section 2)

The patches become one matrix product too: a convolution that steps by its own size is slow on the way back. And a CPU
computes the attention of few tokens faster as plain products in float32 than as torch's fused operation.

Weights keep their names, so checkpoints are those of the tower they belong to.
Letters: B batch, L tokens, E width, H heads, D = E / H, S patch size.
"""

import math
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from c2p.training.gradients import autocast

SIGMOID_FACTOR = 1.702
"""c of QuickGELU."""
MANY_TOKENS = 2048
"""Of a batch, from which on norms and QuickGELU go into weights, of some thousand rows: fewer are gone over faster."""
FEW_TOKENS = 100
"""Up to which a CPU's attention is plain: with 50 it takes 0.35 to 0.7 of the fused one's time, with 197 as much."""


def lean(tower: nn.Module, *, images: int) -> nn.Module:
    """Put lean parts in the place of the patches and of all blocks that are made like CLIP's; returns the tower.

    Others (convolutional towers, timm's, blocks with layer scale or without biases) stay as they are. The weights are
    shared with what was there, under the same names and in the same order. images: encoded at a time in training.
    """
    places = getattr(tower, "positional_embedding", None)
    many = isinstance(places, Tensor) and images * len(places) >= MANY_TOKENS
    first = getattr(tower, "conv1", None)
    if isinstance(first, nn.Conv2d) and _takes_patches(first):
        tower.conv1 = LeanPatches(first)
    for parent in list(tower.modules()):
        for name, block in list(parent.named_children()):
            if _like_clips(block):
                setattr(parent, name, LeanBlock(block, many=many))
    return tower


class LeanPatches(nn.Module):
    """A convolution that steps by its own size, as one matrix product."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias, self.size = convolution.weight, convolution.bias, convolution.kernel_size
        self.train(convolution.training)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, E, H // S, W // S); what is left over at the right and below is not seen."""
        high, wide = (side // step for side, step in zip(images.shape[2:], self.size, strict=True))
        images = images[:, :, : high * self.size[0], : wide * self.size[1]]
        patches = images.unflatten(3, (wide, -1)).unflatten(2, (high, -1)).permute(0, 2, 4, 1, 3, 5)
        patches = patches.reshape(len(images), high * wide, -1)
        projected = functional.linear(patches, self.weight.flatten(1), self.bias)
        return projected.transpose(1, 2).unflatten(2, (high, wide))


class LeanBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)).

    many: the tokens' numbers are more than the weights', so that the latter are the ones to go over.
    """

    def __init__(self, block: Any, *, many: bool) -> None:
        super().__init__()
        self.many = many
        self.ln_1, self.attn, self.ln_2, self.mlp = block.ln_1, block.attn, block.ln_2, block.mlp
        self.train(block.training)

    def forward(self, tokens: Tensor, *others: None, **named: None) -> Tensor:
        """(B, L, E) -> the same. Other keys and values, and a mask, which no tower for pictures has, must be None."""
        assert all(value is None for value in (*others, *named.values())), "self-attention without a mask alone"
        tokens = tokens + self._attend(tokens)
        return tokens + self._widen(tokens)

    def _attend(self, tokens: Tensor) -> Tensor:
        attn = self.attn
        together = self._after_norm(tokens, self.ln_1, attn.in_proj_weight, attn.in_proj_bias)
        query, key, value = together.unflatten(-1, (3, attn.num_heads, -1)).unbind(2)  # (B, L, H, D) each
        dropped = attn.dropout if self.training else 0.0
        seen = _attention(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), dropped)
        return attn.out_proj(seen.transpose(1, 2).flatten(2))

    def _widen(self, tokens: Tensor) -> Tensor:
        first, act, second = self.mlp
        if not _is_quick(act):
            return second(act(self._after_norm(tokens, self.ln_2, first.weight, first.bias)))
        hidden = functional.silu(self._after_norm(tokens, self.ln_2, first.weight, first.bias, SIGMOID_FACTOR))
        if not self.many:
            return second(hidden / SIGMOID_FACTOR)
        return functional.linear(hidden, second.weight / SIGMOID_FACTOR, second.bias)

    def _after_norm(
        self, tokens: Tensor, norm: nn.LayerNorm, weight: Tensor, bias: Tensor, factor: float = 1.0
    ) -> Tensor:
        """What a linear layer gives for norm(x), times `factor`."""
        if not self.many:
            given = functional.linear(norm(tokens), weight, bias)
            return given * factor if factor != 1.0 else given
        with autocast(tokens.device, "float32"):  # a GPU's makes float32 of n(x), though the sums are in float32 anyway
            centred = functional.layer_norm(tokens, norm.normalized_shape, eps=norm.eps)
            scale, shift = norm.weight * factor, (bias + weight @ norm.bias) * factor
            weight = weight * scale
        return functional.linear(centred, weight, shift)


def _takes_patches(convolution: nn.Conv2d) -> bool:
    steps = convolution.kernel_size
    plain = convolution.padding == (0, 0) and convolution.dilation == (1, 1) and convolution.groups == 1
    return plain and steps == convolution.stride and min(steps) > 1


def _attention(query: Tensor, key: Tensor, value: Tensor, dropped: float) -> Tensor:
    """(B, H, L, D) each -> the same; dropped: share of the attention's weights."""
    if query.device.type != "cpu" or query.shape[2] > FEW_TOKENS:
        return functional.scaled_dot_product_attention(query, key, value, dropout_p=dropped)
    with autocast(query.device, "float32"):
        scores = (_wide(query) / math.sqrt(query.shape[3])) @ _wide(key).transpose(2, 3)
        weights = scores.softmax(-1)
        weights = functional.dropout(weights, dropped) if dropped else weights
        return (weights @ _wide(value)).to(value.dtype)


def _wide(values: Tensor) -> Tensor:
    return values.float() if values.dtype.itemsize < 4 else values


def _like_clips(block: nn.Module) -> bool:
    """Whether a module is a block as CLIP's: norms before what they are for, biases everywhere, nothing between."""
    parts = dict(block.named_children())
    scales = [parts.pop(name, None) for name in ("ls_1", "ls_2")]
    if set(parts) != {"ln_1", "attn", "ln_2", "mlp"} or not all(isinstance(s, nn.Identity | None) for s in scales):
        return False
    attn, mlp = parts["attn"], list(parts["mlp"].named_children())
    return (
        all(isinstance(parts[name], nn.LayerNorm) and parts[name].bias is not None for name in ("ln_1", "ln_2"))
        and isinstance(attn, nn.MultiheadAttention)
        and attn.batch_first
        and attn.in_proj_bias is not None
        and attn.bias_k is None
        and not attn.add_zero_attn
        and isinstance(parts["mlp"], nn.Sequential)
        and [name for name, _ in mlp] == ["c_fc", "gelu", "c_proj"]
        and all(isinstance(layer, nn.Linear) and layer.bias is not None for layer in (mlp[0][1], mlp[2][1]))
    )


def _is_quick(act: nn.Module) -> bool:
    return type(act).__name__ == "QuickGELU"
