"""View weights of PointCLIP (CLIP2Point Eq. 1 with alpha_v): a search over a grid of weights.

PointCLIP's published code tries 4^6 combinations on the test set. The search here gets whatever labels it is given:
those of the training shots, or, in the method that is marked so, the test set's.

Legend: N object, V view, K class, G grid.
"""

from collections.abc import Iterator
from itertools import product

import numpy as np

LEVELS = (0.25, 0.5, 0.75, 1.0)
"""Weights tried for each view (PointCLIP's published code)."""
CHUNK = 2**20
"""Logits computed at a time."""


def view_grid(views: int) -> np.ndarray:
    """Every combination of LEVELS, (G, V) float64, each summing to one; proportional ones once, in a fixed order."""
    shares: dict[tuple[int, ...], None] = {}
    for levels in product(range(1, len(LEVELS) + 1), repeat=views):
        divisor = int(np.gcd.reduce(levels))
        shares[tuple(level // divisor for level in levels)] = None
    grid = np.array(list(shares), dtype=np.float64)
    return grid / grid.sum(axis=1, keepdims=True)


def search_view_weights(cosines: np.ndarray, labels: np.ndarray, *, scale: float) -> np.ndarray:
    """The weights under which most objects are classified right; of equals the likeliest.

    Args:
        cosines: (N, V, K) float, of every view with every prompt.
        labels: (N,) int64, of the objects searched on.
        scale: CLIP's learnt factor on cosines.
    Returns:
        (V,) float64, sum one.
    Raises ValueError: no objects to search on.
    """
    if len(labels) == 0:
        raise ValueError("0 objects to search view weights on; allowed: at least 1")
    grid = view_grid(cosines.shape[1])
    right = np.concatenate([(logits.argmax(axis=2) == labels).sum(axis=1) for logits in _over(grid, cosines)])
    winners = grid[right == right.max()]
    likelihoods = np.concatenate([_likelihood(scale * logits, labels) for logits in _over(winners, cosines)])
    return winners[likelihoods.argmax()]


def _over(grid: np.ndarray, cosines: np.ndarray) -> Iterator[np.ndarray]:
    """Logits (g, N, K) float64 of every row of a grid (G, V), some rows at a time."""
    objects, views, classes = cosines.shape
    flat = cosines.transpose(1, 0, 2).reshape(views, -1).astype(np.float64)
    step = max(1, CHUNK // (objects * classes))
    for start in range(0, len(grid), step):
        yield (grid[start : start + step] @ flat).reshape(-1, objects, classes)


def _likelihood(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean log-likelihood (g,) of the labels under logits (g, N, K)."""
    highest = logits.max(axis=2)
    spread = np.exp(logits - highest[..., None]).sum(axis=2)
    return (logits[:, np.arange(len(labels)), labels] - highest - np.log(spread)).mean(axis=1)


def weighted_logits(cosines: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean over the views, (N, V, K) and (V,) of sum one -> (N, K) float64."""
    return np.einsum("nvk,v->nk", cosines.astype(np.float64), weights)
