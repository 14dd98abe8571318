"""What is held out, and how candidates are compared."""

import math

import numpy as np
import pytest

from c2p.evaluation.selection import best, held_out, merit


@pytest.mark.parametrize(("shots", "share", "expected"), [(16, 0.25, 4), (4, 0.25, 1), (3, 0.25, 1), (2, 0.9, 1)])
def test_a_share_of_every_class_at_least_one_and_never_all(shots: int, share: float, expected: int) -> None:
    labels = np.random.default_rng(0).permutation(np.repeat([0, 2, 3], shots))
    apart = held_out(labels, share=share)
    assert apart is not None
    assert np.bincount(labels[apart], minlength=4).tolist() == [expected, 0, expected, expected]
    for label in (0, 2, 3):
        assert apart[labels == label].tolist() == [True] * expected + [False] * (shots - expected)


def test_a_class_with_a_single_object_can_spare_none() -> None:
    assert held_out(np.array([0, 0, 1, 2, 2]), share=0.5) is None


def test_merit_counts_hits_and_then_likelihood() -> None:
    logits, labels = np.array([[2.0, 0.0], [1.0, 1.5], [0.0, 3.0]]), np.array([0, 0, 1])
    right, likelihood = merit(logits, labels)
    assert right == 2
    logs = [math.log(math.exp(row[k]) / sum(map(math.exp, row))) for row, k in zip(logits, labels, strict=True)]
    assert likelihood == pytest.approx(sum(logs) / 3)
    assert merit(np.array([[-1e9, 0.0]]), np.array([0]))[1] > -1e3, "an impossible class stays finite"


def test_best_is_the_first_of_equals() -> None:
    assert best([(1, -0.5), (3, -0.9), (3, -0.7), (3, -0.7)]) == 2
