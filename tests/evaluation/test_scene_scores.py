"""Scores of named points against loops over points."""

import numpy as np
import pytest

from c2p.evaluation.scene_scores import class_ious, confusion, score_points, summarise_points


def _slow_ious(truth: list[int], said: list[int], classes: int) -> list[float]:
    ious = []
    for label in range(classes + 1):
        both = either = 0
        for t, s in zip(truth, said, strict=True):
            both += t == label and s == label
            either += t == label or s == label
        ious.append(both / either if either else float("nan"))
    return ious


def test_ious_and_accuracies_equal_their_definitions() -> None:
    generator = np.random.default_rng(0)
    for classes in (1, 3, 7):
        truth, said = generator.integers(0, classes + 1, 200), generator.integers(-1, classes + 1, 200)
        truth[truth == classes // 2] = classes  # a class that never occurs
        counts = confusion(truth, said, classes)
        slow = _slow_ious(truth.tolist(), said.tolist(), classes)
        assert class_ious(counts) == pytest.approx(slow, nan_ok=True)
        score = score_points(counts)
        assert score.miou == pytest.approx(100 * np.nanmean(slow[:-1]) if not np.isnan(slow[:-1]).all() else np.nan)
        assert score.miou_with_floor == pytest.approx(100 * np.nanmean(slow))
        assert score.floor == pytest.approx(100 * slow[-1])
        things = [(t, s) for t, s in zip(truth.tolist(), said.tolist(), strict=True) if t < classes]
        right = sum(t == s for t, s in things)
        assert score.accuracy == pytest.approx(100 * right / len(things) if things else np.nan, nan_ok=True)
        assert score.accuracy_with_floor == pytest.approx(100 * (truth == said).mean())


def test_the_best_the_worst_and_a_name_that_nothing_has() -> None:
    truth = np.array([0, 0, 1, 1, 2])
    best = score_points(confusion(truth, truth, 2))
    assert (best.miou, best.accuracy, best.floor) == (100, 100, 100)
    worst = score_points(confusion(truth, np.full(5, -1), 2))
    assert (worst.miou, worst.accuracy, worst.floor) == (0, 0, 0)
    wrong = score_points(confusion(np.array([0, 0, 3]), np.array([1, 0, 3]), 3))
    assert wrong.miou == pytest.approx(100 * (0.5 + 0) / 2)  # class 1 is said and wrong; class 2 doesn't count


def test_counts_of_scenes_add_up() -> None:
    generator = np.random.default_rng(1)
    truth, said = generator.integers(0, 4, 100), generator.integers(-1, 4, 100)
    halves = [confusion(truth[part], said[part], 3) for part in (slice(40), slice(40, None))]
    assert (sum(halves) == confusion(truth, said, 3)).all()


def test_summaries_are_means_and_sample_deviations() -> None:
    truth = np.array([0, 0, 1, 1, 2])
    scores = {seed: score_points(confusion(truth, np.array(said), 2)) for seed, said in ((3, truth), (5, [0] * 5))}
    told = summarise_points(scores)
    assert told["seeds"] == {"3": 100.0, "5": 20.0} and told["mean"] == 60 and told["accuracy"] == 75
    assert told["std"] == pytest.approx(np.std([100, 20], ddof=1), abs=1e-4)
    assert "seeds" not in summarise_points(scores[3]) and "std" not in summarise_points({3: scores[3]})
