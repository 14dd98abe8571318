"""How well a scene's points are named: IoU of every class, their mean, and accuracy.

Letters: S points, K classes; label K is the floor, label -1 a point without a name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

DIGITS = 4
"""Decimals of a metric."""


@dataclass(frozen=True)
class SceneScore:
    """Scores in percent."""

    miou: float
    """Mean IoU of the objects' classes, the floor aside: it is found by geometry, and easily."""
    miou_with_floor: float
    accuracy: float
    """Share of the objects' points that have the right name."""
    accuracy_with_floor: float
    floor: float
    """IoU of the floor."""


def confusion(truth: np.ndarray, said: np.ndarray, classes: int) -> np.ndarray:
    """Points by true label and by the label they were given, in the last column those without a name.

    truth: (S,) int in [0, K]; said: (S,) int in [-1, K]. Returns (K + 1, K + 2) int64.
    """
    assert truth.shape == said.shape and truth.min(initial=0) >= 0 and said.max(initial=0) <= classes
    width = classes + 2
    said = np.where(said < 0, classes + 1, said)
    return np.bincount(truth * width + said, minlength=(classes + 1) * width).reshape(classes + 1, width)


def class_ious(counts: np.ndarray) -> np.ndarray:
    """IoU of every label, (K + 1, K + 2) counts to (K + 1,) float64 in [0, 1].

    Points that have the label rightly, over those that have it or should. NaN: a label that neither occurs nor is said.
    """
    labels = len(counts)
    right = np.diag(counts[:, :labels]).astype(np.float64)
    union = counts.sum(1) + counts[:, :labels].sum(0) - right
    return np.divide(right, union, out=np.full(labels, np.nan), where=union > 0)


def score_points(counts: np.ndarray) -> SceneScore:
    """Scores of one scene's counts, or of the sum of several scenes'.

    The mean IoU is over the classes that occur or are said, as for ScanNet and S3DIS: a name given wrongly counts as a
    class of IoU 0. Points without a name are wrong. NaN where there is no class to count.
    """
    ious = class_ious(counts)
    right = np.diag(counts[:, : len(counts)])
    return SceneScore(
        miou=_percent(_mean(ious[:-1])),
        miou_with_floor=_percent(_mean(ious)),
        accuracy=_percent(_share(right[:-1].sum(), counts[:-1].sum())),
        accuracy_with_floor=_percent(_share(right.sum(), counts.sum())),
        floor=_percent(float(ious[-1])),
    )


def summarise_points(scores: Mapping[int, SceneScore] | SceneScore) -> dict[str, Any]:
    """Metrics of one way to name points, percent: `mean` is the mean IoU, the rest as SceneScore calls it.

    Of a mapping of an encoder's (or a draw's) seed to scores these are means over the seeds; `seeds` has each one's
    mean IoU, and from two on `std` is their sample standard deviation.
    """
    group = [scores] if isinstance(scores, SceneScore) else list(scores.values())
    assert group, "nothing was scored"

    def mean(field: str) -> float:
        return round(float(np.mean([getattr(score, field) for score in group])), DIGITS)

    summary: dict[str, Any] = {"mean": mean("miou")}
    summary |= {field: mean(field) for field in ("accuracy", "accuracy_with_floor", "miou_with_floor", "floor")}
    if not isinstance(scores, SceneScore):
        summary["seeds"] = {str(seed): round(score.miou, DIGITS) for seed, score in scores.items()}
        if len(group) > 1:
            summary["std"] = round(float(np.std([score.miou for score in group], ddof=1)), DIGITS)
    return summary


def _mean(values: np.ndarray) -> float:
    counted = values[~np.isnan(values)]
    return float(counted.mean()) if len(counted) else float("nan")


def _share(part: int, whole: int) -> float:
    return float(part / whole) if whole else float("nan")


def _percent(share: float) -> float:
    return 100 * share
