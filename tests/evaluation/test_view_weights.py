"""The search of view weights against nested loops over the published grid."""

from itertools import product

import numpy as np
import pytest

from c2p.evaluation import view_weights
from c2p.evaluation.view_weights import search_view_weights, view_grid, weighted_logits
from c2p.evaluation.zeroshot import zeroshot_logits

CLASSES = 5


def problem(seed: int, views: int = 3, objects: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Cosines in which the first view tells the classes apart a little and the last one misleads."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(CLASSES, size=objects)
    cosines = 0.3 * generator.normal(size=(objects, views, CLASSES))
    cosines[np.arange(objects), 0, labels] += 0.4
    cosines[np.arange(objects), -1, (labels + 1) % CLASSES] += 0.3
    return cosines, labels


def right(cosines: np.ndarray, labels: np.ndarray, weights: tuple[float, ...]) -> int:
    hits = 0
    for row, label in zip(cosines, labels, strict=True):
        sums = [sum(w * float(row[v, k]) for v, w in enumerate(weights)) for k in range(CLASSES)]
        hits += sums.index(max(sums)) == label
    return hits


@pytest.mark.parametrize("chunk", [1, 7000, 2**22])
def test_no_combination_of_the_grid_is_better(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view_weights, "CHUNK", chunk)
    cosines, labels = problem(0)
    best = max(right(cosines, labels, weights) for weights in product((0.25, 0.5, 0.75, 1.0), repeat=3))
    weights = search_view_weights(cosines, labels, scale=20.0)
    assert right(cosines, labels, tuple(weights)) == best > right(cosines, labels, (1.0, 1.0, 1.0))
    assert weights.sum() == pytest.approx(1)
    assert weights[0] > weights[2], "the misleading view counts less"


def test_the_grid_is_the_published_one_without_repetitions() -> None:
    grid = view_grid(6)
    assert (grid.sum(1) == pytest.approx(1)) and (grid > 0).all()
    everything = {tuple(round(w / sum(c), 9) for w in c) for c in product((0.25, 0.5, 0.75, 1.0), repeat=6)}
    assert {tuple(round(float(w), 9) for w in row) for row in grid} == everything
    assert len(grid) == len(everything)


def test_order_of_views_objects_and_classes_does_not_matter() -> None:
    cosines, labels = problem(1, views=4)
    weights = search_view_weights(cosines, labels, scale=20.0)
    views, objects, classes = [2, 0, 3, 1], np.random.default_rng(0).permutation(40), np.array([3, 1, 4, 0, 2])
    assert search_view_weights(cosines[:, views], labels, scale=20.0) == pytest.approx(weights[views])
    assert search_view_weights(cosines[objects], labels[objects], scale=20.0) == pytest.approx(weights)
    renamed = np.argsort(classes)[labels]
    assert search_view_weights(cosines[:, :, classes], renamed, scale=20.0) == pytest.approx(weights)


def test_equal_weights_are_the_zero_shot_mean() -> None:
    features, text = np.random.default_rng(0).normal(size=(7, 3, 5)), np.random.default_rng(1).normal(size=(4, 5))
    unit = [part / np.linalg.norm(part, axis=-1, keepdims=True) for part in (features, text)]
    cosines = np.einsum("nvc,kc->nvk", *unit)
    assert weighted_logits(cosines, np.full(3, 1 / 3)) == pytest.approx(zeroshot_logits(features, text))


def test_nothing_to_search_on_is_refused() -> None:
    with pytest.raises(ValueError, match="0 objects to search"):
        search_view_weights(np.zeros((0, 6, 4)), np.zeros(0, np.int64), scale=1.0)
