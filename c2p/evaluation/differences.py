"""How far one classifier is from another on the same objects: paired, so that what both have in common drops out.

Legend: N object, S seed.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from c2p.evaluation.scores import DIGITS, interval


def difference(first: Mapping[int, np.ndarray], second: Mapping[int, np.ndarray]) -> dict[str, Any]:
    """Points of accuracy that the first is above the second.

    Args:
        first, second: by seed, (N,) whether each object is right: bool, or the share of its pictures that are. The same
            seeds and objects, in the same order.
    Returns:
        `mean` over seeds and objects, `seeds` each seed's, `std` over seeds where there are two or more (ddof 1), and
        `interval`: c2p.evaluation.scores.interval of the objects' differences.
    """
    assert first.keys() == second.keys(), "classifiers of other seeds"
    apart = {seed: first[seed].astype(np.float64) - second[seed].astype(np.float64) for seed in first}
    return spread({seed: 100 * float(values.mean()) for seed, values in apart.items()}) | {
        "interval": [round(end, DIGITS) for end in interval(list(apart.values()))]
    }


def spread(values: Mapping[int, float]) -> dict[str, Any]:
    """Mean, value of each seed and, from two seeds on, sample standard deviation (ddof 1)."""
    told: dict[str, Any] = {
        "mean": round(float(np.mean(list(values.values()))), DIGITS),
        "seeds": {str(seed): round(value, DIGITS) for seed, value in values.items()},
    }
    if len(values) > 1:
        told["std"] = round(float(np.std(list(values.values()), ddof=1)), DIGITS)
    return told
