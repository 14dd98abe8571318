"""Gradients of depth maps against finite differences, and what has none."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from c2p import params
from c2p.geometry.depth import depth_images, depth_maps, pointclip_depth
from c2p.geometry.views import view_set

PAPER = params.Depth(
    projection="perspective", size=24, footprint="window", dilation=2, radius=0.15, reach=1.0, aggregation="minimum",
    fov=60.0, distance=2.0, jitter=0.1,
)  # fmt: skip
CODE = replace(PAPER, projection="orthographic", footprint="disc", distance=1.0)
SETTINGS = [
    PAPER,
    replace(PAPER, aggregation="weighted"),
    replace(PAPER, dilation=5),
    CODE,
    replace(CODE, aggregation="weighted"),
    replace(PAPER, footprint="surface"),
    replace(CODE, footprint="surface"),
]
VIEW = torch.from_numpy(view_set("ten").rotations[5:6]).float()
POINTS, STEP = 60, 2e-3


def cloud() -> Tensor:
    points = torch.randn(1, POINTS, 3, generator=torch.Generator().manual_seed(3))
    return 0.8 * points / points.norm(dim=-1, keepdim=True)


def rays(points: Tensor, settings: params.Depth) -> Tensor:
    """Directions in which the points keep their place in the picture; along them the view depth grows by 1."""
    axis = VIEW[0, :, 2]
    if settings.projection == "orthographic":
        return axis.expand_as(points)
    camera = -settings.distance * axis
    towards = points - camera
    return towards / (towards @ axis)[..., None]


def names(settings: params.Depth) -> str:
    return f"{settings.projection}-{settings.footprint}-{settings.dilation}-{settings.aggregation}"


@pytest.mark.parametrize("settings", SETTINGS, ids=names)
def test_gradient_equals_finite_differences(settings: params.Depth) -> None:
    points = cloud().requires_grad_()
    weights = torch.rand(settings.size, settings.size, generator=torch.Generator().manual_seed(4)).double()
    raw = depth_maps(points, VIEW, settings)
    assert torch.equal(raw.detach(), depth_maps(points.detach(), VIEW, settings))
    (raw[0, 0].double() * weights).sum().backward()
    assert points.grad is not None
    direction = rays(points.detach(), settings)
    found = (points.grad * direction).sum(-1)[0]
    start = (raw[0, 0].detach().double() * weights).sum()
    checked = 0
    for index in range(POINTS):
        slopes = []
        for step in (STEP, -STEP):
            moved = points.detach().clone()
            moved[0, index] += step * direction[0, index]
            slopes.append(float((depth_maps(moved, VIEW, settings)[0, 0].double() * weights).sum() - start) / step)
        if slopes[0] != pytest.approx(slopes[1], rel=5e-3, abs=5e-3):
            continue  # a pixel's edge, or another point's depth, was crossed: no gradient is promised there
        assert float(found[index]) == pytest.approx(sum(slopes) / 2, rel=5e-3, abs=5e-3)
        checked += abs(slopes[0]) > 0.1
    assert checked > POINTS / 3


@pytest.mark.parametrize("settings", SETTINGS, ids=names)
def test_gradient_has_the_direction_of_the_view(settings: params.Depth) -> None:
    points = cloud().requires_grad_()
    depth_maps(points, VIEW, settings).sum().backward()
    assert points.grad is not None and points.grad.abs().max() > 0.1
    assert torch.linalg.cross(points.grad, VIEW[0, :, 2].expand_as(points)).abs().max() < 1e-5


def test_of_equal_depths_each_has_its_share() -> None:
    points = torch.zeros(1, 4, 3, requires_grad=True)
    depth_maps(points, VIEW, CODE).sum().backward()
    assert points.grad is not None
    assert torch.allclose(points.grad, points.grad[:, :1].expand(-1, 4, -1)) and points.grad.abs().max() > 0.1


def test_points_without_a_place_get_no_gradient_and_give_none() -> None:
    nan, inf = float("nan"), float("inf")
    strange = torch.tensor([[[nan, 0, 0], [inf, 0, 0], [0, -inf, nan], [0, 1e38, 0], [28, 0, -28], [-9, -9, -9]]])
    for settings in SETTINGS:
        points = torch.cat([cloud(), strange], 1).requires_grad_()
        depth_images(depth_maps(points, VIEW, settings)).sum().backward()
        assert points.grad is not None and points.grad.isfinite().all()
        assert not points.grad[:, POINTS:].any() and points.grad.any()


def test_pictures_have_the_gradient_of_their_formula() -> None:
    raw = depth_maps(cloud(), VIEW, CODE)[0, 0].requires_grad_()
    weights = torch.rand(raw.shape, generator=torch.Generator().manual_seed(5))
    (depth_images(raw)[0] * weights).sum().backward()
    z = raw.detach().double().requires_grad_()
    covered = z > 0
    picture = (z[covered] - z[covered].min()) / z.max() * 200 / 255  # with background: 1 is larger than the smallest
    (picture * weights.double()[covered]).sum().backward()
    assert raw.grad is not None and z.grad is not None
    assert torch.allclose(raw.grad[covered].double(), z.grad[covered], atol=1e-4)


def test_pointclip_has_a_gradient() -> None:
    points = cloud().requires_grad_()
    pointclip_depth(points, VIEW, size=20, distance=1.6).sum().backward()
    assert points.grad is not None and points.grad.isfinite().all() and points.grad.abs().max() > 0.1
