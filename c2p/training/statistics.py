"""Statistics of batch norms taken anew, where a training is too short for the moving averages to follow its weights.

Source: Wu and Johnson, Rethinking "Batch" in BatchNorm, 2021, section 3 (PreciseBN).
Letters: b samples of this rank in a batch.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from c2p.training.gradients import autocast


@torch.no_grad()
def settle_statistics(network: nn.Module, batches: Iterable[Tensor], *, precision: str = "float32") -> None:
    """Replace the running statistics of all batch norms by their means over these batches; leaves evaluation mode.

    batches: (b, ...) each, of about the same size and drawn alike: a batch of one class would narrow the variances.
    None is asked for where there are no batch norms. What is dropped at random in training is not dropped here. With
    several ranks and `share_batchnorm` the statistics are those of all ranks' rows, equal on every rank.
    """
    norms = _norms(network)
    network.eval()
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over batches
        norm.train()
    for batch in batches if norms else ():
        with autocast(batch.device, precision):
            network(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()


@contextmanager
def settled(network: nn.Module, batches: Iterable[Tensor], *, precision: str = "float32") -> Iterator[None]:
    """The network in evaluation mode with settled statistics; afterwards it has those it had before, to the bit."""
    before = [[buffer.clone() for buffer in norm.buffers()] for norm in _norms(network)]
    settle_statistics(network, batches, precision=precision)
    try:
        yield
    finally:
        for norm, kept in zip(_norms(network), before, strict=True):
            for buffer, value in zip(norm.buffers(), kept, strict=True):
                buffer.copy_(value)


def _norms(network: nn.Module) -> list[_BatchNorm]:
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]
