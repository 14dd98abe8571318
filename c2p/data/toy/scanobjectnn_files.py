"""Made shapes in the layout of ScanObjectNN: six h5 files of partial, noisy scans, y up.

A scan sees an object from a few neighbouring directions: points that a direction does not see are missing. OBJ_ONLY
holds the object, OBJ_BG also what stands around it, PB_T50_RS cuts the scene with a box that was moved by up to half
its size, turned about the up axis and scaled.
"""

from pathlib import Path

import h5py
import numpy as np

from c2p.data.files import write_atomic
from c2p.data.toy.families import TOY_SCANOBJECTNN
from c2p.data.toy.packing import model_id
from c2p.data.toy.shape import ToyShape, make_shape
from c2p.data.vocabulary import SCANOBJECTNN

_POINTS = 2048
_DENSE = 8192
_NOISE = 0.006
_COPIES = 2
_KEPT_SHARE = 0.5
_MAX_TURN = 45.0
_SCALES = (0.75, 1.25)


def write_scanobjectnn(folder: Path, *, seed: int, train: int, test: int) -> None:
    """Write `train` and `test` objects a class into the six files of ScanObjectNN's three variants.

    `data` (N, 2048, 3) float32; `label` (N,) int64 in the official order of 15 classes, of which the made ones cover
    a part. The same objects stand in the three variants; PB_T50_RS has two copies of each.
    """
    for split, count in (("training", train), ("test", test)):
        only, surrounded, perturbed, labels = [], [], [], []
        for name, category in TOY_SCANOBJECTNN.items():
            for index in range(count):
                model = model_id(seed, collection="scanobjectnn", category=category, split=split, index=index)
                rng = np.random.default_rng([int(model, 16), 1])
                scan, background = _scan(make_shape(category, int(model, 16)), rng)
                only.append(_drawn(rng, scan))
                surrounded.append(_drawn(rng, np.concatenate([scan, _cropped(background, scan)])))
                perturbed += [_perturbed(rng, scan, background) for _ in range(_COPIES)]
                labels.append(SCANOBJECTNN.index(name))
        _write(folder / "main_split_nobg" / f"{split}_objectdataset.h5", only, labels)
        _write(folder / "main_split" / f"{split}_objectdataset.h5", surrounded, labels)
        copied = [label for label in labels for _ in range(_COPIES)]
        _write(folder / "main_split" / f"{split}_objectdataset_augmentedrot_scale75.h5", perturbed, copied)


def _scan(shape: ToyShape, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the seen points of an object (P, 3) and of its surroundings (Q, 3), noisy, floor at the object's foot."""
    points = _surface(shape, rng, _DENSE)
    start = rng.uniform(-50, 50)
    seen = np.zeros(len(points), bool)
    for azimuth in start + np.array([-35.0, 0.0, 35.0]) * rng.uniform(0.5, 1.0):
        seen |= _visible(points, azimuth, rng.uniform(15, 40))
    scan = points[seen] + rng.normal(0, _NOISE, (int(seen.sum()), 3))
    low, high = points.min(0), points.max(0)
    background = [_sheet(rng, low[1], (low[0] + high[0]) / 2, (low[2] + high[2]) / 2)]
    if rng.random() < 0.5:
        wall = _sheet(rng, 0.0, 0.0, 0.0)
        background.append(np.stack([wall[:, 0], wall[:, 2] + 0.4, wall[:, 1] + low[2] - rng.uniform(0.02, 0.1)], -1))
    if rng.random() < 0.6:
        side = rng.choice([-1.0, 1.0])
        size = rng.uniform(0.2, 0.5, 3)
        block = rng.uniform(-0.5, 0.5, (1500, 3))
        block[np.arange(1500), rng.integers(0, 3, 1500)] = rng.choice([-0.5, 0.5], 1500)
        x = (high[0] if side > 0 else low[0]) + side * (size[0] / 2 + rng.uniform(0.02, 0.12))
        background.append(block * size + (x, low[1] + size[1] / 2, rng.uniform(-0.2, 0.2)))
    return scan, np.concatenate(background)


def _surface(shape: ToyShape, rng: np.random.Generator, count: int) -> np.ndarray:
    """Return area-uniform points of the surface (count, 3)."""
    corners = shape.vertices.astype(float)[shape.faces]
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = np.cumsum(np.linalg.norm(np.cross(first, second), axis=1))
    face = np.searchsorted(area, rng.random(count) * area[-1], side="right")
    a, b = rng.random((2, count, 1))
    mirrored = a + b > 1
    a, b = np.where(mirrored, 1 - a, a), np.where(mirrored, 1 - b, b)
    return corners[face, 0] + a * first[face] + b * second[face]


def _visible(
    points: np.ndarray, azimuth: float, elevation: float, *, cells: int = 48, depth: float = 0.06
) -> np.ndarray:
    """Tell which points (P, 3) are nearest to a far viewer, to within `depth`, in cells of the picture he sees."""
    a, e = np.deg2rad(azimuth), np.deg2rad(elevation)
    towards = np.array([np.cos(e) * np.sin(a), np.sin(e), np.cos(e) * np.cos(a)])
    right = np.array([np.cos(a), 0.0, -np.sin(a)])
    plane = np.stack([points @ right, points @ np.cross(towards, right)], -1)
    column, row = np.clip(((plane + 0.6) / 1.2 * cells).astype(int), 0, cells - 1).T
    cell = row * cells + column
    near = points @ towards
    nearest = np.full(cells * cells, -np.inf)
    np.maximum.at(nearest, cell, near)
    return near > nearest[cell] - depth


def _sheet(rng: np.random.Generator, y: float, x: float, z: float) -> np.ndarray:
    """Return a noisy level square of surroundings (2500, 3), 1.6 wide, around (x, y, z)."""
    flat = rng.uniform(-0.8, 0.8, (2500, 2))
    return np.stack([flat[:, 0] + x, y + rng.normal(0, _NOISE, 2500), flat[:, 1] + z], -1)


def _cropped(background: np.ndarray, scan: np.ndarray, margin: float = 0.08) -> np.ndarray:
    """Return the surroundings inside the object's own box, widened by `margin`."""
    low, high = scan.min(0) - margin, scan.max(0) + margin
    return background[_inside(background, low, high)]


def _inside(points: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Tell which points (P, 3) lie in a box."""
    x, y, z = ((points[:, k] >= low[k]) & (points[:, k] <= high[k]) for k in range(3))
    return x & y & z


def _perturbed(rng: np.random.Generator, scan: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Return the scene inside a moved, turned and scaled box (2048, 3); at least half of the object stays inside."""
    low, high = scan.min(0), scan.max(0)
    centre, size = (low + high) / 2, high - low
    scene = np.concatenate([scan, background])
    while True:
        angle = np.deg2rad(rng.uniform(-_MAX_TURN, _MAX_TURN))
        rotation = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
        half = size * rng.uniform(*_SCALES) / 2 + 0.02
        moved = (scene - centre - size * rng.uniform(-0.5, 0.5, 3)) @ rotation.T
        inside = _inside(moved, -half, half)
        if inside[: len(scan)].mean() >= _KEPT_SHARE:
            return _drawn(rng, moved[inside])


def _drawn(rng: np.random.Generator, points: np.ndarray) -> np.ndarray:
    """Return 2,048 of the points, drawn without repetition where there are enough."""
    return points[rng.choice(len(points), _POINTS, replace=len(points) < _POINTS)].astype(np.float32)


def _write(path: Path, clouds: list[np.ndarray], labels: list[int]) -> None:
    def write(temporary: Path) -> None:
        with h5py.File(temporary, "w", track_order=False) as file:
            file.create_dataset("data", data=np.stack(clouds), track_times=False)
            file.create_dataset("label", data=np.array(labels, np.int64), track_times=False)

    write_atomic(path, write)
