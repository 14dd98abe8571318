"""The published code's depth maps against PyTorch3D's point rasteriser, which it used; only where that is installed."""

import pytest
import torch

from c2p import params
from c2p.geometry.depth import depth_maps
from c2p.geometry.views import view_set

pytest.importorskip("pytorch3d", reason="needs PyTorch3D")


@pytest.mark.parametrize("distance", [0.9, 1.0, 1.07])
def test_discs_equal_the_published_rasteriser(distance: float) -> None:
    from pytorch3d.renderer.points.rasterize_points import rasterize_points
    from pytorch3d.structures import Pointclouds

    settings = params.Depth(
        projection="orthographic", size=224, footprint="disc", dilation=2, radius=0.02, reach=1.0,
        aggregation="minimum", fov=60.0, distance=1.0, jitter=0.1,
    )  # fmt: skip
    cloud = torch.randn(1, 1024, 3, generator=torch.Generator().manual_seed(0))
    cloud /= cloud.norm(dim=-1, keepdim=True)
    rotations = torch.from_numpy(view_set("ten").rotations).float()
    maps = depth_maps(cloud, rotations, settings, distance)[0]
    for drawn, rotation in zip(maps, rotations, strict=True):
        view = (cloud[0] / distance) @ rotation + torch.tensor([0.0, 0.0, distance])
        _, depth, _ = rasterize_points(Pointclouds([view]), image_size=224, radius=0.02, points_per_pixel=1, bin_size=0)
        expected = depth[0, ..., 0].clamp(min=0)
        different = (drawn - expected).abs() > 1e-6
        assert different.float().mean() < 1e-4  # a pixel centre on a disc's very edge may round either way
        assert (drawn > 0).float().mean() > 0.1
