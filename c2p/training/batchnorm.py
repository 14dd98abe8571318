"""Batch norm in a training of several ranks: the statistics are those of the whole batch, as one process has them.

torch's SyncBatchNorm does this on GPUs only; this one runs wherever the ranks do, in plain operations.
Letters: B samples of this rank, C channels; what follows them, pixels or points, is averaged over.
"""

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm


class BatchNormError(ValueError):
    """Batch norm that can't have the statistics of the whole batch; the message is one line."""


def has_batchnorm(model: nn.Module) -> bool:
    """Whether features of a sample depend on the other samples it is encoded with."""
    return any(isinstance(module, _BatchNorm) for module in model.modules())


def share_batchnorm(model: nn.Module) -> None:
    """Let the batch norms of a model take their statistics over all ranks; names and weights stay.

    Raises BatchNormError: batch norm of another kind than BatchNorm1d and BatchNorm2d.
    """
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, _BatchNorm) and type(child) in (nn.BatchNorm1d, nn.BatchNorm2d):
                setattr(parent, name, _shared(child))
            elif isinstance(child, _BatchNorm) and not isinstance(child, SharedBatchNorm):
                raise BatchNormError(
                    f"{type(child).__name__}: its statistics can't be shared between processes; allowed: BatchNorm1d, "
                    "BatchNorm2d; train this tower with one process (C2P_PROCESSES=1)"
                )


class SharedBatchNorm(_BatchNorm):
    """Batch norm over the samples of all ranks; in evaluation mode the plain one."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, ...) float -> the same shape and dtype; statistics in float32."""
        if not self.training:
            return super().forward(input)
        values = input.float()
        count = values.numel() // values.shape[1] * distributed.get_world_size()
        others = (0, *range(2, values.ndim))
        channels = (-1, *[1] * (values.ndim - 2))
        mean = _Sum.apply(values.sum(others)) / count
        centred = values - mean.view(channels)
        variance = _Sum.apply(centred.square().sum(others)) / count
        self._remember(mean.detach(), variance.detach() * (count / (count - 1)))
        scale = (variance + self.eps).rsqrt() * self.weight
        return (centred * scale.view(channels) + self.bias.view(channels)).to(input.dtype)

    def _check_input_dim(self, input: Tensor) -> None:
        assert input.ndim >= 2

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        assert self.num_batches_tracked is not None
        assert self.running_mean is not None and self.running_var is not None
        self.num_batches_tracked += 1
        # as in torch, no momentum is the mean over all batches so far
        weight = 1 / self.num_batches_tracked.item() if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, weight)
        self.running_var.lerp_(variance, weight)


class _Sum(torch.autograd.Function):
    """Sum over the ranks; so is its gradient, since each rank's loss reaches it through its own samples."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].clone()
        distributed.all_reduce(total)
        return total


def _shared(norm: _BatchNorm) -> SharedBatchNorm:
    if not (norm.affine and norm.track_running_stats):
        raise BatchNormError(
            f"{type(norm).__name__} without weights or running mean can't be shared; use C2P_PROCESSES=1"
        )
    shared = SharedBatchNorm(norm.num_features, norm.eps, norm.momentum, device=norm.weight.device)
    shared.weight, shared.bias = norm.weight, norm.bias
    shared.running_mean, shared.running_var = norm.running_mean, norm.running_var
    shared.num_batches_tracked = norm.num_batches_tracked
    return shared.train(norm.training)
