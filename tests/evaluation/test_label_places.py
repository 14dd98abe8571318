"""Places of words on a picture, with overlaps counted pair by pair."""

import itertools

import numpy as np
import pytest

from c2p.evaluation.label_places import PLATE, spread

SIZE = (420, 270)


def _boxes(places: np.ndarray, widths: np.ndarray) -> list[tuple[float, float, float, float]]:
    return [(x - w / 2, y - PLATE, x + w / 2, y) for (x, y), w in zip(places, widths, strict=True)]


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


@pytest.mark.parametrize("seed", range(20))
def test_no_word_lies_over_another_or_outside(seed: int) -> None:
    rng = np.random.default_rng(seed)
    widths = rng.uniform(30, 150, 12)
    middle = rng.uniform((0, 0), SIZE)
    anchors = middle + rng.normal(0, 15, (12, 2))  # crowded, some outside
    boxes = _boxes(spread(anchors, widths, size=SIZE), widths)
    assert not any(_overlap(one, other) for one, other in itertools.combinations(boxes, 2))
    assert all(left >= 0 and top >= 0 and right <= 420 and low <= 270 for left, top, right, low in boxes)


def test_words_with_room_stay_where_they_should_be() -> None:
    anchors = np.array([[60.0, 40], [200, 40], [60, 120], [300, 260]])
    assert np.array_equal(spread(anchors, np.full(4, 60.0), size=SIZE), anchors)


def test_the_one_in_front_keeps_its_place() -> None:
    anchors = np.array([[100.0, 100], [100, 104], [104, 98]])
    places = spread(anchors, np.full(3, 50.0), size=SIZE)
    assert np.array_equal(places[1], anchors[1])
    assert np.abs(places - anchors).max() < 2 * PLATE + 10, "near to what they name"


def test_more_words_than_there_is_room_for_still_stand_inside() -> None:
    widths = np.full(80, 200.0)
    boxes = _boxes(spread(np.full((80, 2), 100.0), widths, size=SIZE), widths)
    assert all(left >= 0 and top >= 0 and right <= 420 and low <= 270 for left, top, right, low in boxes)
    assert spread(np.empty((0, 2)), np.empty(0), size=SIZE).shape == (0, 2)
