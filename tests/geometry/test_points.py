"""Sampling, normalisation and farthest points against slow twins."""

import numpy as np
import pytest
import torch

from c2p.geometry.materials import plain
from c2p.geometry.meshes import Mesh
from c2p.geometry.points import farthest_points, normalise_points, sample_surface


def make_mesh(vertices: list, faces: list) -> Mesh:
    count = len(faces)
    return Mesh(
        np.array(vertices, dtype=np.float64),
        np.array(faces, dtype=np.int64),
        np.zeros(count, np.int32),
        np.zeros((count, 3, 2), np.float32),
        (plain(),),
    )


def farthest_points_naive(points: np.ndarray, count: int, start: int) -> list[int]:
    chosen = [start]
    while len(chosen) < count:
        best, best_distance = -1, np.float32(-1)
        for i, p in enumerate(points):
            if i in chosen:
                continue
            squares = ((p - points[chosen]) ** 2).astype(np.float32)
            distance = min(np.float32(np.float32(s[0] + s[1]) + s[2]) for s in squares)
            if distance > best_distance:
                best, best_distance = i, distance
        chosen.append(best)
    return chosen


@pytest.mark.parametrize("start", [0, 17])
def test_farthest_points_equal_the_naive_loop(start: int) -> None:
    points = np.random.default_rng(start).normal(size=(60, 3)).astype(np.float32)
    assert farthest_points(points, 25, start).tolist() == farthest_points_naive(points, 25, start)


def test_ties_go_to_the_lowest_index() -> None:
    grid = np.stack(np.meshgrid(*[np.arange(3.0)] * 3, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.float32)
    assert farthest_points(grid, 27).tolist() == farthest_points_naive(grid, 27, 0)
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [-1, 0, 0]], dtype=np.float32)
    assert farthest_points(corners, 2).tolist() == [0, 1]


def test_each_point_once_even_where_points_coincide() -> None:
    points = np.repeat(np.eye(3, dtype=np.float32), 4, axis=0)
    chosen = farthest_points(points, 12)
    assert sorted(chosen.tolist()) == list(range(12))
    assert chosen[:3].tolist() == [0, 4, 8]


def test_torch_gives_what_numpy_gives() -> None:
    points = np.random.default_rng(3).normal(size=(200, 3)).astype(np.float32)
    chosen = farthest_points(torch.from_numpy(points), 50, start=5)
    assert chosen.dtype == torch.int64
    assert chosen.tolist() == farthest_points(points, 50, start=5).tolist()


@pytest.mark.parametrize(
    ("shape", "count", "start", "message"),
    [
        ((5, 3), 6, 0, "6 of 5 points; allowed: 1 to 5"),
        ((5, 3), 2, 5, "start 5; allowed: 0 to 4"),
        ((5, 2), 2, 0, "allowed: \\(N, 3\\)"),
    ],
)
def test_farthest_points_refuses(shape: tuple[int, int], count: int, start: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        farthest_points(np.zeros(shape, np.float32), count, start)


def test_farthest_points_refuses_nan() -> None:
    with pytest.raises(ValueError, match="not finite"):
        farthest_points(np.full((4, 3), np.nan, np.float32), 2)


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_normalised_clouds(kind: str) -> None:
    points = np.random.default_rng(0).normal(3, 2, size=(4, 2, 50, 3)).astype(np.float32)
    given = torch.from_numpy(points) if kind == "torch" else points
    result = np.asarray(normalise_points(given))
    assert result.dtype == np.float32
    for cloud, before in zip(result.reshape(-1, 50, 3), points.reshape(-1, 50, 3), strict=True):
        centred = before.astype(np.float64) - before.astype(np.float64).mean(0)
        np.testing.assert_allclose(cloud, centred / max(np.linalg.norm(p) for p in centred), atol=1e-6)
    assert not np.asarray(normalise_points(given * 0 + 5)).any()


def test_samples_lie_on_the_surface_in_proportion_to_area() -> None:
    # a triangle of area 0.5 in z = 0 and a square of area 4.5 in z = 1
    side = 4.5**0.5
    mesh = make_mesh(
        [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [side, 0, 1], [side, side, 1], [0, side, 1]],
        [[0, 1, 2], [3, 4, 5], [3, 5, 6]],
    )
    points = sample_surface(mesh, 20000, seed=1)
    assert points.dtype == np.float32 and points.shape == (20000, 3)
    low = points[:, 2] == 0
    assert low.mean() == pytest.approx(0.1, abs=0.01)
    triangle, square = points[low].astype(np.float64), points[~low].astype(np.float64)
    assert (triangle[:, :2] >= 0).all() and (triangle[:, :2].sum(1) <= 1 + 1e-6).all()
    np.testing.assert_allclose(triangle[:, :2].mean(0), 1 / 3, atol=0.02)
    counts = np.histogram2d(square[:, 0], square[:, 1], bins=3, range=[[0, side], [0, side]])[0]
    np.testing.assert_allclose(counts / counts.sum(), 1 / 9, atol=0.012)


def test_sampling_is_keyed_by_its_seed() -> None:
    mesh = make_mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]])
    assert sample_surface(mesh, 9, 4).tobytes() == sample_surface(mesh, 9, 4).tobytes()
    assert sample_surface(mesh, 9, 4).tobytes() != sample_surface(mesh, 9, 5).tobytes()
    with pytest.raises(ValueError, match="count 0"):
        sample_surface(mesh, 0, 4)
