"""Choices made on held-out training objects; test objects never come here.

Legend: N object, K class.
"""

from collections.abc import Sequence

import numpy as np

from c2p.evaluation.zeroshot import softmax


def held_out(labels: np.ndarray, *, share: float) -> np.ndarray | None:
    """Which training objects to choose on: the first of every class, about a share of it, at least one.

    The objects of a k-shot problem come in an order drawn by its seed (subsets.few_shot_rows), so the first are as
    good as any.

    Args:
        labels: (N,) int64.
        share: of each class, between 0 and 1.
    Returns:
        (N,) bool; None where a class has one object only, so that none can be spared.
    """
    counts = np.bincount(labels)
    if counts[counts > 0].min() < 2:
        return None
    wanted = np.clip((counts * share).astype(np.int64), 1, np.maximum(counts - 1, 1))
    # How many objects of its own class stand before each object.
    order = np.argsort(labels, kind="stable")
    before = np.empty(len(labels), np.int64)
    before[order] = np.arange(len(labels)) - (np.cumsum(counts) - counts)[labels[order]]
    return before < wanted[labels]


def merit(logits: np.ndarray, labels: np.ndarray) -> tuple[int, float]:
    """How good logits (N, K) are, larger is better: objects classified right, and of equals the log-likelihood."""
    shares = softmax(logits)[np.arange(len(labels)), labels]
    likelihood = np.log(np.maximum(shares, np.finfo(np.float64).tiny)).mean()
    return int((logits.argmax(axis=1) == labels).sum()), float(likelihood)


def best(merits: Sequence[tuple[int, float]]) -> int:
    """Place of the largest merit, the first of equals."""
    return max(range(len(merits)), key=lambda place: (merits[place], -place))
