"""Made scenes: known objects on a floor, at random places, turns and sizes; every point has its label.

Letters: S points of a scene, P points of an object, K classes. World frame: y up, the floor at y = 0.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from c2p.cg3d_params import Cg3dScenes
from c2p.data.pointset import PointSet

FLOOR = 0
"""Number of the floor in `Scene.instances`; objects count from 1."""
AREA = 3.0
"""Floor that an object gets to begin with, in squared radii of its sphere before scaling: scenes are crowded."""
TRIES = 60
"""Places tried for an object before the floor grows."""
GROWTH = 1.1
"""Factor by which it grows along both sides."""
MARGIN = 0.5
"""Floor around the outermost points."""


@dataclass(frozen=True)
class Scene:
    """A scene cloud with what is known of it."""

    points: np.ndarray
    """(S, 3) float32, y up."""
    instances: np.ndarray
    """(S,) int64: FLOOR, or the object's number from 1."""
    labels: np.ndarray
    """(S,) int64: the object's class; the floor has the number after the last class."""
    keys: tuple[str, ...]
    """The objects' names, in the order of their numbers."""
    classes: tuple[str, ...]

    @property
    def floor_label(self) -> int:
        """Label of the floor's points."""
        return len(self.classes)


def make_scenes(shapes: PointSet, classes: tuple[str, ...], settings: Cg3dScenes, *, count: int) -> list[Scene]:
    """Make scenes; the same shapes and settings give the same points.

    Classes come in turn in a random order, and so do the objects of a class, so that all are seen about equally often
    over the scenes; no object comes twice before all of its class have come. Objects stand on the floor, as far from
    one another as settings.gap says, point to point: a cup may stand below a table, nothing touches.
    """
    deal = _deal(shapes, len(classes), np.random.default_rng([settings.seed, 0]))
    scenes = []
    for number in range(count):
        rows = [next(deal) for _ in range(settings.objects)]
        scenes.append(_scene(shapes, rows, classes, settings, np.random.default_rng([settings.seed, 1, number])))
    return scenes


def turned(points: np.ndarray, degrees: float) -> np.ndarray:
    """Points (..., 3) turned about the up axis, counter-clockwise seen from above; dtype stays."""
    angle = np.radians(degrees)
    cos, sin = np.cos(angle), np.sin(angle)
    rotation = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    moved: np.ndarray = points @ rotation.T.astype(points.dtype)
    return moved


def _deal(shapes: PointSet, classes: int, rng: np.random.Generator) -> Iterator[int]:
    """Rows of objects for ever: classes in turn, objects of a class in turn, both shuffled anew at each round."""
    rows = [np.flatnonzero(shapes.labels == label) for label in range(classes)]
    waiting: list[list[int]] = [[] for _ in rows]
    while True:
        for label in rng.permutation([label for label in range(classes) if len(rows[label])]):
            if not waiting[label]:
                waiting[label] = rng.permutation(rows[label]).tolist()
            yield waiting[label].pop()


def _scene(
    shapes: PointSet, rows: list[int], classes: tuple[str, ...], settings: Cg3dScenes, rng: np.random.Generator
) -> Scene:
    side = np.sqrt(AREA * len(rows))
    placed: list[np.ndarray] = []
    for row in rows:
        cloud = _standing(shapes.points[row], settings, rng)
        others = cKDTree(np.concatenate(placed)) if placed else None
        while True:
            places = rng.uniform(-side / 2, side / 2, (TRIES, 2))
            free = next((place for place in places if _is_free(cloud, place, others, settings.gap)), None)
            if free is not None:
                break
            side *= GROWTH
        placed.append(cloud + np.array([free[0], 0, free[1]]))
    floor = _floor(placed, settings.floor_points, rng)
    parts = [floor, *placed]
    points = np.concatenate(parts)
    points = points + rng.normal(0, 1, points.shape) * settings.noise
    sizes = [len(part) for part in parts]
    return Scene(
        points.astype(np.float32),
        np.repeat(np.arange(len(parts)), sizes),
        np.repeat([len(classes), *(int(shapes.labels[row]) for row in rows)], sizes),
        tuple(shapes.keys[row] for row in rows),
        classes,
    )


def _standing(points: np.ndarray, settings: Cg3dScenes, rng: np.random.Generator) -> np.ndarray:
    """An object turned and scaled, its lowest point on the floor, its middle above the origin: (P, 3) float64."""
    degrees, exponent = rng.uniform(0, 360), rng.uniform(-1, 1)
    cloud = turned(points.astype(np.float64), degrees) * settings.scale**exponent
    middle = (cloud.min(0) + cloud.max(0)) / 2
    return cloud - np.array([middle[0], cloud[:, 1].min(), middle[2]])


def _is_free(cloud: np.ndarray, place: np.ndarray, others: cKDTree | None, gap: float) -> bool:
    if others is None:
        return True
    distances, _ = others.query(cloud + np.array([place[0], 0, place[1]]), distance_upper_bound=gap)
    return not np.isfinite(distances).any()


def _floor(placed: list[np.ndarray], count: int, rng: np.random.Generator) -> np.ndarray:
    """Points of a floor below all objects: (count, 3) float64 at y = 0."""
    low = np.min([part.min(0) for part in placed], axis=0) - MARGIN
    high = np.max([part.max(0) for part in placed], axis=0) + MARGIN
    floor = rng.uniform(low, high, (count, 3))
    floor[:, 1] = 0
    return floor
