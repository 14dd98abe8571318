"""Losses of the image-depth pre-training: CLIP2Point section 3.2.1, Eq. 5 to 11.

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


class Balance(nn.Module):
    """Eq. 11: intra / sigma^2 + cross + log(sigma + 1), with sigma learnt from 1."""

    def __init__(self) -> None:
        super().__init__()
        self.sigma = nn.Parameter(torch.ones(()))

    def forward(self, intra: Tensor, cross: Tensor) -> Tensor:
        """Two scalars to the overall loss, a scalar."""
        return intra / self.sigma**2 + cross + torch.log(self.sigma + 1)
