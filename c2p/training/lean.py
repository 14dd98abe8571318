"""A vision transformer's blocks in fewer passes over memory: the same function of the same weights.

On a GPU what lies between the matrix products of a ViT-B/32 takes about as long as they do, since each operation reads
and writes every token's numbers anew. Here the affine part of a norm and QuickGELU's factor go into the weights of the
matrix products beside them, which are smaller than the tokens of a batch; queries, keys and values stay one tensor.
With norm(x) = g * n(x) + h:

    W norm(x) + b = (W diag(g)) n(x) + (b + W h)
    QuickGELU(u) = u * sigmoid(c u) = silu(c u) / c with c = 1.702 (Hendrycks and Gimpel, 2016, section 2)

Weights keep their names, so checkpoints are those of the tower they belong to.
Letters: B batch, L tokens, E width, H heads, D = E / H.
"""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from c2p.training.gradients import autocast

SIGMOID_FACTOR = 1.702
"""c of QuickGELU."""


def lean(tower: nn.Module) -> nn.Module:
    """Put lean blocks in the place of all blocks of a tower that are made like CLIP's; returns the tower.

    Others (convolutional towers, timm's, blocks with layer scale or without biases) stay as they are. The weights are
    shared with what was there, under the same names and in the same order.
    """
    for parent in list(tower.modules()):
        for name, block in list(parent.named_children()):
            if _like_clips(block):
                setattr(parent, name, LeanBlock(block))
    return tower


class LeanBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.ln_1, self.attn, self.ln_2, self.mlp = block.ln_1, block.attn, block.ln_2, block.mlp
        self.train(block.training)

    def forward(self, tokens: Tensor, *others: None, **named: None) -> Tensor:
        """(B, L, E) -> the same. Other keys and values, and a mask, which no tower for pictures has, must be None."""
        assert all(value is None for value in (*others, *named.values())), "self-attention without a mask alone"
        tokens = tokens + self._attend(tokens)
        return tokens + self._widen(tokens)

    def _attend(self, tokens: Tensor) -> Tensor:
        attn = self.attn
        weight, bias = _folded(attn.in_proj_weight, attn.in_proj_bias, self.ln_1)
        together = functional.linear(_centred(tokens, self.ln_1), weight, bias)
        query, key, value = together.unflatten(-1, (3, attn.num_heads, -1)).unbind(2)  # (B, L, H, D) each
        dropped = attn.dropout if self.training else 0.0
        seen = functional.scaled_dot_product_attention(
            query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), dropout_p=dropped
        )
        return attn.out_proj(seen.transpose(1, 2).flatten(2))

    def _widen(self, tokens: Tensor) -> Tensor:
        first, act, second = self.mlp
        quick = _is_quick(act)
        weight, bias = _folded(first.weight, first.bias, self.ln_2, SIGMOID_FACTOR if quick else 1.0)
        hidden = functional.linear(_centred(tokens, self.ln_2), weight, bias)
        if not quick:
            return second(act(hidden))
        return functional.linear(functional.silu(hidden), second.weight / SIGMOID_FACTOR, second.bias)


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


def _centred(tokens: Tensor, norm: nn.LayerNorm) -> Tensor:
    """n(x), in the type of x: a GPU's autocast would make float32 of it, though the sums are in float32 anyway."""
    with autocast(tokens.device, "float32"):
        return functional.layer_norm(tokens, norm.normalized_shape, eps=norm.eps)


def _folded(weight: Tensor, bias: Tensor, norm: nn.LayerNorm, factor: float = 1.0) -> tuple[Tensor, Tensor]:
    """Weight and bias, in their own precision, that give from n(x) what a layer times `factor` gives from norm(x)."""
    with autocast(weight.device, "float32"):
        scale, shift = norm.weight, bias + weight @ norm.bias
        return (weight * (scale * factor), shift * factor) if factor != 1.0 else (weight * scale, shift)
