"""Gradients of a batch: of one loss over all its features, whatever ranks and pieces the batch is encoded in.

The loss of a sample depends on every other sample's features but on nothing else of them. So features are computed
first, the loss's gradient with respect to them next, and each piece is taken back from there through the tower by
itself. A batch of one piece is ordinary backpropagation; of several, every piece is encoded twice, the first time
without keeping what its way back needs (Gao et al., 2021, "Scaling deep contrastive learning batch size under memory
limited setup").

Letters: K distances (1 or 2), B batch, b rows of this rank, m rows of a piece, C feature width.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from c2p import params
from c2p.models.losses import Balance, cross_loss, intra_loss
from c2p.training.distributed import Ranks

TERMS = ("loss", "intra", "cross")
"""What `losses` returns, in this order."""


@dataclass(frozen=True)
class Tower:
    """How features are computed."""

    encode: Callable[[Tensor], Tensor]
    """(n, 3, H, W) depth images to (n, C) float32 features."""
    weights: Sequence[Tensor]
    """What is trained in it."""
    device: torch.device
    precision: str
    """`bfloat16`: autocast; `float32`: as it is."""


def backpropagate(
    tower: Tower,
    balance: Balance,
    pieces: Sequence[Tensor],
    targets: Tensor,
    settings: params.Pretrain,
    *,
    ranks: Ranks,
    key: tuple[int, ...],
) -> Tensor:
    """Set the gradients of tower and balance for one batch.

    pieces: depth images of this rank's rows, (K, m, 3, H, W) each; targets: (B, C) image features of all rows; key:
    seeds what a tower draws at random (dropout), so that no global generator is used.
    Returns (3,) float32 values of TERMS for the whole batch, the same on every rank.
    """
    whole = len(pieces) == 1
    with torch.set_grad_enabled(whole):
        encoded = [_encode(tower, piece, (*key, ranks.rank, index)) for index, piece in enumerate(pieces)]
    own = torch.cat(encoded, dim=1).detach().requires_grad_()
    balance.zero_grad(set_to_none=True)
    terms = losses(ranks.gather(own), targets, balance, settings)
    terms[0].backward()
    assert own.grad is not None
    for weight in tower.weights:
        weight.grad = None
    for index, (piece, grad) in enumerate(zip(pieces, own.grad.split([p.shape[1] for p in pieces], 1), strict=True)):
        features = encoded[0] if whole else _encode(tower, piece, (*key, ranks.rank, index))
        features.backward(grad)
    for weight in balance.parameters():
        if weight.grad is not None and not ranks.first:
            weight.grad.zero_()  # every rank has the whole of it: one counts
    ranks.sum_(weight.grad for weight in (*tower.weights, *balance.parameters()) if weight.grad is not None)
    return torch.stack(terms).detach()


def losses(
    features: Tensor, targets: Tensor, balance: Balance, settings: params.Pretrain
) -> tuple[Tensor, Tensor, Tensor]:
    """Overall, intra-modality and cross-modality loss (Eq. 5 to 11) of features (K, B, C) and targets (B, C).

    Without settings.intra K is 1, the intra-modality loss 0, and the overall loss Eq. 10 alone.
    """
    if not settings.intra:
        cross = cross_loss(features[0], targets, settings.temperature)
        return cross, torch.zeros_like(cross), cross
    intra = intra_loss(features[0], features[1], settings.temperature)
    cross = cross_loss((features[0] + features[1]) / 2, targets, settings.temperature)
    return balance(intra, cross), intra, cross


@contextmanager
def autocast(device: torch.device, precision: str) -> Iterator[None]:
    """Matrix products in bfloat16 where `precision` says so, else everything as it is."""
    if precision != "bfloat16" and not torch.amp.is_autocast_available(device.type):
        yield
        return
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        yield


def _encode(tower: Tower, images: Tensor, key: tuple[int, ...]) -> Tensor:
    """(K, m, 3, H, W) -> (K, m, C)."""
    with _seeded(tower.device, key), autocast(tower.device, tower.precision):
        return tower.encode(images.flatten(0, 1)).unflatten(0, images.shape[:2])


@contextmanager
def _seeded(device: torch.device, key: tuple[int, ...]) -> Iterator[None]:
    """Generators seeded from a key inside the block, and as they were after it."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]))
        yield
