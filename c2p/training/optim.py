"""Optimiser and learning rates: LAMB (You et al., 2020) in the form CLIP2Point's published code uses, and cosines."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from c2p import params

STEP_NUMBERS = 2**24
"""Weights that LAMB steps in one go on a GPU, at two temporary numbers each: 128 MB."""
PIECE = 30_000
"""Numbers of a tensor that LAMB works on at a time on a CPU; from 32,768 on torch shares them among threads."""


class Lamb(torch.optim.Optimizer):
    """Adam whose step on each tensor is scaled to the tensor's own norm.

    update = m / (sqrt(v) + eps) + weight_decay * w, without bias correction; w -= lr * trust * update with
    trust = min(|w|, `max_norm`) / |update|, and 1 where either norm is 0. Decay is on every tensor.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        max_norm: float = 10.0,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "max_norm": max_norm}
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Take one step; tensors without a gradient stay as they are. A closure is not supported."""
        assert closure is None
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            for weight in weights:
                if not self.state[weight]:
                    self.state[weight] = {"mean": torch.zeros_like(weight), "square": torch.zeros_like(weight)}
            slots = [Slot(weight, weight.grad, **self.state[weight]) for weight in weights]
            step_in_cache([slot for slot in slots if slot.weight.device.type == "cpu"], group)
            for bucket in buckets([slot for slot in slots if slot.weight.device.type != "cpu"], STEP_NUMBERS):
                step_together(bucket, group)


class Slot(NamedTuple):
    """A tensor of weights with what its step needs; all of one shape."""

    weight: Tensor
    grad: Tensor
    mean: Tensor
    square: Tensor


def step_together(slots: Sequence[Slot], group: dict[str, Any]) -> None:
    """LAMB's step of many tensors, each operation for all of them in a few kernels: what a GPU wants."""
    weights, grads, means, squares = (list(column) for column in zip(*slots, strict=True))
    first, second = group["betas"]
    torch._foreach_mul_(means, first)
    torch._foreach_add_(means, grads, alpha=1 - first)
    torch._foreach_mul_(squares, second)
    torch._foreach_addcmul_(squares, grads, grads, value=1 - second)
    updates = torch._foreach_sqrt(squares)
    torch._foreach_add_(updates, group["eps"])
    updates = torch._foreach_div(means, updates)
    torch._foreach_add_(updates, weights, alpha=group["weight_decay"])
    weight_norms, update_norms = (torch.stack(torch._foreach_norm(list(part))) for part in (weights, updates))
    trusts = weight_norms.clamp(max=group["max_norm"]) / update_norms
    trusts = torch.where((weight_norms > 0) & (update_norms > 0), trusts, torch.ones_like(trusts))
    torch._foreach_mul_(updates, list((group["lr"] * trusts).unbind()))
    torch._foreach_sub_(weights, updates)


def step_in_cache(slots: Sequence[Slot], group: dict[str, Any]) -> None:
    """LAMB's step of one tensor after the other, in pieces that stay in a core's cache: what a CPU wants.

    Pieces are too small for torch to share them among threads, whose meeting after every operation takes longer than
    the work where other processes want the cores. So is the root as the inverse of `rsqrt`: `sqrt` shares even those.
    """
    if not slots:
        return
    (first, second), eps, decay = group["betas"], group["eps"], group["weight_decay"]
    updates = torch.empty(max(slot.weight.numel() for slot in slots), dtype=slots[0].weight.dtype)
    for slot in slots:
        update = updates[: slot.weight.numel()].view(slot.weight.shape)
        pieces = list(zip(*(_pieces(tensor) for tensor in (*slot, update)), strict=True))
        norms = []
        for weight, grad, mean, square, part in pieces:
            mean.mul_(first).add_(grad, alpha=1 - first)
            square.mul_(second).addcmul_(grad, grad, value=1 - second)
            torch.rsqrt(square, out=part).reciprocal_().add_(eps)
            torch.div(mean, part, out=part).add_(weight, alpha=decay)
            norms.append(torch.stack([torch.linalg.vector_norm(weight), torch.linalg.vector_norm(part)]))
        weight_norm, update_norm = torch.linalg.vector_norm(torch.stack(norms), dim=0).tolist()
        trust = min(weight_norm, group["max_norm"]) / update_norm if weight_norm > 0 and update_norm > 0 else 1.0
        for weight, *_, part in pieces:
            weight.sub_(part, alpha=group["lr"] * trust)


def buckets(slots: Sequence[Slot], size: int) -> Iterator[Sequence[Slot]]:
    """Tensors in groups of at most `size` numbers, or of one tensor: what a step adds to the memory is bounded."""
    bucket: list[Slot] = []
    for slot in slots:
        if bucket and sum(other.weight.numel() for other in bucket) + slot.weight.numel() > size:
            yield bucket
            bucket = []
        bucket.append(slot)
    if bucket:
        yield bucket


def _pieces(tensor: Tensor) -> Sequence[Tensor]:
    """Rows of a tensor in views of at most PIECE numbers where a row has not more."""
    rows = tensor if tensor.ndim else tensor.unsqueeze(0)
    return rows.split(max(1, PIECE // max(1, rows[0].numel())))


def learning_rate(step: int, *, peak: float, minimum: float = 0.0, cycle: int, warmup: int = 0) -> float:
    """Learning rate of a step: linear warm-up, then a cosine from `peak` to `minimum`, restarted every `cycle` steps.

    step: counted from 0 over the whole run. warmup: steps before the first cosine; their rates are peak * (step + 1) /
    warmup. A cycle of all remaining steps is one cosine without a restart.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    phase = (step - warmup) % cycle / cycle
    return minimum + (peak - minimum) * (1 + math.cos(math.pi * phase)) / 2


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group of the optimiser the rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def create_optimizer(weights: list[torch.nn.Parameter], settings: params.Pretrain) -> torch.optim.Optimizer:
    """The optimiser that the parameters name; decay on every weight."""
    if settings.optimizer == "lamb":
        return Lamb(weights, settings.lr, weight_decay=settings.weight_decay)
    return torch.optim.AdamW(weights, settings.lr, weight_decay=settings.weight_decay, fused=True)


def rate_of_step(step: int, per_epoch: int, settings: params.Pretrain) -> float:
    """Learning rate of pre-training's schedule; step: counted from 0; per_epoch: steps an epoch."""
    steps = per_epoch * settings.epochs
    warmup = min(round(settings.warmup * steps), steps - 1)
    cycle = per_epoch * settings.restart_epochs if settings.schedule == "restarts" else steps - warmup
    return learning_rate(step, peak=settings.lr, minimum=settings.lr_min, cycle=cycle, warmup=warmup)


def gradient_norm(weights: Iterable[Tensor]) -> Tensor:
    """Euclidean norm over all gradients, a scalar."""
    return torch.nn.utils.get_total_norm([weight.grad for weight in weights if weight.grad is not None])
