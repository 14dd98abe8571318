"""Clutter of real scans, for training on whole and clean clouds: sides that are missing, and what stands around.

Not CG3D's. Scans are partial and bring floor and neighbours with them (Uy et al., Revisiting point cloud
classification, ICCV 2019); encoders of clean shapes stand this badly, and learn to by seeing it (Ren et al.,
Benchmarking and analyzing point cloud classification under corruptions, ICML 2022).
Letters: N samples, B batch, P points a cloud, S points of one. Unit sphere, y up.
"""

from dataclasses import dataclass

import numpy as np

from c2p.cg3d_params import Cg3d
from c2p.geometry.points import normalise_points

CELL = 0.2
"""Side of the cells that a cloud is looked at through, unit-sphere radii: wider than the gaps between points."""
GROUND = (0.6, 1.4)
"""Least and largest half side of a ground, unit-sphere radii."""
NEIGHBOUR = (0.7, 1.4)
"""Least and largest size of a neighbour beside the object's."""
TOUCH = 0.15
"""Most that a neighbour's box reaches into the object's, unit-sphere radii."""


@dataclass(frozen=True)
class Clutter:
    """How much of it there is."""

    share: float
    """Probability of a cloud to be cluttered."""
    cut: float
    """Largest share of its points that a cut takes away."""
    added: float
    """Largest share of points of other things in the end."""


def clutter_of(settings: Cg3d) -> Clutter:
    """What the recipe says of it."""
    return Clutter(settings.clutter, settings.clutter_cut, settings.clutter_added)


def cluttered(points: np.ndarray, rows: np.ndarray, clutter: Clutter, *, key: tuple[int, ...]) -> np.ndarray:
    """Clouds of samples `rows` (B,), some of them cluttered: (N, P, 3) float32 to (B, P, 3) float32.

    A cluttered cloud is cut, has something around it, or both; then it is centred and scaled to the unit sphere again.
    What becomes of a sample depends on the key and its number alone. Neighbours are other samples.
    """
    return np.stack([_cloud(points, int(row), clutter, np.random.default_rng([*key, int(row)])) for row in rows])


def _cloud(points: np.ndarray, row: int, clutter: Clutter, rng: np.random.Generator) -> np.ndarray:
    if rng.random() >= clutter.share:
        return points[row]
    count = points.shape[1]
    happens = rng.integers(3)  # cut, surrounded, both
    own = points[row]
    if happens != 1:
        own = cut(own, rng.uniform(0, clutter.cut), rng) if rng.random() < 0.5 else one_side(own, rng)
    added = np.empty((0, 3), np.float32)
    if happens != 0 and (number := round(rng.uniform(0, clutter.added) * count)):
        other = points[(row + rng.integers(1, len(points))) % len(points)] if len(points) > 1 else points[row]
        added = ground(own, number, rng) if rng.random() < 0.5 else neighbour(own, other, number, rng)
    return normalise_points(np.concatenate([_taken(own, count - len(added), rng), added]).astype(np.float32))


def cut(cloud: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Without this share of the points, those farthest along a random direction: (S, 3) to (S', 3)."""
    along = cloud @ _direction(rng)
    return cloud[np.argsort(along, kind="stable")[: max(1, round((1 - share) * len(cloud)))]]


def one_side(cloud: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What is seen from a random direction: the points up to a cell behind the nearest in their cell, (S', 3)."""
    ahead = _direction(rng)
    across = np.cross(ahead, np.eye(3)[np.abs(ahead).argmin()])
    across /= np.linalg.norm(across)
    sight = np.stack([across, np.cross(ahead, across)], axis=1)
    column, row = np.floor(cloud @ sight / CELL).astype(np.int64).T
    cell = (column - column.min()) * (np.ptp(row) + 1) + row - row.min()
    depth = cloud @ ahead
    nearest = np.full(cell.max() + 1, np.inf)
    np.minimum.at(nearest, cell, depth)
    return cloud[depth <= nearest[cell] + CELL]


def ground(cloud: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Points of a level square that the cloud stands on, somewhere about its middle: (count, 3)."""
    half = rng.uniform(*GROUND)
    places = rng.uniform(-half, half, (count, 3)) + rng.uniform(-half / 2, half / 2, 3)
    places[:, [0, 2]] += (cloud.min(0) + cloud.max(0))[[0, 2]] / 2
    places[:, 1] = cloud[:, 1].min()
    return places


def neighbour(cloud: np.ndarray, other: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """The side that another cloud, turned and scaled, turns towards this one, from where it stands beside it.

    Returns (count', 3), count' at most count: the nearest of its points.
    """
    angle, aside = rng.uniform(0, 2 * np.pi, 2)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    other = other @ turn.T * rng.uniform(*NEIGHBOUR)
    towards = np.array([np.cos(aside), 0, np.sin(aside)])
    other = other + towards * ((cloud @ towards).max() - (other @ towards).min() - rng.uniform(0, TOUCH))
    other[:, 1] += cloud[:, 1].min() - other[:, 1].min()
    return other[np.argsort(other @ towards, kind="stable")[:count]]


def _taken(cloud: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """So many points of a cloud drawn at random, each once before any comes twice."""
    rounds = [rng.permutation(len(cloud)) for _ in range(-(-count // len(cloud)))]
    return cloud[np.concatenate(rounds)[:count]] if rounds else cloud[:0]


def _direction(rng: np.random.Generator) -> np.ndarray:
    """(3,) of length one, evenly over the sphere."""
    drawn = rng.normal(size=3)
    unit: np.ndarray = drawn / np.linalg.norm(drawn)
    return unit
