"""What predictions tell beyond one number: confusion, accuracy by class, and whether confidence can be believed."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from c2p.evaluation.predictions import Prediction, confusion_counts, per_class, read_predictions

BINS = 10
"""Equal-width bins of confidence in the reliability diagram."""


@dataclass(frozen=True)
class Confusion:
    """A confusion matrix and what it is of."""

    title: str
    classes: tuple[str, ...]
    counts: np.ndarray
    """(K, K) int64, rows actual; summed over seeds."""


@dataclass(frozen=True)
class ClassAccuracy:
    """How one class was recognised by several methods."""

    name: str
    objects: int
    accuracies: tuple[float, ...]
    """Percent of its objects, by method, the mean over seeds."""
    taken_for: str
    """The other class that the last method took it for most often; empty: every object was right."""


@dataclass(frozen=True)
class Bin:
    """Predictions of like confidence."""

    confidence: float
    """Their mean, percent."""
    accuracy: float
    """Percent of them that are right."""
    count: int


def read_seeds(path: Path, *, dataset: str, method: str, seeds: Sequence[int | None]) -> list[list[Prediction]]:
    """Predictions of one classifier with each seed; empty where the table has none of it."""
    try:
        return [read_predictions(path, dataset=dataset, method=method, seed=seed) for seed in seeds]
    except ValueError:
        return []


def confusion_of(predictions: Sequence[Prediction], classes: Sequence[str], title: str) -> Confusion:
    """Count predictions by actual and predicted class."""
    return Confusion(title, tuple(classes), confusion_counts(predictions, classes))


def class_accuracies(methods: Sequence[Sequence[Prediction]], classes: Sequence[str]) -> list[ClassAccuracy]:
    """Accuracy by class of several methods on the same objects; classes without objects are left out.

    methods: the predictions of each, those of all its seeds together. Sorted by the last method's accuracy, falling.
    """
    tables = [per_class(rows, classes) for rows in methods]
    seeds = max(1, Counter(row.key for row in methods[-1]).most_common(1)[0][1]) if methods and methods[-1] else 1
    found = [
        ClassAccuracy(name, rows[-1].objects // seeds, tuple(accuracies), rows[-1].taken_for)
        for name, *rows in zip(classes, *tables, strict=True)
        if len(accuracies := [row.accuracy for row in rows if row.accuracy is not None]) == len(tables)
    ]
    return sorted(found, key=lambda row: (-row.accuracies[-1], row.name))


def reliability(predictions: Sequence[Prediction]) -> list[Bin]:
    """Accuracy by confidence, the probability of the predicted class; empty bins are left out.

    Bin b of BINS holds (b / BINS, (b + 1) / BINS].
    """
    confidence = np.array([row.shares[0] for row in predictions])
    hits = np.array([row.actual == row.predicted for row in predictions])
    places = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    return [
        Bin(100 * float(confidence[inside].mean()), 100 * float(hits[inside].mean()), int(inside.sum()))
        for inside in (places == place for place in range(BINS))
        if inside.any()
    ]
