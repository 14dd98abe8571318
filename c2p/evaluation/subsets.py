"""Which training objects a problem takes: k a class, a share of each, or all, in an order drawn by the seed.

Legend: N object.
"""

import hashlib
import logging
from collections.abc import Callable, Sequence

import numpy as np

log = logging.getLogger(__name__)


def few_shot_rows(keys: Sequence[str], labels: np.ndarray, *, shots: int, seed: int) -> np.ndarray:
    """Training objects of a k-shot problem: k a class, drawn by the seed.

    Objects are ranked by the sha256 of seed and key, so the draw depends on neither the order of the objects nor that
    of the classes, and the subset of fewer shots lies in that of more. A class with fewer than k objects gives all it
    has (check_shots).

    Args:
        keys: N names, unique.
        labels: (N,) int64.
    Returns:
        (n,) int64 indices into keys, in ranked order.
    """
    return _first_rows(keys, labels, lambda count: shots, seed=seed)


def share_rows(keys: Sequence[str], labels: np.ndarray, *, share: float, seed: int) -> np.ndarray:
    """A share of each class's objects, at least one, drawn by the seed as few shots are.

    Of n objects of a class the first round(share * n) are taken, halves rounded up; so a smaller share's objects lie in
    a larger one's. Arguments and result as of few_shot_rows.
    """
    return _first_rows(keys, labels, lambda count: max(1, int(share * count + 0.5)), seed=seed)


def check_shots(labels: np.ndarray, shots: int, *, dataset: str) -> None:
    """Say which classes can't give so many training objects, labels (N,) int64.

    Raises ValueError: no class can; that is another problem than the one asked for.
    """
    counts = np.unique(labels, return_counts=True)[1]
    if shots > counts.max():
        raise ValueError(
            f"{dataset}: {shots} shots; allowed: 1 to {counts.max()}, the training objects of its largest class; lower "
            "fewshot.shots or fewshot.curve"
        )
    if small := int((counts < shots).sum()):
        log.warning(
            "%s, %d shots: %d of %d classes have fewer training objects, the smallest %d; all of theirs are taken",
            dataset,
            shots,
            small,
            len(counts),
            counts.min(),
        )


def all_rows(keys: Sequence[str], *, seed: int) -> np.ndarray:
    """Every training object, (N,) int64, in the ranked order that few_shot_rows uses."""
    digests = [hashlib.sha256(f"{seed}:{key}".encode()).digest() for key in keys]
    return np.array(sorted(range(len(keys)), key=digests.__getitem__), dtype=np.int64)


def _first_rows(keys: Sequence[str], labels: np.ndarray, take: Callable[[int], int], *, seed: int) -> np.ndarray:
    """Of each class's objects the first ones, in ranked order; take: how many of so many."""
    ranked = all_rows(keys, seed=seed)
    taken = np.zeros(len(ranked), bool)
    for label in np.unique(labels):
        places = np.flatnonzero(labels[ranked] == label)
        taken[places[: take(len(places))]] = True
    return ranked[taken]
