"""Accuracies, calibration and intervals against counting by hand."""

import math
import statistics
from typing import Any

import numpy as np
import pytest

from c2p.evaluation import scores as scoring
from c2p.evaluation.predictions import per_class, predict
from c2p.evaluation.scores import Scores, calibration_error, interval, score, summarise


def one_hot(predicted: list[int], classes: int) -> np.ndarray:
    return np.eye(classes)[predicted]


def test_counting() -> None:
    labels, predicted = [0, 0, 0, 1, 1, 3], [0, 0, 1, 1, 3, 3]
    got = score(one_hot(predicted, 4), np.array(labels), scale=1.0)
    assert got.top1 == pytest.approx(100 * 4 / 6)
    assert got.class_mean == pytest.approx(100 * (2 / 3 + 1 / 2 + 1) / 3), "class 2 has no objects and no share"
    for actual in range(4):
        for guess in range(4):
            pairs = sum(1 for a, p in zip(labels, predicted, strict=True) if (a, p) == (actual, guess))
            assert got.confusion[actual, guess] == pairs
    assert got.predicted.tolist() == predicted


def test_tops_against_sorting_by_hand() -> None:
    generator = np.random.default_rng(1)
    logits, labels = generator.normal(size=(40, 7)), generator.integers(7, size=40)
    got = score(logits, labels, scale=1.0)
    for k in (3, 5):
        right = 0
        for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
            right += label in sorted(range(7), key=lambda c, row=row: -row[c])[:k]
        assert got.tops[k] == pytest.approx(100 * right / 40)
    assert got.top1 <= got.tops[3] <= got.tops[5] < 100
    assert set(score(logits[:, :5], labels % 5, scale=1.0).tops) == {3}, "every object is among five of five"
    assert not score(logits[:, :3], labels % 3, scale=1.0).tops


def plain_calibration_error(shares: list[list[float]], labels: list[int]) -> float:
    """Guo et al.'s Eq. 3, bin by bin."""
    total = 0.0
    for b in range(15):
        inside = [n for n, row in enumerate(shares) if b / 15 < max(row) <= (b + 1) / 15]
        if inside:
            confidence = sum(max(shares[n]) for n in inside) / len(inside)
            accuracy = sum(shares[n].index(max(shares[n])) == labels[n] for n in inside) / len(inside)
            total += len(inside) / len(shares) * abs(accuracy - confidence)
    return 100 * total


@pytest.mark.parametrize("scale", [0.3, 1.0, 20.0])
def test_calibration_error_bin_by_bin(scale: float) -> None:
    generator = np.random.default_rng(2)
    logits, labels = generator.normal(size=(60, 4)), generator.integers(4, size=60)
    shares = []
    for row in logits.tolist():
        powers = [math.exp(scale * x) for x in row]
        shares.append([p / sum(powers) for p in powers])
    expected = plain_calibration_error(shares, labels.tolist())
    assert score(logits, labels, scale=scale).ece == pytest.approx(expected, abs=1e-9)


def test_calibration_error_at_its_ends() -> None:
    assert calibration_error(np.ones(4), np.ones(4, bool)) == 0
    assert calibration_error(np.ones(4), np.zeros(4, bool)) == 100
    assert calibration_error(np.full(4, 0.75), np.array([True, True, True, False])) == pytest.approx(0)
    on_the_edge = calibration_error(np.array([3 / 15, 2.5 / 15]), np.array([True, False]))
    assert on_the_edge == pytest.approx(100 * abs(1 - 5.5 / 15) / 2), "3/15 is the end of the third bin, not the fourth"


def test_interval_against_drawing_objects_and_seeds_one_by_one() -> None:
    generator = np.random.default_rng(3)
    hits = [generator.random(200) < share for share in (0.5, 0.6, 0.8)]
    means = []
    for _ in range(2000):
        objects, seeds = generator.integers(200, size=200), generator.integers(3, size=3)
        means.append(100 * sum(int(hits[s][objects].sum()) for s in seeds) / 600)
    low, high = interval(hits)
    assert high - low > 20, "three seeds that differ so much widen it"
    assert (low, high) == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])), abs=1.5)


def test_interval_of_one_classifier_is_the_binomials() -> None:
    hits = np.arange(400) < 300
    low, high = interval([hits])
    half = 196 * math.sqrt(0.75 * 0.25 / 400)
    assert (low, high) == pytest.approx((75 - half, 75 + half), abs=0.4)
    assert interval([hits] * 3) == pytest.approx((low, high), abs=0.4), "seeds that agree add nothing"
    assert interval([np.ones(5, bool)]) == (100, 100)


def test_interval_holds_the_truth_as_often_as_it_says() -> None:
    """300 test sets of a classifier that is right with probability 0.7: close to 95 % of the intervals hold 70."""
    generator = np.random.default_rng(4)
    held = 0
    for _ in range(300):
        low, high = interval([generator.random(200) < 0.7])
        held += low <= 70 <= high
    assert 0.90 <= held / 300 <= 0.98


def test_interval_repeats_itself_and_leaves_the_order_of_objects_alone() -> None:
    generator = np.random.default_rng(5)
    hits = [generator.random(30) < 0.6 for _ in range(2)]
    moved = generator.permutation(30)
    assert interval(hits) == interval(hits) == interval([h[moved] for h in hits])


def test_every_class_from_the_predictions() -> None:
    names = ["cup", "bowl", "pan", "lid"]
    labels, predicted = [0, 0, 0, 1, 1, 3], [0, 1, 1, 1, 1, 0]
    rows = predict([f"o-{n}" for n in range(6)], np.array(labels), one_hot(predicted, 4), names, scale=1.0)
    got = per_class(rows, names)
    assert [(r.name, r.objects, r.right, r.taken_for) for r in got] == [
        ("cup", 3, 1, "bowl"),
        ("bowl", 2, 2, ""),
        ("pan", 0, 0, ""),
        ("lid", 1, 0, "cup"),
    ]
    assert [r.accuracy for r in got] == [pytest.approx(100 / 3), 100, None, 0]
    recalls = [r.accuracy for r in got if r.accuracy is not None]
    assert statistics.mean(recalls) == pytest.approx(
        score(one_hot(predicted, 4), np.array(labels), scale=1.0).class_mean
    )
    with pytest.raises(ValueError, match=r"o-5: class 'lid' is not one of the set's: cup, bowl, pan"):
        per_class(rows, names[:3])


def test_order_of_objects_and_names_of_classes_do_not_matter() -> None:
    generator = np.random.default_rng(0)
    logits, labels = generator.normal(size=(50, 6)), generator.integers(6, size=50)
    expected = score(logits, labels, scale=3.0)
    objects, classes = generator.permutation(50), generator.permutation(6)
    renamed = np.argsort(classes)
    got = score(logits[objects][:, classes], renamed[labels[objects]], scale=3.0)
    got_summary, expected_summary = summarise(got), summarise(expected)
    assert got_summary.pop("interval") == expected_summary.pop("interval")
    assert got_summary == pytest.approx(expected_summary)
    assert (got.confusion == expected.confusion[np.ix_(classes, classes)]).all()


def test_first_of_equal_logits_wins() -> None:
    assert score(np.zeros((1, 3)), np.array([0]), scale=1.0).top1 == 100


def scores(hits: list[int], ece: float = 0.0) -> Scores:
    right = np.array(hits, bool)
    top1 = 100 * right.mean()
    return Scores(top1, top1 / 2, {3: top1 + 1}, ece, np.zeros((1, 1), np.int64), np.zeros(4, np.int64), right)


def test_spread_over_seeds() -> None:
    hits = {3: [1, 1, 0, 0], 5: [1, 1, 1, 0], 8: [1, 0, 0, 0]}
    got = summarise({seed: scores(values, ece=seed) for seed, values in hits.items()})
    values = [50.0, 75.0, 25.0]
    assert got["mean"] == pytest.approx(statistics.mean(values))
    assert got["std"] == pytest.approx(statistics.stdev(values), abs=1e-4)
    assert got["class_mean"] == pytest.approx(statistics.mean(values) / 2)
    assert got["top3"] == pytest.approx(statistics.mean(values) + 1)
    assert got["ece"] == pytest.approx(16 / 3, abs=1e-4)
    assert got["seeds"] == {"3": 50.0, "5": 75.0, "8": 25.0}
    assert got["interval"] == pytest.approx(interval([np.array(h, bool) for h in hits.values()]), abs=1e-4)
    assert list(got["interval"]) == sorted(got["interval"])


def test_no_spread_where_there_is_none() -> None:
    one: dict[str, Any] = summarise(scores([1, 1, 0, 0], ece=7))
    assert set(one) == {"mean", "class_mean", "top3", "ece", "interval"}
    assert (one["mean"], one["class_mean"], one["top3"], one["ece"]) == (50, 25, 51, 7)
    assert "std" not in summarise({0: scores([1, 0, 0, 0])})


def test_the_seed_of_the_draws_hardly_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    hits = [np.random.default_rng(6).random(100) < 0.5]
    low, high = interval(hits)
    monkeypatch.setattr(scoring, "BOOTSTRAP_SEED", 1)
    assert interval(hits) == pytest.approx((low, high), abs=(high - low) / 20)


@pytest.mark.parametrize(
    ("labels", "message"), [([], "0 objects"), ([0, 4], "from 0 to 4"), ([0, -1], "from -1 to 0"), ([0], "1 labels")]
)
def test_labels_that_cannot_be(labels: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score(np.zeros((2, 4)), np.array(labels, dtype=np.int64), scale=1.0)


@pytest.mark.parametrize(
    ("logits", "message"), [(np.zeros((1, 1)), "1 classes"), (np.array([[0.0, np.nan]]), "not finite")]
)
def test_logits_that_cannot_be(logits: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score(logits, np.array([0]), scale=1.0)
