"""Made scenes: what they promise of places, turns, sizes and labels."""

from dataclasses import replace

import numpy as np
import pytest
from made_lab import CLASSES, clouds
from made_scenes import SETTINGS

from c2p import params
from c2p.evaluation.scenes import FLOOR, make_scenes, turned
from c2p.geometry.points import normalise_points


def test_same_seed_same_points_and_another_seed_others() -> None:
    shapes = clouds(0, 4, "test")
    first, again = (make_scenes(shapes, CLASSES, SETTINGS, count=2) for _ in range(2))
    other = make_scenes(shapes, CLASSES, replace(SETTINGS, seed=4), count=2)
    more = make_scenes(shapes, CLASSES, SETTINGS, count=3)
    for a, b, c, d in zip(first, again, other, more, strict=False):
        assert a.points.tobytes() == b.points.tobytes() == d.points.tobytes() and a.keys == b.keys == d.keys
        assert a.points.tobytes() != c.points.tobytes()


def test_objects_stand_apart_on_the_floor_and_are_the_shapes_they_are_labelled_as() -> None:
    shapes = clouds(0, 4, "test")
    for scene in make_scenes(shapes, CLASSES, SETTINGS, count=3):
        parts = [scene.points[scene.instances == n].astype(np.float64) for n in range(1, len(scene.keys) + 1)]
        floor = scene.points[scene.instances == FLOOR]
        assert len(floor) == 300 and (floor[:, 1] == 0).all() and scene.floor_label == 3
        assert (scene.labels[scene.instances == FLOOR] == 3).all()
        for number, (part, key) in enumerate(zip(parts, scene.keys, strict=True)):
            row = shapes.keys.index(key)
            assert set(scene.labels[scene.instances == number + 1]) == {shapes.labels[row]}
            assert part[:, 1].min() == pytest.approx(0, abs=1e-6)
            assert floor[:, [0, 2]].min() < part[:, [0, 2]].min() < part[:, [0, 2]].max() < floor[:, [0, 2]].max()
            given, found = shapes.points[row], normalise_points(part)
            size = np.linalg.norm(part - part.mean(0), axis=1).max()
            assert 1 / 1.5 - 1e-6 <= size <= 1.5 + 1e-6
            assert np.allclose(given[:, 1], found[:, 1], atol=1e-5)  # turned about the up axis, and only turned
            assert np.allclose(np.hypot(*given.T[[0, 2]]), np.hypot(*found.T[[0, 2]]), atol=1e-5)
            for other in parts[number + 1 :]:  # every pair of points, one by one
                assert min(np.linalg.norm(other - point, axis=1).min() for point in part) >= 0.2 - 1e-5


def test_noise_moves_every_coordinate_by_its_deviation() -> None:
    shapes = clouds(0, 4, "test")
    plain, noisy = (
        make_scenes(shapes, CLASSES, replace(SETTINGS, noise=noise), count=1)[0].points for noise in (0.0, 0.01)
    )
    assert (noisy - plain).std(0) == pytest.approx([0.01] * 3, rel=0.15)


def test_classes_and_objects_come_in_turn() -> None:
    shapes = clouds(0, 4, "test")
    scenes = make_scenes(shapes, CLASSES, SETTINGS, count=3)  # twelve objects: each of the shapes once
    keys = [key for scene in scenes for key in scene.keys]
    assert sorted(keys) == sorted(shapes.keys)
    labels = [int(shapes.labels[shapes.keys.index(key)]) for key in keys]
    assert all(sorted(labels[start : start + 3]) == [0, 1, 2] for start in range(0, 12, 3))


def test_a_class_without_objects_and_a_single_object_do() -> None:
    shapes = clouds(0, 1, "test")
    scene = make_scenes(shapes, (*CLASSES, "ghost"), replace(SETTINGS, objects=5), count=1)[0]
    assert len(scene.keys) == 5 and scene.floor_label == 4 and set(scene.labels) == {0, 1, 2, 4}


def test_turns_go_round() -> None:
    points = np.array([[1.0, 2.0, 0.0]])
    assert np.allclose(turned(points, 90), [[0, 2, -1]])
    assert np.allclose(turned(turned(points, 200), 160), points)
    assert turned(points.astype(np.float32), 30).dtype == np.float32


@pytest.mark.parametrize(
    "change, said",
    [
        ({"gap": 0.0}, r"cg3d_scenes\.gap: got 0\.0; allowed: more than 0"),
        ({"scale": 0.5}, r"cg3d_scenes\.scale: got 0\.5; allowed: at least 1"),
        ({"noise": -1.0}, r"cg3d_scenes\.noise"),
        ({"reaches": ()}, r"cg3d_scenes\.reaches: got \[\]"),
        ({"reaches": (2.0, 0.0)}, r"cg3d_scenes\.reaches: got \[2\.0, 0\.0\]; allowed: numbers above 0"),
        ({"neighbours": (0,)}, r"cg3d_scenes\.neighbours"),
        ({"queries": (" ",)}, r"cg3d_scenes\.queries"),
        ({"turns": 0}, r"cg3d_scenes\.turns: got 0; allowed: at least 1"),
    ],
)
def test_impossible_parameters_are_refused_by_name(change: dict[str, object], said: str) -> None:
    with pytest.raises(params.ParameterError, match=said):
        replace(SETTINGS, **change)
