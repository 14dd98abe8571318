"""Clutter of training clouds: what is taken away, what is added, and that a sample's own is nobody else's."""

from collections.abc import Callable

import numpy as np
import pytest

from c2p.training.clutter import CELL, TOUCH, Clutter, cluttered, cut, ground, neighbour, one_side

ALWAYS = Clutter(share=1.0, cut=0.5, added=0.5)
N, P = 6, 200


def _clouds(seed: int = 0) -> np.ndarray:
    clouds = np.random.default_rng(seed).normal(size=(N, P, 3)) * [1.0, 0.6, 0.3]
    clouds -= clouds.mean(1, keepdims=True)
    return (clouds / np.linalg.norm(clouds, axis=2).max(1)[:, None, None]).astype(np.float32)


def _rows(cloud: np.ndarray) -> set[bytes]:
    return {point.tobytes() for point in cloud}


@pytest.mark.parametrize("key", [(0, 0), (3, 7), (0,)])
def test_clouds_keep_their_number_of_points_and_their_frame(key: tuple[int, ...]) -> None:
    clouds = _clouds()
    got = cluttered(clouds, np.arange(N), ALWAYS, key=key)
    assert got.shape == clouds.shape and got.dtype == np.float32
    np.testing.assert_allclose(got.astype(np.float64).mean(1), 0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(got, axis=2).max(1), 1, atol=1e-6)
    assert not any(np.array_equal(one, other) for one, other in zip(got, clouds, strict=True))


def test_what_becomes_of_a_sample_depends_on_key_and_number_alone() -> None:
    clouds = _clouds()
    whole = cluttered(clouds, np.arange(N), ALWAYS, key=(1, 2))
    np.random.default_rng(0)
    np.random.seed(5)
    part = cluttered(clouds, np.array([4, 1]), ALWAYS, key=(1, 2))
    assert np.array_equal(part, whole[[4, 1]])
    other = cluttered(clouds, np.arange(N), ALWAYS, key=(1, 3))
    assert not any(np.array_equal(one, two) for one, two in zip(whole, other, strict=True))
    assert np.array_equal(cluttered(clouds, np.arange(N), Clutter(0.0, 0.5, 0.5), key=(1, 2)), clouds)


def test_about_the_share_asked_for_is_cluttered_and_the_rest_is_as_it_was() -> None:
    clouds = np.repeat(_clouds()[:1], 400, axis=0)
    got = cluttered(clouds, np.arange(400), Clutter(0.3, 0.5, 0.5), key=(0,))
    same = sum(np.array_equal(one, two) for one, two in zip(got, clouds, strict=True))
    assert abs(same - 280) < 4 * np.sqrt(400 * 0.3 * 0.7)


def test_a_cut_takes_the_points_farthest_along_some_direction() -> None:
    cloud, rng = _clouds()[0].astype(np.float64), np.random.default_rng(1)
    for share in (0.0, 0.25, 0.6):
        kept = cut(cloud, share, rng)
        assert len(kept) == round((1 - share) * P) and _rows(kept) <= _rows(cloud)
        gone = np.array([point for point in cloud if point.tobytes() not in _rows(kept)])
        if len(gone):  # some plane divides them: a perceptron finds it
            sides = np.concatenate([np.ones(len(kept)), -np.ones(len(gone))])
            rows = np.c_[np.concatenate([kept, gone]), np.ones(P)]
            plane = np.zeros(4)
            for _ in range(20000):
                wrong = np.flatnonzero(sides * (rows @ plane) <= 0)
                if not len(wrong):
                    break
                plane += sides[wrong[0]] * rows[wrong[0]]
            assert (sides * (rows @ plane) > 0).all()


def test_of_a_ball_one_side_is_seen() -> None:
    points = np.random.default_rng(0).normal(size=(4000, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    for seed in range(5):
        seen = one_side(points, np.random.default_rng(seed))
        ahead = seen.mean(0) / np.linalg.norm(seen.mean(0))
        assert _rows(seen) <= _rows(points) and 0.3 < len(seen) / 4000 < 0.7
        near = (points @ ahead > 0.5).sum()
        assert (seen @ ahead > 0.5).sum() > 0.97 * near, "the near cap is whole"
        assert (seen @ ahead > -2 * np.sqrt(CELL) / np.sqrt(2)).all(), "nothing of the far one but the rim's cells"


def test_a_ground_is_level_and_lies_under_the_cloud() -> None:
    cloud, rng = _clouds()[0].astype(np.float64), np.random.default_rng(2)
    floor = ground(cloud, 50, rng)
    assert floor.shape == (50, 3) and (floor[:, 1] == cloud[:, 1].min()).all()
    assert (floor[:, [0, 2]].min(0) < cloud[:, [0, 2]].mean(0)).all()
    assert (floor[:, [0, 2]].max(0) > cloud[:, [0, 2]].mean(0)).all()


def test_a_neighbour_stands_beside_it_on_the_same_ground() -> None:
    clouds = _clouds().astype(np.float64)
    for seed in range(10):
        near = neighbour(clouds[0], clouds[1], 60, np.random.default_rng(seed))
        assert near.shape == (60, 3) and near[:, 1].min() >= clouds[0][:, 1].min() - 1e-9
        directions = np.stack([np.cos(a := np.linspace(0, 2 * np.pi, 720)), 0 * a, np.sin(a)])
        gaps = (near @ directions).min(0) - (clouds[0] @ directions).max(0)
        assert gaps.max() > -TOUCH - 0.02, "some direction parts them but for what they may share"
        assert np.linalg.norm(near[:, None] - clouds[0], axis=-1).min() < 0.8


@pytest.mark.parametrize(
    ("clutter", "repeats"), [(Clutter(1.0, 0.0, 0.9), False), (Clutter(1.0, 0.8, 0.0), True), (ALWAYS, True)]
)
def test_no_point_comes_twice_before_all_have_come(clutter: Clutter, repeats: bool) -> None:
    counts: Callable[[np.ndarray], np.ndarray] = lambda cloud: np.unique(cloud, axis=0, return_counts=True)[1]  # noqa: E731
    got = [counts(cloud) for cloud in cluttered(_clouds(), np.arange(N), clutter, key=(9,))]
    assert all(len(each) > P // 10 for each in got)
    assert not repeats or max(each.max() for each in got) > 1


def test_a_single_sample_has_itself_beside_it() -> None:
    got = [cluttered(_clouds()[:1], np.array([0]), ALWAYS, key=(n,)) for n in range(8)]
    assert np.isfinite(got).all()
