"""A scene's cloud cut into floor and segments: a plane by RANSAC, then clusters, both scikit-learn's.

Letters: S points of a scene, M segments. y is up; lengths are in the cloud's own unit.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from scipy.spatial import cKDTree

from c2p.evaluation.scenes import FLOOR, Scene

CLUSTERING_FILE = "clustering.json"
"""Beside a run's scenes: the clustering that cut scenes of validation shapes best, and those that were tried."""
NONE = -1
"""Number of points that belong to no segment."""
TILT = 15.0
"""Degrees that a floor may lean."""
BELOW = 0.02
"""Share of all points that may lie below a floor: a table's top is a plane too."""
SHARE = 0.1
"""Least share of all points that a floor holds."""
SPREAD = 0.4
"""Least share of the squares of ground that a floor is the bottom of: that of a ball is small."""
SPACINGS = 1.0
"""Of the points, on either side of a plane, in which RANSAC looks for others of it."""
DEVIATIONS = 3.0
"""Standard deviations of a floor's points, on either side of it, that count as the floor."""
REFINED = 3
"""Times that the plane is fitted again to the points that count."""
NORMAL = 1.4826
"""Standard deviation of normal noise whose median absolute value is one."""
TRIALS = 60
"""Planes that RANSAC tries: where half of the lowest points are floor, it misses once in 3,000 scenes."""
CELL = 4.0
"""Side, in spacings, of the squares of ground whose lowest points are looked at for a floor."""
MOST = 60_000
"""Points that are clustered; others take the number of the nearest of these."""
NEAREST = 4
"""Neighbour whose distance is a point's spacing: the first one is often a chance."""


@dataclass(frozen=True)
class Clustering:
    """How points become segments; by default as chosen on scenes of the demo's validation shapes."""

    method: Literal["dbscan", "hdbscan"] = "hdbscan"
    reach: float = 2.0
    """DBSCAN: radius of a neighbourhood, in spacings of the points off the floor. HDBSCAN finds its own."""
    neighbours: int = 4
    """Points of a neighbourhood that make its middle dense, itself among them."""
    least: int = 64
    """Points of a segment; fewer are none."""

    def __post_init__(self) -> None:
        if self.method not in ("dbscan", "hdbscan"):
            raise ValueError(f"clustering: method {self.method!r}; allowed: dbscan, hdbscan")
        if not self.reach > 0:
            raise ValueError(f"clustering: reach {self.reach}; allowed: more than 0")
        if self.neighbours < 1 or self.least < 2:
            raise ValueError(
                f"clustering: neighbours {self.neighbours}, least {self.least}; allowed: from 1, and from 2"
            )


@dataclass(frozen=True)
class Choice:
    """A clustering and how well it cut scenes whose objects are known."""

    clustering: Clustering
    covering: float


def segment(points: np.ndarray, clustering: Clustering, *, floor: bool = True, seed: int = 0) -> np.ndarray:
    """Cut a cloud: (S, 3) float to (S,) int64, FLOOR, segments from 1 in the order of their first points, or NONE.

    floor: whether a floor is looked for; without, all points are clustered. Where more than MOST points are given, so
    many drawn by the seed are clustered, and the others take the number of the nearest.
    """
    points = np.asarray(points, dtype=np.float64)
    if len(points) > MOST:
        some = np.sort(np.random.default_rng(seed).choice(len(points), MOST, replace=False))
        known = segment(points[some], clustering, floor=floor, seed=seed)
        return known[cKDTree(points[some]).query(points)[1]]
    nowhere = np.zeros(len(points), bool)
    return _cut(points, find_floor(points, seed=seed) if floor else nowhere, clustering)


def spacing(points: np.ndarray) -> float:
    """Typical distance between a cloud's points: median over them of that to their NEAREST-th neighbour."""
    nearest = min(NEAREST, len(points) - 1)
    if nearest < 1:
        return 0.0
    return float(np.median(cKDTree(points).query(points, nearest + 1)[0][:, nearest]))


def find_floor(points: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Which points lie on the floor: (S, 3) float64 to (S,) bool; none where there is no floor.

    The floor is the plane y = a x + b z + c, at most TILT steep and with at most BELOW of the points lower, that most
    of the lowest points lie near: RANSAC finds it, least squares over what lies near refine it. It holds SHARE of the
    points and is the bottom of SPREAD of the ground. Near are in the end DEVIATIONS standard deviations: what an object
    has there counts as floor, since nothing tells its lowest points from those it stands on.
    """
    from sklearn.linear_model import LinearRegression, RANSACRegressor

    none = np.zeros(len(points), bool)
    reach = SPACINGS * spacing(points)
    if reach == 0 or len(points) < 3:
        return none
    ground, height = points[:, [0, 2]], points[:, 1]
    low = _lowest(ground, height, CELL / SPACINGS * reach)
    if len(low) < 3:
        return none
    steepest = np.tan(np.radians(TILT))

    def may_be(plane: LinearRegression, *_: object) -> bool:
        if np.hypot(*plane.coef_) > steepest:
            return False
        return float((height < plane.predict(ground) - reach).mean()) <= BELOW

    search = RANSACRegressor(
        LinearRegression(),
        min_samples=3,
        residual_threshold=reach,
        is_model_valid=may_be,
        max_trials=TRIALS,
        stop_probability=1.0,
        random_state=seed,
    )
    try:
        search.fit(ground[low], height[low])
    except ValueError:  # scikit-learn's way to say that no plane was allowed
        return none
    plane, near = search.estimator_, np.abs(height - search.predict(ground)) <= reach
    for _ in range(REFINED):  # points of objects near the floor have made it lean
        away = np.abs(height - plane.predict(ground))
        deviation = NORMAL * float(np.median(away[near]))
        near = away <= min(DEVIATIONS * deviation, reach)
        plane = LinearRegression().fit(ground[near], height[near])
    spread = float((np.abs(height[low] - plane.predict(ground[low])) <= reach).mean())
    return near if may_be(plane) and near.mean() >= SHARE and spread >= SPREAD else none


def _lowest(ground: np.ndarray, height: np.ndarray, side: float) -> np.ndarray:
    """Rows of the lowest point in every square of the ground that has one: (S, 2), (S,) to (L,) int64."""
    squares = np.floor((ground - ground.min(0)) / side).astype(np.int64)
    order = np.lexsort((height, squares[:, 1], squares[:, 0]))
    first = np.ones(len(order), bool)
    first[1:] = (np.diff(squares[order], axis=0) != 0).any(1)
    return order[first]


def covering(truth: np.ndarray, numbers: np.ndarray) -> float:
    """How well segments cut a scene's objects: the mean over objects of the best IoU that a segment has with it.

    truth, numbers: (S,) int64; FLOOR and NONE count neither as object nor as segment. In [0, 1]; 1 without objects.
    """
    objects = np.unique(truth[truth > FLOOR])
    segments = np.unique(numbers[numbers > FLOOR])
    if not len(objects):
        return 1.0
    if not len(segments):
        return 0.0
    table = np.zeros((int(truth.max()) + 1, int(segments.max()) + 1))
    inside = (truth > FLOOR) & (numbers > FLOOR)
    np.add.at(table, (truth[inside], numbers[inside]), 1)
    sizes = np.bincount(truth[truth > FLOOR], minlength=table.shape[0])[:, None]
    taken = np.bincount(numbers[numbers > FLOOR], minlength=table.shape[1])[None]
    union = sizes + taken - table
    iou = np.divide(table, union, out=np.zeros_like(table), where=union > 0)
    return float(iou[objects].max(1).mean())


def candidates(
    methods: Sequence[Literal["dbscan", "hdbscan"]], reaches: Sequence[float], neighbours: Sequence[int]
) -> Iterator[Clustering]:
    """Clusterings to choose from, in order."""
    for method in methods:
        for reach in reaches if method == "dbscan" else reaches[:1]:
            for number in neighbours:
                yield Clustering(method, reach, number)


def choose_clustering(scenes: Sequence[Scene], among: Sequence[Clustering], *, seed: int = 0) -> list[Choice]:
    """Try clusterings on scenes: the mean covering of each, the best first; of equals, the one named first.

    The floor is found once a scene. The scenes must be others than those that are scored afterwards.
    """
    floors = [find_floor(scene.points.astype(np.float64), seed=seed) for scene in scenes]
    tried = []
    for clustering in among:
        pairs = zip(scenes, floors, strict=True)
        scores = [covering(scene.instances, _cut(scene.points, floor, clustering)) for scene, floor in pairs]
        tried.append(Choice(clustering, float(np.mean(scores))))
    return sorted(tried, key=lambda choice: -choice.covering)


def chosen_clustering(folder: Path) -> Clustering | None:
    """The clustering that the stage cg3d_scenes chose; None: it left none.

    Raises ValueError: its file is damaged.
    """
    path = folder / CLUSTERING_FILE
    if not path.is_file():
        return None
    try:
        return Clustering(**json.loads(path.read_text(encoding="utf-8"))["chosen"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: not a clustering of this version ({error}); make it again with `dvc repro cg3d_scenes`"
        ) from None


def _cut(points: np.ndarray, floor: np.ndarray, clustering: Clustering) -> np.ndarray:
    """Number the points off the floor, segments in the order of their first points: (S,) int64."""
    numbers = np.where(floor, FLOOR, NONE)
    rest = np.flatnonzero(~floor)
    if len(rest) < clustering.least:
        return numbers
    found = _clusters(points[rest].astype(np.float64), clustering)
    kept = [
        label for label in dict.fromkeys(found.tolist()) if label >= 0 and (found == label).sum() >= clustering.least
    ]
    for number, label in enumerate(kept, FLOOR + 1):
        numbers[rest[found == label]] = number
    return numbers


def _clusters(points: np.ndarray, clustering: Clustering) -> np.ndarray:
    """Labels that scikit-learn gives: (S,), -1 for noise."""
    from sklearn.cluster import DBSCAN, HDBSCAN

    reach = clustering.reach * spacing(points)
    if reach == 0:  # all points, or most, in one place
        return np.zeros(len(points), int)
    if clustering.method == "dbscan":
        return DBSCAN(eps=reach, min_samples=clustering.neighbours).fit_predict(points)
    search = HDBSCAN(
        min_cluster_size=clustering.least,
        min_samples=clustering.neighbours,
        allow_single_cluster=True,
        copy=True,
    )
    return search.fit_predict(points)
