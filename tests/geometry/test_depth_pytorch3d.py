"""The published code's depth maps against PyTorch3D's point rasteriser, which it used; only where that is installed."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from c2p import params
from c2p.geometry.depth import depth_maps
from c2p.geometry.views import view_set

pytest.importorskip("pytorch3d", reason="needs PyTorch3D")

CODE = params.Depth(
    projection="orthographic", size=224, footprint="disc", dilation=2, radius=0.02, reach=1.4,
    aggregation="minimum", fov=60.0, distance=1.0, jitter=0.1,
)  # fmt: skip
TEN = torch.from_numpy(view_set("ten").rotations).float()


def make_cloud(points: int, generator: torch.Generator) -> Tensor:
    cloud = torch.randn(1, points, 3, generator=generator)
    return cloud / cloud.norm(dim=-1, keepdim=True).amax(1, keepdim=True)


def to_view(cloud: Tensor, rotations: Tensor, distance: Tensor) -> Tensor:
    """(P, 3) -> (V, P, 3): scaled and moved, sums written out as depth_maps has them."""
    x, y, z = (cloud / distance).T
    axes = [x * turn[0, :, None] + y * turn[1, :, None] + z * turn[2, :, None] for turn in rotations.permute(2, 1, 0)]
    return torch.stack([axes[0], axes[1], axes[2] + distance], -1)


def rasterize(view: Tensor, size: int, radius: float) -> Tensor:
    """Nearest depth by PyTorch3D as published, 0 = empty."""
    from pytorch3d.renderer.points.rasterize_points import rasterize_points
    from pytorch3d.structures import Pointclouds

    clouds = Pointclouds(list(view))
    _, depth, _ = rasterize_points(clouds, image_size=size, radius=radius, points_per_pixel=1, bin_size=0)
    return depth[..., 0].clamp(min=0)


def test_every_bit_is_that_of_the_published_rasteriser() -> None:
    """1.5 million pixels: clouds, jitters and views at random, the published size and radius."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        cloud, distance = make_cloud(1024, generator), 0.9 + 0.2 * torch.rand(1, generator=generator)
        turns = torch.linalg.qr(torch.randn(5, 3, 3, generator=generator))[0]
        rotations = torch.cat([TEN[torch.randperm(10, generator=generator)[:5]], turns])
        drawn = depth_maps(cloud, rotations, CODE, distance)[0]
        assert torch.equal(drawn, rasterize(to_view(cloud[0], rotations, distance), 224, 0.02))
        assert (drawn > 0).float().mean() > 0.1


@pytest.mark.parametrize("size", [8, 33, 64, 97, 225, 250])
@pytest.mark.parametrize("radius", [0.02, 0.05, 0.3])
def test_other_sizes_and_radii(size: int, radius: float) -> None:
    generator = torch.Generator().manual_seed(size)
    cloud, distance = make_cloud(60, generator), torch.tensor([1.03])
    drawn = depth_maps(cloud, TEN[3:6], replace(CODE, size=size, radius=radius), distance)[0]
    assert torch.equal(drawn, rasterize(to_view(cloud[0], TEN[3:6], distance), size, radius))


@pytest.mark.parametrize("size", [16, 33])
def test_pixels_on_the_very_edge_of_a_disc(size: int) -> None:
    """Points whose distance to a pixel's centre is the radius, to the last bit or one beside it."""
    radius = 0.2
    centre = -1 + (2 * torch.arange(size) + 1) / size
    shifts = torch.tensor([[1, 0], [0, 1], [-1, 0], [0.6, 0.8], [-0.8, 0.6], [0.28, -0.96]]) * radius
    places = (torch.stack([centre, centre.flip(0)], -1)[:, None] + shifts).view(-1, 2)
    for ulps in (-1, 0, 1):
        moved = places.view(torch.int32).add(ulps).view(torch.float32)
        points = torch.cat([-moved[:, :1], moved[:, 1:], torch.zeros(len(moved), 1)], -1)  # the front view's left is -x
        for point in points:
            drawn = depth_maps(point.view(1, 1, 3), TEN[:1], replace(CODE, size=size, radius=radius))[0]
            view = to_view(point[None], TEN[:1], torch.ones(1))
            assert torch.equal(drawn, rasterize(view, size, radius))


def test_the_published_camera_gives_the_same_maps() -> None:
    """Also with PyTorch3D's own camera and transforms, whose matrix products may round otherwise elsewhere."""
    from pytorch3d.renderer import FoVOrthographicCameras, PointsRasterizationSettings, PointsRasterizer
    from pytorch3d.structures import Pointclouds

    cloud, distance = make_cloud(1024, torch.Generator().manual_seed(5)), torch.tensor([0.93])
    shift = torch.tensor([[0.0, 0.0, 0.93]]).expand(10, 3)
    settings = PointsRasterizationSettings(image_size=224, radius=0.02, points_per_pixel=1, bin_size=0)
    rasterizer = PointsRasterizer(FoVOrthographicCameras(R=TEN, T=shift), settings)
    expected = rasterizer(Pointclouds([cloud[0] / distance] * 10)).zbuf[..., 0].clamp(min=0)
    drawn = depth_maps(cloud, TEN, CODE, distance)[0]
    assert ((drawn - expected).abs() > 1e-6).float().mean() < 1e-5
