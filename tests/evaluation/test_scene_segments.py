"""Cutting scenes: the floor, clusters, and how well they fit what is known."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_lab import CLASSES, clouds
from made_scenes import SETTINGS

from c2p.evaluation import scene_segments
from c2p.evaluation.scene_segments import (
    CLUSTERING_FILE,
    FLOOR,
    NONE,
    Clustering,
    candidates,
    choose_clustering,
    chosen_clustering,
    covering,
    find_floor,
    segment,
)
from c2p.evaluation.scenes import make_scenes

LOOSE = Clustering("dbscan", reach=4.0, neighbours=3, least=20)


def _plane(generator: np.random.Generator, count: int, side: float, tilt: float = 0.0) -> np.ndarray:
    points = generator.uniform(-side / 2, side / 2, (count, 3))
    points[:, 1] = np.tan(np.radians(tilt)) * points[:, 0] + generator.normal(0, 0.003, count)
    return points


def _ball(generator: np.random.Generator, count: int, middle: tuple[float, float, float], radius: float) -> np.ndarray:
    points = generator.normal(size=(count, 3))
    return np.array(middle) + radius * points / np.linalg.norm(points, axis=1, keepdims=True)


def _room(tilt: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """A floor with two balls half a unit above it."""
    generator = np.random.default_rng(0)
    balls = [_ball(generator, 400, (x, 1.0, 0.0), 0.4) for x in (-1.2, 1.2)]
    points = np.concatenate([_plane(generator, 1500, 5, tilt), *balls])
    return points, np.repeat([0, 1, 2], [1500, 400, 400])


@pytest.mark.parametrize("tilt", [0.0, 8.0])
def test_a_floor_is_found_though_it_leans(tilt: float) -> None:
    points, truth = _room(tilt)
    found = find_floor(points)
    assert found[truth == 0].mean() > 0.98 and found[truth > 0].mean() < 0.03


def test_what_is_no_floor_is_not_taken_for_one() -> None:
    generator = np.random.default_rng(0)
    steep = _plane(generator, 1500, 5, tilt=40)
    ball = _ball(generator, 2000, (0, 0, 0), 1.0)
    for points in (steep, ball):
        assert not find_floor(points).any()
    table = _plane(generator, 1500, 2) + np.array([0, 1, 0])
    legs = np.concatenate([_ball(generator, 150, (x, 0.5, z), 0.05) for x in (-0.9, 0.9) for z in (-0.9, 0.9)])
    assert not find_floor(np.concatenate([table, legs])).any()  # too much lies below its top
    for few in (np.zeros((1, 3)), np.zeros((50, 3)), generator.normal(size=(2, 3))):
        assert not find_floor(few).any()


@pytest.mark.parametrize("clustering", [LOOSE, Clustering("hdbscan", neighbours=4, least=50)])
def test_two_balls_above_a_floor_are_two_segments_in_any_unit_and_place(clustering: Clustering) -> None:
    points, truth = _room()
    numbers = segment(points, clustering)
    assert covering(truth, numbers) > 0.95 and (numbers[truth == 0] == FLOOR).mean() > 0.98
    assert [int(n) for n in dict.fromkeys(numbers[numbers > FLOOR])] == [1, 2]  # in the order of their first points
    moved = segment(points * 1000 + [5e5, 300, -2e5], clustering)
    assert (moved == numbers).mean() > 0.995
    without = segment(points[truth > 0], clustering, floor=False)
    assert set(without.tolist()) <= {NONE, 1, 2} and covering(truth[truth > 0], without) > 0.95


def test_crumbs_are_no_segments() -> None:
    points, _ = _room()
    crumb = _ball(np.random.default_rng(1), 15, (0, 2.5, 0), 0.1)
    numbers = segment(np.concatenate([points, crumb]), LOOSE)
    assert (numbers[-15:] == NONE).all() and numbers.max() == 2
    assert (segment(crumb, LOOSE) == NONE).all()
    assert (segment(np.zeros((30, 3)), replace(LOOSE, least=5)) == 1).all()  # all in one place: one thing


def test_large_clouds_are_cut_by_a_part_of_their_points(monkeypatch: pytest.MonkeyPatch) -> None:
    points, truth = _room()
    whole = segment(points, LOOSE)
    monkeypatch.setattr(scene_segments, "MOST", 1800)
    thin = segment(points, LOOSE)
    assert len(thin) == len(points) and covering(truth, thin) > 0.9 and (thin == whole).mean() > 0.95
    assert (thin == segment(points, LOOSE)).all()


def _slow_covering(truth: list[int], numbers: list[int]) -> float:
    best = []
    for thing in {t for t in truth if t > 0}:
        own = {i for i, t in enumerate(truth) if t == thing}
        scores = [0.0]
        for number in {n for n in numbers if n > 0}:
            other = {i for i, n in enumerate(numbers) if n == number}
            scores.append(len(own & other) / len(own | other))
        best.append(max(scores))
    return sum(best) / len(best)


def test_covering_equals_its_definition_and_has_its_bounds() -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        truth, numbers = generator.integers(0, 5, 60), generator.integers(-1, 6, 60)
        found = covering(truth, numbers)
        assert found == pytest.approx(_slow_covering(truth.tolist(), numbers.tolist())) and 0 <= found <= 1
        assert covering(truth, np.where(truth > 0, truth + 3, FLOOR)) == 1
    assert covering(np.array([1, 1, 0]), np.array([NONE, NONE, 0])) == 0
    assert covering(np.array([0, 0]), np.array([1, 1])) == 1


def test_a_clustering_is_chosen_by_its_covering_and_the_first_of_equals() -> None:
    scenes = make_scenes(clouds(0, 4, "val"), CLASSES, replace(SETTINGS, objects=3, gap=0.8), count=2)
    bad, good = Clustering("dbscan", 0.01, 4, 20), Clustering("dbscan", 3.0, 3, 20)
    tried = choose_clustering(scenes, [bad, good, replace(good, least=21)])
    assert [choice.clustering for choice in tried] == [good, replace(good, least=21), bad]
    by_hand = [covering(scene.instances, segment(scene.points, good)) for scene in scenes]
    assert tried[0].covering == pytest.approx(np.mean(by_hand)) and tried[-1].covering == 0


def test_candidates_vary_what_a_method_has() -> None:
    found = list(candidates(("dbscan", "hdbscan"), (1.0, 2.0), (4, 8)))
    assert [(c.method, c.reach, c.neighbours) for c in found[:4]] == [
        ("dbscan", reach, number) for reach in (1.0, 2.0) for number in (4, 8)
    ]
    assert [(c.method, c.neighbours) for c in found[4:]] == [("hdbscan", 4), ("hdbscan", 8)]


def test_the_stages_choice_is_read_and_a_damaged_one_refused(tmp_path: Path) -> None:
    assert chosen_clustering(tmp_path) is None
    path = tmp_path / CLUSTERING_FILE
    path.write_text(json.dumps({"chosen": {"method": "dbscan", "reach": 1.5, "neighbours": 7, "least": 30}}))
    assert chosen_clustering(tmp_path) == Clustering("dbscan", 1.5, 7, 30)
    for text in ("{", "{}", '{"chosen": {"method": "kmeans"}}', '{"chosen": {"way": 1}}'):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"clustering\.json: not a clustering of this version"):
            chosen_clustering(tmp_path)


@pytest.mark.parametrize("wrong", [{"reach": 0.0}, {"neighbours": 0}, {"least": 1}, {"method": "kmeans"}])
def test_impossible_clusterings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"clustering: .*allowed"):
        replace(LOOSE, **wrong)
