"""Optimiser and learning rates: LAMB (You et al., 2020) in the form CLIP2Point's published code uses, and cosines."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


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
            for weight in group["params"]:
                if weight.grad is not None:
                    self._step_tensor(weight, weight.grad, group)

    def _step_tensor(self, weight: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state["mean"] = torch.zeros_like(weight)
            state["square"] = torch.zeros_like(weight)
        first, second = group["betas"]
        state["mean"].mul_(first).add_(grad, alpha=1 - first)
        state["square"].mul_(second).addcmul_(grad, grad, value=1 - second)
        update = state["mean"] / (state["square"].sqrt() + group["eps"])
        update.add_(weight, alpha=group["weight_decay"])
        weight_norm, update_norm = weight.norm(), update.norm()
        trust = weight_norm.clamp(max=group["max_norm"]) / update_norm
        trust = torch.where((weight_norm > 0) & (update_norm > 0), trust, torch.ones_like(trust))
        weight.sub_(group["lr"] * trust * update)


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
