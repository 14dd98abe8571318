"""Surfaces through points: triangles against a search through all triples, dense maps against boxes hit by rays."""

from dataclasses import replace
from itertools import combinations
from math import radians, tan

import numpy as np
import pytest
import torch
from torch import Tensor

from c2p import params
from c2p.geometry.depth import depth_maps
from c2p.geometry.points import farthest_points, normalise_points
from c2p.geometry.surface import closed, surface_triangles
from c2p.geometry.views import view_set

DENSE = params.Depth(
    projection="perspective", size=96, footprint="surface", dilation=2, radius=0.02, reach=1.4, aggregation="minimum",
    fov=60.0, distance=2.0, jitter=0.1,
)  # fmt: skip
FLAT = replace(DENSE, projection="orthographic", distance=1.0)
ROTATIONS = torch.from_numpy(view_set("ten").rotations)
FRONT = ROTATIONS[:1]

Boxes = list[tuple[tuple[float, float, float], tuple[float, float, float]]]
CHAIR: Boxes = [
    ((-0.35, -0.05, -0.35), (0.35, 0.0, 0.35)),  # seat
    ((-0.35, 0.0, -0.35), (0.35, 0.7, -0.3)),  # back
    *(((x, -0.7, z), (x + 0.05, -0.05, z + 0.05)) for x in (-0.35, 0.3) for z in (-0.35, 0.3)),
]
TABLE: Boxes = [((-0.7, 0.2, -0.4), (0.7, 0.25, 0.4)), ((-0.05, -0.5, -0.05), (0.05, 0.2, 0.05))]


def sample_boxes(boxes: Boxes, count: int = 1024) -> tuple[Tensor, np.ndarray, float]:
    """Farthest points of boxes' surfaces, normalised; the centre and the scale that did it."""
    generator = np.random.default_rng(0)
    found, areas = [], []
    for low, high in boxes:
        low, high = np.array(low), np.array(high)
        for axis in range(3):
            for side in (low, high):
                points = generator.uniform(low, high, (20000, 3))
                points[:, axis] = side[axis]
                found.append(points)
                areas.append(np.prod(np.delete(high - low, axis)))
    share = np.array(areas) / sum(areas)
    surface = np.concatenate([p[: round(8192 * s)] for p, s in zip(found, share, strict=True)]).astype(np.float32)
    centre = surface.mean(0)
    scaled = normalise_points(surface)
    scale = float(np.linalg.norm(surface - centre, axis=1).max())
    return torch.from_numpy(scaled[farthest_points(scaled, count)]), centre, scale


def boxes_depth(boxes: Boxes, centre: np.ndarray, scale: float, rotation: np.ndarray, settings: params.Depth):
    """View depth of boxes through pixel centres: rays against slabs, 0 = empty."""
    side = 1 - (2 * np.arange(settings.size) + 1) / settings.size
    y, x = np.meshgrid(side, side, indexing="ij")
    spread = tan(radians(settings.fov) / 2)
    rays = np.stack([x * spread, y * spread, np.ones_like(x)], -1) @ rotation.T
    camera = -settings.distance * rotation[:, 2]
    nearest = np.full(x.shape, np.inf)
    for low, high in boxes:
        with np.errstate(divide="ignore", invalid="ignore"):
            first = ((np.array(low) - centre) / scale - camera) / rays
            second = ((np.array(high) - centre) / scale - camera) / rays
        enter, leave = np.minimum(first, second).max(-1), np.maximum(first, second).min(-1)
        nearest = np.where((enter <= leave) & (enter > 0), np.minimum(nearest, enter), nearest)
    return np.where(np.isfinite(nearest), nearest, 0)


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two silhouettes."""
    return float(((first > 0) & (second > 0)).sum() / ((first > 0) | (second > 0)).sum())


def triples(points: Tensor, reach: float) -> set[tuple[int, ...]]:
    """What surface_triangles gives for one cloud, as sorted index triples; segments as pairs."""
    rows = surface_triangles(points[None], reach)[0].tolist()
    found = [tuple(sorted(set(row))) for row in rows if row != [0, 0, 0]]
    triangles = [corners for corners in found if len(corners) == 3]
    assert len(triangles) == len(set(triangles)), "each once"
    return set(found)


def triples_naive(points: np.ndarray, reach: float) -> set[tuple[int, ...]]:
    """All triples and pairs, float64, with the centre of the ball from linear equations."""
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
    spacing = np.sort(apart, axis=1)[:, 1]
    found: set[tuple[int, ...]] = set()
    for corners in combinations(range(len(points)), 3):
        a, b, c = points[list(corners)]
        normal = np.cross(b - a, c - a)
        centre = np.linalg.solve([b - a, c - a, normal], [(b - a) @ (b + a) / 2, (c - a) @ (c + a) / 2, normal @ a])
        radius = np.linalg.norm(centre - a)
        others = np.delete(points, corners, axis=0)
        empty = (np.linalg.norm(others - centre, axis=1) ** 2 >= radius**2 * 0.98).all()
        if empty and radius <= reach * spacing[list(corners)].min():
            found.add(corners)
    sides = {pair for corners in found for pair in combinations(corners, 2)}
    for pair in combinations(range(len(points)), 2):
        centre, radius = points[list(pair)].mean(0), apart[pair] / 2
        empty = (np.linalg.norm(np.delete(points, pair, axis=0) - centre, axis=1) ** 2 >= radius**2 * 0.98).all()
        if empty and radius <= reach * spacing[list(pair)].min() and pair not in sides:
            found.add(pair)
    return found


@pytest.mark.parametrize("reach", [0.7, 1.4, 3.0])
def test_triangles_equal_a_search_through_all_triples(reach: float) -> None:
    generator = np.random.default_rng(1)
    kinds = set()
    for count in (2, 3, 4, 7, 9, 9, 9, 9, 9, 9):  # with up to nine points every other one is a neighbour
        for spread in ((1, 1, 1), (1, 1, 0.1), (1, 0.05, 0.05)):
            points = (generator.uniform(-1, 1, (count, 3)) * spread).astype(np.float32)
            found = triples(torch.from_numpy(points), reach)
            assert found == triples_naive(points.astype(np.float64), reach)
            kinds |= {len(corners) for corners in found}
    assert kinds == {2, 3}


def test_a_plane_is_tiled() -> None:
    """Triangles of points on a plane cover it once, but for four points on a circle: areas add up to the hull's."""
    grid = torch.stack(torch.meshgrid(torch.arange(12.0), torch.arange(9.0), indexing="ij"), -1).view(-1, 2)
    noise = 0.3 * torch.rand(grid.shape, generator=torch.Generator().manual_seed(0))
    inner = (grid[:, :1] % 11 > 0) & (grid[:, 1:] % 8 > 0)  # the border stays straight
    points = torch.cat([grid + noise * inner, torch.zeros(len(grid), 1)], -1)
    a, b, c = points[surface_triangles(points[None], 3.0)[0]].unbind(1)
    area = torch.linalg.cross(b - a, c - a).norm(dim=-1).sum() / 2
    assert 0.99999 < float(area) / (11 * 8) < 1.02


def test_what_lies_apart_stays_apart() -> None:
    """Two rods of single points: strung together each, never with one another."""
    line = torch.arange(0, 2, 0.1)
    rods = torch.cat([torch.stack([line, torch.full_like(line, y), torch.zeros_like(line)], -1) for y in (0.0, 0.3)])
    expected = {(n, n + 1) for rod in (0, 20) for n in range(rod, rod + 19)}
    assert triples(rods, 1.4) == expected


@pytest.mark.parametrize("boxes", [CHAIR, TABLE], ids=["chair", "table"])
def test_dense_maps_are_close_to_the_true_depth(boxes: Boxes) -> None:
    points, centre, scale = sample_boxes(boxes)
    settings = replace(DENSE, size=224)
    sparse = [replace(settings, footprint="window"), replace(settings, footprint="disc")]
    truth = [boxes_depth(boxes, centre, scale, rotation.numpy(), settings) for rotation in ROTATIONS]
    dense, *others = ([m.numpy() for m in depth_maps(points[None], ROTATIONS, s)[0]] for s in (settings, *sparse))
    overlaps = [np.mean([overlap(m, t) for m, t in zip(maps, truth, strict=True)]) for maps in (dense, *others)]
    assert overlaps[0] > 0.93 and overlaps[1] < 0.5 and overlaps[2] < 0.8
    errors = [
        np.mean([np.abs(m - t)[(m > 0) & (t > 0)].mean() for m, t in zip(maps, truth, strict=True)])
        for maps in (dense, *others)
    ]
    assert errors[0] < 0.016 and min(errors[1:]) > 4 * errors[0]


def test_plates_are_full_and_legs_do_not_fuse() -> None:
    points, centre, scale = sample_boxes(CHAIR)
    settings = replace(DENSE, size=224)
    for view in (0, 4, 8):  # front, a corner, left
        truth = boxes_depth(CHAIR, centre, scale, ROTATIONS[view].numpy(), settings)
        drawn = depth_maps(points[None], ROTATIONS[view : view + 1], settings)[0, 0].numpy()
        far_inside, far_outside = (np.ones_like(truth, dtype=bool) for _ in range(2))
        for row in range(-4, 5):  # four pixels from every contour
            for column in range(-4, 5):
                moved = np.roll(truth, (row, column), (0, 1)) > 0
                far_inside &= moved
                far_outside &= ~moved
        assert (drawn[far_inside] > 0).mean() > 0.998
        assert (drawn[far_outside] == 0).mean() > 0.998


def test_depth_between_points_is_that_of_the_plane() -> None:
    corners = torch.tensor([[[-0.5, -0.5, 0.5], [0.5, -0.5, 0.0], [0.0, 0.6, -0.6]]])
    a, b, c = corners[0].double().numpy()
    normal = np.cross(b - a, c - a)
    for settings in (replace(DENSE, reach=9.0, size=24), replace(FLAT, reach=9.0, size=24)):
        drawn = depth_maps(corners, FRONT, settings)[0, 0].numpy()
        half = tan(radians(30)) if settings.projection == "perspective" else None
        assert (drawn > 0).sum() > 20
        for row, column in zip(*drawn.nonzero(), strict=True):
            x, y = (1 - (2 * k + 1) / 24 for k in (column, row))
            origin, ray = (np.array([0, 0, 2.0]), np.array([-x * half, y * half, -1])) if half else (
                np.array([-x, y, 1.0]), np.array([0.0, 0, -1])
            )  # fmt: skip
            along = normal @ (a - origin) / (normal @ ray)
            slope = 0.09  # half a pixel aside, and one more where a gap was closed, the plane is this much nearer
            assert drawn[row, column] == pytest.approx(along, abs=2 * slope)


def test_closing_fills_gaps_of_two_and_no_more() -> None:
    maps = torch.zeros(1, 9, 20)
    maps[:, :, [0, 3, 8, 12]] = 1.5
    filled = closed(maps)
    assert (filled[:, :, :4] == 1.5).all() and not filled[:, :, 4:8].any() and not filled[:, :, 9:12].any()
    behind = torch.full((1, 9, 9), 2.0)
    behind[:, ::3, ::3] = 1.0
    assert (closed(behind)[:, :7, :7] == 1).all(), "a front of single pixels hides what is behind"
    alone = torch.zeros(2, 1, 1)
    assert torch.equal(closed(alone), alone)


@pytest.mark.parametrize("settings", [DENSE, FLAT], ids=["perspective", "orthographic"])
def test_few_equal_and_strange_points(settings: params.Depth) -> None:
    nan, inf = float("nan"), float("inf")
    for points in (torch.zeros(0, 5, 3), torch.zeros(2, 0, 3)):
        maps = depth_maps(points, ROTATIONS, settings)
        assert maps.shape == (len(points), 10, 96, 96) and not maps.any()
    for count in (1, 2, 3, 50):
        same = depth_maps(torch.full((1, count, 3), 0.1), FRONT, settings)
        assert (same > 0).sum() == 1
    cloud = torch.randn(1, 300, 3, generator=torch.Generator().manual_seed(0)) * 0.3
    strange = torch.tensor([[[nan, 0, 0], [inf, 0, 0], [0, -inf, nan], [0, 1e38, 0], [3e38, 3e38, 3e38], [0, 0, 99]]])
    drawn = depth_maps(torch.cat([cloud, strange], 1), FRONT, settings)
    assert torch.equal(drawn, depth_maps(cloud, FRONT, settings))
    assert depth_maps(cloud, FRONT, replace(settings, size=9)).isfinite().all()


def test_an_object_is_drawn_alike_alone_in_a_batch_and_in_any_order() -> None:
    clouds = torch.randn(5, 300, 3, generator=torch.Generator().manual_seed(0))
    clouds /= clouds.norm(dim=-1, keepdim=True)
    clouds[3:] *= 0.5
    distances = torch.linspace(0.9, 1.1, 5)
    for settings in (DENSE, FLAT):
        together = depth_maps(clouds, ROTATIONS, settings, distances)
        for b in range(5):
            assert torch.equal(depth_maps(clouds[b : b + 1], ROTATIONS, settings, float(distances[b]))[0], together[b])
    turned = clouds[:, torch.randperm(300, generator=torch.Generator().manual_seed(1))]
    near, far = (depth_maps(c, FRONT, DENSE) for c in (clouds, turned))  # another corner comes first: rounds otherwise
    assert (near - far).abs().lt(1e-5).float().mean() > 0.999


@pytest.mark.gpu
def test_gpu_gives_what_the_cpu_gives_without_waiting() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    clouds = torch.randn(4, 1024, 3, generator=torch.Generator().manual_seed(0))
    clouds /= clouds.norm(dim=-1, keepdim=True)
    there, turns, factors = clouds.cuda(), ROTATIONS.cuda().float(), torch.ones(4).cuda()
    for settings in (DENSE, FLAT, replace(DENSE, footprint="disc"), replace(DENSE, footprint="window")):
        depth_maps(there, turns, settings, factors)
        torch.cuda.set_sync_debug_mode("error")
        try:
            far = depth_maps(there, turns, settings, factors)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        near = depth_maps(clouds, ROTATIONS, settings)
        assert ((near - far.cpu()).abs() < 1e-5).float().mean() > 0.999
