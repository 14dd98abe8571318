"""Ranks: the processes that share one training, each with its rows of every batch.

Every rank holds all data and the same weights and draws the same random numbers, so only features and gradients travel:
features of all rows are gathered, each rank computes the loss of the whole batch, and the gradients of the ranks' rows
are summed. The loss is then that of one process with the whole batch, whatever the number of ranks.

Letters: R ranks, B batch, b = B / R rows of one rank, K distances, C feature width.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from c2p.training.machine import joined

BUCKET = 2**24
"""Numbers summed over the ranks in one go: 64 MB in float32."""


@dataclass(frozen=True)
class Ranks:
    """This process among those of its training."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the rank that writes files."""
        return self.rank == 0

    def own(self, rows: Tensor) -> Tensor:
        """This rank's rows of a batch: (B, ...) -> (b, ...)."""
        return rows.chunk(self.size)[self.rank]

    def gather(self, features: Tensor) -> Tensor:
        """Features of all rows, (K, b, C) -> (K, B, C); the gradient goes to this rank's own."""
        if self.size == 1:
            return features
        parts = [torch.empty_like(features) for _ in range(self.size)]
        distributed.all_gather(parts, features.detach().contiguous())
        parts[self.rank] = features
        return torch.cat(parts, dim=1)

    def sum_(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors, in place, by their sums over the ranks: the same bits on all of them."""
        if self.size == 1:
            return
        waiting = []
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.flatten() for tensor in bucket])
            waiting.append((bucket, flat, distributed.all_reduce(flat, async_op=True)))
        for bucket, flat, work in waiting:
            work.wait()
            for tensor, part in zip(bucket, flat.split([tensor.numel() for tensor in bucket]), strict=True):
                tensor.copy_(part.view(tensor.shape))

    def wait(self) -> None:
        """Wait until all ranks are here."""
        if self.size > 1:
            distributed.barrier()


ALONE = Ranks()
"""One process."""


@contextmanager
def open_ranks(device: torch.device) -> Iterator[Ranks]:
    """Join the processes that torchrun started: by NCCL where they have GPUs, else by gloo; alone if it did not.

    Where the block fails, the process has to end: the others wait for it, until torchrun ends them.
    """
    if not joined():
        yield ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
        distributed.init_process_group("nccl", device_id=device)
    else:
        distributed.init_process_group("gloo")
    yield Ranks(distributed.get_rank(), distributed.get_world_size())
    distributed.destroy_process_group()


def _buckets(tensors: Iterable[Tensor]) -> Iterator[Sequence[Tensor]]:
    """Tensors in groups of one dtype and about BUCKET numbers."""
    bucket: list[Tensor] = []
    size = 0
    for tensor in tensors:
        if bucket and (size + tensor.numel() > BUCKET or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += tensor.numel()
    if bucket:
        yield bucket
