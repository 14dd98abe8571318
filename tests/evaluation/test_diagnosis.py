"""Confusion, classes and reliability against counting in loops."""

import numpy as np
import pytest
from made_results import CLASSES, make_predictions

from c2p.evaluation.diagnosis import BINS, class_accuracies, confusion_of, reliability
from c2p.evaluation.predictions import Prediction, predict


def some(seed: int, classes: int = 4, count: int = 40) -> list[Prediction]:
    generator = np.random.default_rng(seed)
    names = [f"c{n}" for n in range(classes)]
    labels = generator.integers(classes, size=count)
    return predict([f"k{n}" for n in range(count)], labels, generator.normal(size=(count, classes)), names, scale=2.0)


def test_confusion_counts_every_object() -> None:
    clouds, _, logits = make_predictions()
    rows = predict(clouds.keys, clouds.labels, logits, CLASSES, scale=3.0)
    for n, row in enumerate(rows):
        powers = np.exp(3.0 * logits[n] - (3.0 * logits[n]).max())
        order = sorted(range(4), key=lambda k: -logits[n, k])
        assert row.top == tuple(CLASSES[k] for k in order)
        assert row.shares == pytest.approx([powers[k] / powers.sum() for k in order], rel=1e-5)
    counts = confusion_of(rows, CLASSES, "").counts
    assert counts.sum() == 16
    assert counts.trace() == sum(row.actual == row.predicted for row in rows)


def test_class_accuracies_are_shares_of_each_class() -> None:
    before, after = some(0), [*some(1), *some(2)]
    names = ["c0", "c1", "c2", "c3", "empty"]
    found = class_accuracies([before, after], names)
    assert {row.name for row in found} <= set(names[:4]), "a class without objects has no accuracy"
    assert [row.accuracies[-1] for row in found] == sorted((row.accuracies[-1] for row in found), reverse=True)
    for row in found:
        for rows, accuracy in zip((before, after), row.accuracies, strict=True):
            mine = [r for r in rows if r.actual == row.name]
            assert accuracy == pytest.approx(100 * sum(r.predicted == r.actual for r in mine) / len(mine))
        wrong = [r.predicted for r in after if r.actual == row.name and r.predicted != row.name]
        assert row.taken_for == (max(sorted(set(wrong)), key=wrong.count) if wrong else "")
    one = class_accuracies([some(0, classes=1)], ["c0"])
    assert [(row.objects, row.accuracies, row.taken_for) for row in one] == [(40, (100.0,), "")]


def test_seeds_do_not_multiply_the_objects() -> None:
    rows = some(3)
    assert [r.objects for r in class_accuracies([rows], ["c0", "c1", "c2", "c3"])] == [
        r.objects for r in class_accuracies([rows * 3], ["c0", "c1", "c2", "c3"])
    ]


def test_reliability_bins_hold_every_prediction_once() -> None:
    rows = some(4, count=200)
    found = reliability(rows)
    assert sum(b.count for b in found) == 200
    for number in range(BINS):
        inside = [r for r in rows if number / BINS < r.shares[0] <= (number + 1) / BINS]
        bins = [b for b in found if number * 100 / BINS < b.confidence <= (number + 1) * 100 / BINS]
        assert len(bins) == bool(inside)
        if inside:
            assert bins[0].count == len(inside)
            assert bins[0].accuracy == pytest.approx(100 * sum(r.actual == r.predicted for r in inside) / len(inside))
            assert bins[0].confidence == pytest.approx(100 * sum(r.shares[0] for r in inside) / len(inside))
    sure = [Prediction("k", "a", "a", ("a",), (1.0,))]
    assert [(b.confidence, b.accuracy, b.count) for b in reliability(sure)] == [(100.0, 100.0, 1)]
