"""Losses of the pre-trainings: CLIP2Point section 3.2.1, Eq. 5 to 11, and the InfoNCE of CG3D.

Letters: N samples a batch, C feature width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


def nt_xent(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """NT-Xent between two sets of paired features, the form shared by Eq. 5-7 and Eq. 8-10.

    For every one of the 2N features its partner is the positive among the 2N - 1 others. Features are L2-normalised
    here, so e(x, y) = exp(cos(x, y) / temperature).

    a, b: (N, C) float, row i of each a pair. Returns the mean over the 2N features, a scalar.
    Raises ValueError: shapes that differ or are not (N, C).
    """
    if a.shape != b.shape or a.ndim != 2:
        raise ValueError(f"features: got shapes {tuple(a.shape)} and {tuple(b.shape)}; allowed: two of the same (N, C)")
    count = len(a)
    features = functional.normalize(torch.cat([a, b]), dim=-1)
    logits = features @ features.T / temperature
    itself = torch.eye(2 * count, dtype=torch.bool, device=a.device)
    partner = torch.arange(2 * count, device=a.device).roll(count)
    return functional.cross_entropy(logits.masked_fill(itself, float("-inf")), partner)


def intra_loss(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Eq. 5-7: features of the same views' depth maps at two distances, (N, C) each."""
    return nt_xent(first, second, temperature)


def cross_loss(depth: Tensor, image: Tensor, temperature: float) -> Tensor:
    """Eq. 8-10: depth features (the mean over the distances) against image features, (N, C) each."""
    return nt_xent(depth, image, temperature)


def info_nce(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """InfoNCE between two sets of paired features, both ways: CLIP's loss, which CG3D takes for every two kinds.

    For every feature its partner is the positive among the N features of the other set; those of its own set play no
    part, unlike in `nt_xent`. Features are L2-normalised here.

    a, b: (N, C) float, row i of each a pair. Returns the mean over the 2N features, a scalar.
    Raises ValueError: shapes that differ or are not (N, C).
    """
    if a.shape != b.shape or a.ndim != 2:
        raise ValueError(f"features: got shapes {tuple(a.shape)} and {tuple(b.shape)}; allowed: two of the same (N, C)")
    logits = functional.normalize(a, dim=-1) @ functional.normalize(b, dim=-1).T / temperature
    partner = torch.arange(len(a), device=a.device)
    return (functional.cross_entropy(logits, partner) + functional.cross_entropy(logits.T, partner)) / 2


class Balance(nn.Module):
    """Eq. 11: intra / sigma^2 + cross + log(sigma + 1), with sigma learnt from 1."""

    def __init__(self) -> None:
        super().__init__()
        self.sigma = nn.Parameter(torch.ones(()))

    def forward(self, intra: Tensor, cross: Tensor) -> Tensor:
        """Two scalars to the overall loss, a scalar."""
        return intra / self.sigma**2 + cross + torch.log(self.sigma + 1)
