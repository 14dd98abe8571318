"""Tip-Adapter's cache: training objects as keys, their classes as values, beside the zero-shot logits; no training.

Zhang et al., Tip-Adapter: training-free adaption of CLIP for few-shot classification, ECCV 2022. Its published code
searches alpha and beta on the test set; here they are chosen on held-out training objects, or fixed.

Legend: N object, V view, C feature width, K class.
"""

import logging
from dataclasses import dataclass
from itertools import product

import numpy as np

from c2p.evaluation.linear_probe import pooled
from c2p.evaluation.selection import best, held_out, merit
from c2p.evaluation.zeroshot import zeroshot_logits

log = logging.getLogger(__name__)

ALPHAS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
BETAS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
"""Candidates, in the order of preference among equals: ours. Wider than the published ranges (up to 3 and 7), since
features averaged over views lie closer together than photographs'."""


@dataclass(frozen=True)
class Cache:
    """What the shots leave behind."""

    keys: np.ndarray
    """(n, C) float64, of length one."""
    values: np.ndarray
    """(n, K) float64, a one in each row's class."""

    def logits(self, queries: np.ndarray, *, beta: float) -> np.ndarray:
        """Affinity with every class: exp(-beta (1 - cosine)) summed over its keys; (N, C) of length one -> (N, K)."""
        return np.exp(-beta * (1 - queries @ self.keys.T)) @ self.values


def tip_adapter_logits(
    train: np.ndarray,
    labels: np.ndarray,
    test: np.ndarray,
    text: np.ndarray,
    *,
    scale: float,
    alpha: float,
    beta: float,
    share: float = 0.0,
) -> np.ndarray:
    """Zero-shot logits plus alpha times the cache's.

    Args:
        train: (n, V, C) float.
        labels: (n,) int64.
        test: (N, V, C) float.
        text: (K, C) float.
        scale: CLIP's learnt factor on cosines.
        alpha: weight of the cache; with beta used as it is where share is 0, or where a class has a single object.
        beta: sharpness of the affinity.
        share: of the training objects that alpha and beta are chosen on; the cache that counts holds all of them.
    Returns:
        (N, K) float64; their softmax gives probabilities. With alpha 0, scale times the zero-shot logits.
    Raises ValueError: no training objects, or widths that differ.
    """
    if len(labels) == 0:
        raise ValueError("0 training objects; allowed: at least 1")
    keys = queries_of(train)
    values = np.eye(len(text))[labels]
    apart = held_out(labels, share=share) if share else None
    if apart is not None:
        known = scale * zeroshot_logits(train[apart], text)
        alpha, beta = choose(Cache(keys[~apart], values[~apart]), keys[apart], known, labels[apart])
    cached = Cache(keys, values).logits(queries_of(test), beta=beta)
    return scale * zeroshot_logits(test, text) + alpha * cached


def queries_of(features: np.ndarray) -> np.ndarray:
    """One vector of length one an object, (N, V, C) float -> (N, C) float64: the mean of its views at length one."""
    mean = pooled(features, "mean")
    return mean / np.linalg.norm(mean, axis=-1, keepdims=True)


def choose(cache: Cache, queries: np.ndarray, known: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Alpha and beta that classify held-out training objects best; known: (N, K) their zero-shot logits."""
    pairs = list(product(ALPHAS, BETAS))
    cached = {beta: cache.logits(queries, beta=beta) for beta in BETAS}
    chosen = pairs[best([merit(known + alpha * cached[beta], labels) for alpha, beta in pairs])]
    log.debug("Tip-Adapter: alpha %g, beta %g of %d held-out objects", *chosen, len(labels))
    return chosen
