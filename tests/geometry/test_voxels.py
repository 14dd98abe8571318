"""PointCLIP V2's projection against loops over points, voxels and pixels in float64."""

from math import ceil, exp

import numpy as np
import pytest
import torch

from c2p.geometry.views import view_set
from c2p.geometry.voxels import voxel_images

ROTATIONS = torch.from_numpy(view_set("tilted").rotations)


def cloud(seed: int, count: int = 60) -> torch.Tensor:
    points = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))
    return points / points.norm(dim=1).max()


def plain_picture(points: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """One picture, one voxel and one pixel at a time: 112 x 112 x 8 voxels, window 7, Gaussian of 3."""
    seen = [tuple(-float(sum(p[i] * rotation[i, k] for i in range(3))) for k in range(3)) for p in points]
    middle = [(max(s[k] for s in seen) + min(s[k] for s in seen)) / 2 for k in range(3)]
    longest = max(max(s[k] for s in seen) - min(s[k] for s in seen) for k in range(3))
    grid: dict[tuple[int, int, int], float] = {}
    for s in seen:
        right, down, near = ((s[k] - middle[k]) / longest * 2 for k in range(3))
        column, row = (min(max(ceil((0.8 * r + 1) / 2 * 112), 1), 110) for r in (right, down))
        value = min(max(((near + 1) / 2 + 0.2) / 1.2 * 6, 1), 6)
        place = (ceil(value), row, column)
        grid[place] = max(grid.get(place, 0.0), value)
    dense = np.zeros((8, 110, 110))
    for (depth, row, column), value in grid.items():
        for i in range(110):
            for j in range(110):
                if i - 2 <= row <= i + 4 and j - 2 <= column <= j + 4:
                    dense[depth, i, j] = max(dense[depth, i, j], value)
    weights = {d: exp(-d * d / 18) for d in (-1, 0, 1)}
    total = sum(weights.values()) ** 2
    picture = np.zeros((110, 110))
    filled = np.argwhere(dense.max(0) > 0)
    for i, j in {(i + a, j + b) for i, j in filled.tolist() for a in (-1, 0, 1) for b in (-1, 0, 1)}:
        if 0 <= i < 110 and 0 <= j < 110:
            near = [(i + a, j + b, weights[a] * weights[b]) for a in weights for b in weights]
            inside = [(x, y, w) for x, y, w in near if 0 <= x < 110 and 0 <= y < 110]
            picture[i, j] = max(sum(w * dense[d, x, y] for x, y, w in inside) / total for d in range(8))
    return 1 - picture / picture.max()


def test_pictures_are_those_of_a_loop() -> None:
    clouds = torch.stack([cloud(0), cloud(1) * torch.tensor([1.0, 0.2, 0.6])])
    got = voxel_images(clouds, ROTATIONS)
    assert got.shape == (2, 10, 110, 110)
    assert got.dtype == torch.float32
    for n, v in ((0, 0), (0, 8), (1, 3), (1, 9)):
        expected = plain_picture(clouds[n].double().numpy(), ROTATIONS[v].numpy())
        # A point whose float32 position rounds over a voxel's edge moves a window's row; 60 points, so hardly ever.
        wrong = np.abs(got[n, v].double().numpy() - expected) > 1e-5
        assert wrong.mean() < 1e-3


def test_near_is_dark_far_is_grey_and_the_background_white() -> None:
    near, far = (
        torch.tensor([[-0.5, 0.5, 0.9]]),
        torch.tensor([[0.5, -0.5, -0.9]]),
    )  # y up, the front view looks along -z
    picture = voxel_images(torch.cat([near, far])[None], torch.from_numpy(view_set("one").rotations))[0, 0]
    upper_left, lower_right = picture[:55, :55], picture[55:, 55:]
    assert upper_left.min() == 0
    assert lower_right.min() == pytest.approx(1 - 1 / 6, abs=1e-6)
    assert (picture[:55, 55:] == 1).all()
    assert (picture[55:, :55] == 1).all()


def test_place_size_order_and_batch_do_not_matter() -> None:
    points = cloud(2, 400)
    alone = voxel_images(points[None], ROTATIONS)[0]
    shuffled = points[torch.randperm(400, generator=torch.Generator().manual_seed(0))]
    together = voxel_images(torch.stack([cloud(3, 400), shuffled]), ROTATIONS)
    assert torch.equal(together[1], alone), "to the bit"
    views = [4, 0, 9]
    assert torch.equal(voxel_images(points[None], ROTATIONS[views])[0], alone[views])
    moved = voxel_images(points[None] * 4, ROTATIONS)[0]
    assert torch.equal(moved, alone), "a power of two scales without rounding"
    assert (voxel_images(points[None] + 3.0, ROTATIONS)[0] - alone).abs().gt(0.01).float().mean() < 0.02


def test_denser_than_its_points() -> None:
    sphere = torch.randn(1024, 3, generator=torch.Generator().manual_seed(0))
    sphere /= sphere.norm(dim=1, keepdim=True)
    picture = voxel_images(sphere[None], ROTATIONS)[0, 0]
    rows, columns = torch.meshgrid(torch.arange(110), torch.arange(110), indexing="ij")
    inside = (rows - 54.5) ** 2 + (columns - 54.5) ** 2 < 40**2
    assert (picture[inside] < 1).float().mean() > 0.98, "1,024 points close the disc"


@pytest.mark.parametrize("single", [torch.zeros(1, 3), torch.full((7, 3), 0.25)])
def test_a_cloud_of_one_place_is_a_dot(single: torch.Tensor) -> None:
    picture = voxel_images(single[None], ROTATIONS)
    assert picture.isfinite().all()
    assert (picture[0, 0] == 0).any()
    assert (picture[0, 0] == 1).float().mean() > 0.99


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(ValueError, match=r"points of shape \(4, 3\); allowed: \(B, P, 3\)"):
        voxel_images(torch.zeros(4, 3), ROTATIONS)
    with pytest.raises(ValueError, match="at least one point"):
        voxel_images(torch.zeros(2, 0, 3), ROTATIONS)
    with pytest.raises(ValueError, match=r"rotations of shape \(3, 3\)"):
        voxel_images(torch.zeros(2, 4, 3), ROTATIONS[0])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_draws_the_same() -> None:
    clouds = torch.stack([cloud(0, 500), cloud(1, 500)])
    there = voxel_images(clouds.cuda(), ROTATIONS).cpu()
    assert (there - voxel_images(clouds, ROTATIONS)).abs().gt(1e-5).float().mean() < 1e-4
