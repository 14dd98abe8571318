"""Accuracies of classifiers, and their mean and spread over seeds.

Legend: N object, K class.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

DIGITS = 4
"""Decimals kept of a percentage: finer than one object of any test set, coarser than rounding noise."""


@dataclass(frozen=True)
class Scores:
    """How one classifier did on one test set; percentages are in [0, 100]."""

    top1: float
    """Share of objects classified right."""
    class_mean: float
    """Mean over the classes that have objects of the share classified right."""
    confusion: np.ndarray
    """(K, K) int64: objects of class row classified as column."""
    predicted: np.ndarray
    """(N,) int64: the class with the largest logit, the first of equals."""


def score(logits: np.ndarray, labels: np.ndarray) -> Scores:
    """Score logits (N, K) float against labels (N,) int64.

    Raises ValueError: no objects, or labels outside the classes.
    """
    if len(labels) == 0:
        raise ValueError("a test split with 0 objects; allowed: at least 1")
    if len(labels) != len(logits) or not (labels.min() >= 0 and labels.max() < logits.shape[1]):
        raise ValueError(
            f"{len(labels)} labels from {labels.min()} to {labels.max()} for logits of shape {logits.shape}; "
            "allowed: one label an object, each an index of a class"
        )
    predicted = logits.argmax(axis=1)
    classes = logits.shape[1]
    confusion = np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)
    objects = confusion.sum(axis=1)
    recalls = confusion.diagonal()[objects > 0] / objects[objects > 0]
    top1 = 100 * confusion.trace() / len(labels)
    return Scores(float(top1), float(100 * recalls.mean()), confusion.astype(np.int64), predicted.astype(np.int64))


def summarise(scores: Mapping[int, Scores] | Scores) -> dict[str, Any]:
    """Metrics of one method on one set, percent.

    One Scores (nothing was drawn at random) gives `mean` and `class_mean`; a mapping of seed to Scores also gives
    `seeds` and, from two seeds on, the sample standard deviation `std` (ddof 1).
    """
    if isinstance(scores, Scores):
        return {"mean": round(scores.top1, DIGITS), "class_mean": round(scores.class_mean, DIGITS)}
    assert scores, "no seed was scored"
    top1 = np.array([s.top1 for s in scores.values()])
    summary: dict[str, Any] = {
        "mean": round(float(top1.mean()), DIGITS),
        "class_mean": round(float(np.mean([s.class_mean for s in scores.values()])), DIGITS),
        "seeds": {str(seed): round(s.top1, DIGITS) for seed, s in scores.items()},
    }
    if len(top1) > 1:
        summary["std"] = round(float(top1.std(ddof=1)), DIGITS)
    return summary
