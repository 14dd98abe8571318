"""Accuracies and calibration of classifiers, their mean, spread and interval over seeds and test objects.

Legend: N object, K class, S seed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from c2p.evaluation.zeroshot import softmax

DIGITS = 4
"""Decimals kept of a percentage: finer than one object of any test set, coarser than rounding noise."""
TOPS = (3, 5)
"""Accuracy is also counted among so many best classes."""
BINS = 15
"""Equal-width bins of confidence in the calibration error (Guo et al. 2017)."""
RESAMPLES = 4000
"""Bootstrap draws of an interval: its ends move by less than a twentieth of its width with the seed."""
LEVEL = 95.0
"""Percent of the draws that lie in an interval."""
BOOTSTRAP_SEED = 20230


@dataclass(frozen=True)
class Scores:
    """How one classifier did on one test set; percentages are in [0, 100]."""

    top1: float
    """Share of objects classified right."""
    class_mean: float
    """Mean over the classes that have objects of the share classified right."""
    tops: Mapping[int, float]
    """Share of objects whose class is among the k with the largest logits, for each k of TOPS below the number of
    classes: with k classes or fewer every object would count."""
    ece: float
    """Expected calibration error of the top class's probability."""
    confusion: np.ndarray
    """(K, K) int64: objects of class row classified as column."""
    predicted: np.ndarray
    """(N,) int64: the class with the largest logit, the first of equals."""
    hits: np.ndarray
    """(N,) bool: objects classified right."""


def score(logits: np.ndarray, labels: np.ndarray, *, scale: float) -> Scores:
    """Score logits (N, K) float against labels (N,) int64; probabilities are softmax(scale * logits).

    Raises ValueError: no objects, fewer than two classes, labels outside the classes, or logits that are not finite.
    """
    if len(labels) == 0:
        raise ValueError("a test split with 0 objects; allowed: at least 1")
    if logits.shape[1] < 2:
        raise ValueError(f"logits of {logits.shape[1]} classes; allowed: at least 2, with one every object is right")
    if len(labels) != len(logits) or not (labels.min() >= 0 and labels.max() < logits.shape[1]):
        raise ValueError(
            f"{len(labels)} labels from {labels.min()} to {labels.max()} for logits of shape {logits.shape}; "
            "allowed: one label an object, each an index of a class"
        )
    if not np.isfinite(logits).all():
        raise ValueError("logits that are not finite; the features or the adapter behind them are broken: make again")
    classes = logits.shape[1]
    order = np.argsort(-logits, axis=1, kind="stable")
    predicted = order[:, 0]
    hits = predicted == labels
    confusion = np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)
    objects = confusion.sum(axis=1)
    recalls = confusion.diagonal()[objects > 0] / objects[objects > 0]
    among = order == labels[:, None]
    return Scores(
        top1=100 * float(hits.mean()),
        class_mean=100 * float(recalls.mean()),
        tops={k: 100 * float(among[:, :k].any(axis=1).mean()) for k in TOPS if k < classes},
        ece=calibration_error(softmax(scale * logits)[np.arange(len(labels)), predicted], hits),
        confusion=confusion.astype(np.int64),
        predicted=predicted.astype(np.int64),
        hits=hits,
    )


def calibration_error(confidence: np.ndarray, hits: np.ndarray) -> float:
    """Expected calibration error, percent: the mean over objects of how far a bin's accuracy is from its confidence.

    Args:
        confidence: (N,) float, the top class's probability; bin b of BINS holds (b/BINS, (b+1)/BINS].
        hits: (N,) bool, whether the top class is right.
    Source: Guo et al., On calibration of modern neural networks, ICML 2017, Eq. 3.
    """
    bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    gaps = np.bincount(bins, weights=hits - confidence, minlength=BINS)
    return 100 * float(np.abs(gaps).sum() / len(hits))


def interval(hits: Sequence[np.ndarray]) -> tuple[float, float]:
    """Bootstrap interval of the mean over seeds of top-1 accuracy, percent.

    RESAMPLES times, test objects are drawn with replacement, the same for every seed; where there are several seeds,
    so many seeds are drawn with replacement too. The interval holds the middle LEVEL percent of the means (percentile
    method). It says how far the mean would move with other test objects of the same kind and other seeds; three or five
    seeds tell little about seeds, so it is rather too short where they matter most. It doesn't depend on the order of
    the objects.

    Args:
        hits: (N,) bool for each of S seeds, objects in the same order.
    Returns:
        Its two ends.
    """
    # Objects with the same hits under every seed are alike: counting them by kind is the same draw, and far cheaper.
    kinds, counts = np.unique(np.stack(hits, axis=1), axis=0, return_counts=True)
    generator = np.random.default_rng(BOOTSTRAP_SEED)
    drawn = generator.multinomial(counts.sum(), counts / counts.sum(), size=RESAMPLES)
    accuracies = 100 * (drawn @ kinds) / counts.sum()
    seeds = generator.integers(len(hits), size=(RESAMPLES, len(hits)))
    means = np.take_along_axis(accuracies, seeds, axis=1).mean(axis=1)
    low, high = np.percentile(means, [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
    return float(low), float(high)


def summarise(scores: Mapping[int, Scores] | Scores) -> dict[str, Any]:
    """Metrics of one method on one set, percent.

    One Scores (nothing was drawn at random) gives `mean` (top-1), `class_mean`, `top3` and `top5` where there are more
    classes than that, `ece` and `interval`; of a mapping of seed to Scores these are means over the seeds, `seeds` has
    each seed's top-1, and from two seeds on `std` is their sample standard deviation (ddof 1).
    """
    group = [scores] if isinstance(scores, Scores) else list(scores.values())
    assert group, "no seed was scored"

    def mean(values: Sequence[float]) -> float:
        return round(float(np.mean(values)), DIGITS)

    summary: dict[str, Any] = {
        "mean": mean([s.top1 for s in group]),
        "class_mean": mean([s.class_mean for s in group]),
        **{f"top{k}": mean([s.tops[k] for s in group]) for k in group[0].tops},
        "ece": mean([s.ece for s in group]),
        "interval": [round(end, DIGITS) for end in interval([s.hits for s in group])],
    }
    if not isinstance(scores, Scores):
        summary["seeds"] = {str(seed): round(s.top1, DIGITS) for seed, s in scores.items()}
        if len(group) > 1:
            summary["std"] = round(float(np.std([s.top1 for s in group], ddof=1)), DIGITS)
    return summary
