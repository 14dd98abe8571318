"""Names of segments and answers to texts."""

import numpy as np
import pytest

from c2p.evaluation.scene_names import (
    answer,
    best_cosines,
    name_segments,
    point_labels,
    point_scores,
    segment_clouds,
    segment_features,
    squared_up,
)
from c2p.evaluation.scenes import turned


def _unit(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def _box(generator: np.random.Generator, count: int = 600) -> np.ndarray:
    return generator.uniform(-1, 1, (count, 3)) * [2.0, 0.5, 1.0]


def test_a_box_is_squared_up_however_it_was_turned() -> None:
    box = _box(np.random.default_rng(0))
    for degrees in (0, 27, 63, 111, 200):
        sides = np.sort(np.ptp(squared_up(turned(box, degrees))[:, [0, 2]], axis=0))
        assert sides == pytest.approx([2, 4], rel=0.03)
    assert np.ptp(squared_up(turned(box, 45))[:, 1]) == pytest.approx(np.ptp(box[:, 1]))


def test_segments_are_read_in_the_unit_sphere_and_small_ones_repeat_their_points() -> None:
    generator = np.random.default_rng(0)
    points = np.concatenate([_box(generator, 300) * 7 + [50, 3, 9], _box(generator, 20) * 0.1, np.zeros((5, 3))])
    numbers = np.repeat([1, 2, -1], [300, 20, 5])
    clouds = segment_clouds(points, numbers, 64)
    assert clouds.shape == (2, 64, 3) and clouds.dtype == np.float32
    assert np.linalg.norm(clouds, axis=2).max(1) == pytest.approx([1, 1], abs=0.02)  # the very farthest may be left out
    assert (np.linalg.norm(clouds, axis=2) <= 1 + 1e-6).all()
    assert len(np.unique(clouds[0], axis=0)) == 64
    kept, times = np.unique(clouds[1], axis=0, return_counts=True)
    assert len(kept) == 20 and set(times) == {3, 4}
    assert segment_clouds(points, np.zeros(325, int), 64).shape == (0, 64, 3)


def test_the_best_turn_counts() -> None:
    def encode(clouds: np.ndarray) -> np.ndarray:  # which way the farthest point lies
        far = np.linalg.norm(clouds, axis=2).argmax(1)
        return _unit(clouds[np.arange(len(clouds)), far])

    arrow = np.array([[[1.0, 0, 0], [0, 0.1, 0]]])
    features = segment_features(arrow, encode, turns=4)
    assert features.shape == (1, 4, 3)
    text = np.array([[1.0, 0, 0], [0, 0, 1], [0, 1, 0]])
    assert best_cosines(features, text) == pytest.approx(np.array([[1, 1, 0]]), abs=1e-6)
    slow = [[max(float(turn @ word) for turn in thing) for word in text] for thing in features]
    assert best_cosines(features, text) == pytest.approx(np.array(slow))
    assert segment_features(arrow[:0], encode, turns=2).shape == (0, 2, 3)


def test_names_are_nearest_labels_and_probabilities_a_softmax() -> None:
    generator = np.random.default_rng(0)
    features, text = _unit(generator.normal(size=(5, 2, 8))), _unit(generator.normal(size=(3, 8)))
    named = name_segments(features, text, scale=10.0)
    for m in range(5):
        cosines = [max(float(turn @ word) for turn in features[m]) for word in text]
        assert named.best[m] == int(np.argmax(cosines))
        weights = [np.exp(10 * c) for c in cosines]
        assert named.probabilities[m] == pytest.approx(np.array(weights) / sum(weights))
    assert name_segments(features[:0], text, scale=10.0).best.shape == (0,)


def test_a_text_lights_what_no_label_fits_better() -> None:
    generator = np.random.default_rng(0)
    features, text = _unit(generator.normal(size=(40, 2, 8))), _unit(generator.normal(size=(4, 8)))
    named = name_segments(features, text, scale=10.0)
    for k in range(4):  # a label asked beside the others lights exactly what has its name
        found = answer(features, np.delete(text, k, axis=0), text[k], scale=10.0)
        assert (found.lit == (named.best == k)).all() and found.scores == pytest.approx(named.probabilities[:, k])
    assert answer(features[:0], text, text[0], scale=1.0).lit.shape == (0,)


def test_points_have_what_their_segment_has() -> None:
    numbers = np.array([-1, 0, 1, 2, 2, 1])
    assert point_labels(numbers, [7, 4], floor=9).tolist() == [-1, 9, 7, 4, 4, 7]
    assert point_scores(numbers, np.array([0.25, 0.5])).tolist() == [0, 0, 0.25, 0.5, 0.5, 0.25]
