"""Accuracies against counting by hand."""

import statistics

import numpy as np
import pytest

from c2p.evaluation.scores import Scores, score, summarise


def one_hot(predicted: list[int], classes: int) -> np.ndarray:
    return np.eye(classes)[predicted]


def test_counting() -> None:
    labels, predicted = [0, 0, 0, 1, 1, 3], [0, 0, 1, 1, 3, 3]
    got = score(one_hot(predicted, 4), np.array(labels))
    assert got.top1 == pytest.approx(100 * 4 / 6)
    assert got.class_mean == pytest.approx(100 * (2 / 3 + 1 / 2 + 1) / 3), "class 2 has no objects and no share"
    for actual in range(4):
        for guess in range(4):
            pairs = sum(1 for a, p in zip(labels, predicted, strict=True) if (a, p) == (actual, guess))
            assert got.confusion[actual, guess] == pairs
    assert got.predicted.tolist() == predicted


def test_order_of_objects_and_names_of_classes_do_not_matter() -> None:
    generator = np.random.default_rng(0)
    logits, labels = generator.normal(size=(50, 6)), generator.integers(6, size=50)
    expected = score(logits, labels)
    objects, classes = generator.permutation(50), generator.permutation(6)
    renamed = np.argsort(classes)
    got = score(logits[objects][:, classes], renamed[labels[objects]])
    assert (got.top1, got.class_mean) == pytest.approx((expected.top1, expected.class_mean))
    assert (got.confusion == expected.confusion[np.ix_(classes, classes)]).all()


def test_first_of_equal_logits_wins() -> None:
    assert score(np.zeros((1, 3)), np.array([0])).top1 == 100


def scores(top1: float) -> Scores:
    return Scores(top1, top1 / 2, np.zeros((1, 1), np.int64), np.zeros(1, np.int64))


def test_spread_over_seeds() -> None:
    values = [50.0, 52.0, 57.0]
    got = summarise({seed: scores(value) for seed, value in zip((3, 5, 8), values, strict=True)})
    assert got["mean"] == pytest.approx(statistics.mean(values))
    assert got["std"] == pytest.approx(statistics.stdev(values), abs=1e-4)
    assert got["class_mean"] == pytest.approx(statistics.mean(values) / 2)
    assert got["seeds"] == {"3": 50.0, "5": 52.0, "8": 57.0}


def test_no_spread_where_there_is_none() -> None:
    assert summarise(scores(40)) == {"mean": 40.0, "class_mean": 20.0}
    assert "std" not in summarise({0: scores(40)})


@pytest.mark.parametrize(
    ("labels", "message"), [([], "0 objects"), ([0, 4], "from 0 to 4"), ([0, -1], "from -1 to 0"), ([0], "1 labels")]
)
def test_labels_that_cannot_be(labels: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score(np.zeros((2, 4)), np.array(labels, dtype=np.int64))
