"""Depth maps against loops over points and pixels in float64."""

from dataclasses import replace
from math import ceil, radians, tan

import numpy as np
import pytest
import torch

from c2p import params
from c2p.geometry.depth import depth_images, depth_maps, pointclip_depth
from c2p.geometry.views import view_set

PAPER = params.Depth(
    projection="perspective", size=24, footprint="window", dilation=2, radius=0.02, reach=1.0,
    aggregation="minimum", fov=60.0, distance=2.0, jitter=0.1,
)  # fmt: skip
CODE = replace(PAPER, projection="orthographic", footprint="disc", radius=0.15, distance=1.0)
ROTATIONS = torch.from_numpy(view_set("ten").rotations)


def make_clouds(count: int, points: int = 40, seed: int = 0) -> torch.Tensor:
    cloud = torch.randn(count, points, 3, generator=torch.Generator().manual_seed(seed))
    return cloud / cloud.norm(dim=-1, keepdim=True).amax(1, keepdim=True)


def project(point: np.ndarray, rotation: np.ndarray, settings: params.Depth, distance: float):
    """Position in [-1, 1]^2 and view depth, None where the point is not drawn."""
    camera = settings.distance * distance
    if settings.projection == "orthographic":
        x, y, z = point / camera @ rotation + [0, 0, camera]
        return (x, y, z) if z >= 0 else None
    x, y, z = point @ rotation + [0, 0, camera]
    focal = tan(radians(settings.fov) / 2)
    return (x / z / focal, y / z / focal, z) if z > 0 else None


def covered_pixels(x: float, y: float, settings: params.Depth):
    """(row, column) pairs of a point's footprint, and how close to another outcome the position is (in pixels)."""
    size = settings.size
    u, v = (1 - x) * size / 2, (1 - y) * size / 2
    pixels, slack = [], 1.0
    if settings.footprint == "window":
        r = settings.dilation
        shift = 1 if r % 2 else 1.5
        cu, cv = ceil(u - shift), ceil(v - shift)
        for w in (u - shift, v - shift):
            slack = min(slack, abs(w - round(w)))
        inside = lambda k, c: c - r / 2 < k <= c + r / 2  # noqa: E731
        pixels = [(i, j) for i in range(size) for j in range(size) if inside(i, cv) and inside(j, cu)]
    else:
        for i in range(size):
            for j in range(size):
                away = np.hypot(x - (1 - (2 * j + 1) / size), y - (1 - (2 * i + 1) / size)) - settings.radius
                slack = min(slack, abs(away) * size / 2)
                if away < 0:
                    pixels.append((i, j))
    return pixels, slack


def depth_map_naive(points: np.ndarray, rotation: np.ndarray, settings: params.Depth, distance: float):
    """The map, and a mask of the pixels that rounding cannot change."""
    found: dict[tuple[int, int], list[float]] = {}
    sure = np.ones((settings.size, settings.size), dtype=bool)
    for point in points.astype(np.float64):
        projected = project(point, rotation, settings, distance)
        if projected is None:
            continue
        x, y, z = projected
        pixels, slack = covered_pixels(x, y, settings)
        if slack < 1e-4:
            row, column = (int((1 - w) * settings.size / 2) for w in (y, x))
            sure[max(row - 6, 0) : row + 7, max(column - 6, 0) : column + 7] = False
        for pixel in pixels:
            found.setdefault(pixel, []).append(z)
    result = np.zeros((settings.size, settings.size))
    for pixel, depths in found.items():
        z = np.array(depths)
        w = 1 / (z + 1e-12)
        result[pixel] = z.min() if settings.aggregation == "minimum" else (z * w).sum() / w.sum()
    return result, sure


@pytest.mark.parametrize(
    "settings",
    [
        *(replace(PAPER, dilation=r, aggregation=a) for r in (1, 2, 3, 4) for a in ("minimum", "weighted")),
        replace(PAPER, distance=1.0, fov=90.0),
        replace(PAPER, projection="orthographic", distance=1.0),
        CODE,
        replace(CODE, aggregation="weighted"),
        replace(CODE, radius=0.02),
    ],
    ids=lambda s: f"{s.projection}-{s.footprint}-{s.dilation}-{s.radius}-{s.aggregation}-{s.distance}",
)
def test_maps_equal_the_naive_loop(settings: params.Depth) -> None:
    clouds = make_clouds(2)
    distances = torch.tensor([0.9, 1.07])
    maps = depth_maps(clouds, ROTATIONS, settings, distances)
    assert maps.shape == (2, 10, 24, 24) and maps.dtype == torch.float32
    for b in range(2):
        for v in (0, 1, 4, 9):
            expected, sure = depth_map_naive(clouds[b].numpy(), ROTATIONS[v].numpy(), settings, float(distances[b]))
            assert sure.mean() > 0.5
            np.testing.assert_allclose(maps[b, v].numpy()[sure], expected[sure], rtol=2e-6)


def test_window_is_centred_on_its_point() -> None:
    for dilation in (1, 2, 3, 4):
        settings = replace(PAPER, dilation=dilation, size=64)
        points = make_clouds(1, 400)[0] * 0.4
        offsets = []
        for point, drawn in zip(points, depth_maps(points[:, None], ROTATIONS[:1], settings), strict=True):
            rows, columns = drawn[0].nonzero().T
            assert len(rows) == dilation**2
            x, y, _ = project(point.double().numpy(), ROTATIONS[0].numpy(), settings, 1.0)
            offsets.append([columns.double().mean() + 0.5 - (1 - x) * 32, rows.double().mean() + 0.5 - (1 - y) * 32])
        assert np.abs(offsets).max() <= 0.5 + 1e-4
        assert np.abs(np.mean(offsets, axis=0)).max() < 0.06


def test_front_view_keeps_left_and_up() -> None:
    point = torch.tensor([[[0.5, 0.3, 0.0]]])  # right of the middle, above it
    for settings in (PAPER, CODE):
        rows, columns = depth_maps(point, ROTATIONS[:1], settings)[0, 0].nonzero().T
        assert (columns >= 12).all() and (rows < 12).all()


def test_published_disc_covers_sixteen_pixels_a_point() -> None:
    settings = replace(CODE, size=224, radius=0.02)
    points = make_clouds(1, 100) * 0.9
    maps = depth_maps(points.view(100, 1, 3), ROTATIONS[:1], settings)
    assert (maps > 0).sum().item() / 100 == pytest.approx(np.pi * 2.24**2, rel=0.02)


def test_an_object_is_drawn_alike_alone_and_in_a_batch() -> None:
    clouds, distances = make_clouds(5, 100), torch.linspace(0.9, 1.1, 5)
    own = torch.stack([ROTATIONS[[b, 9 - b]] for b in range(5)])
    for settings in (PAPER, CODE, replace(PAPER, aggregation="weighted")):
        together = depth_maps(clouds, own, settings, distances)
        for b in range(5):
            alone = depth_maps(clouds[b : b + 1], own[b], settings, float(distances[b]))
            assert torch.equal(alone[0], together[b])


def test_order_of_points_does_not_matter() -> None:
    clouds = make_clouds(1, 200)
    assert torch.equal(depth_maps(clouds, ROTATIONS, PAPER), depth_maps(clouds.flip(1), ROTATIONS, PAPER))


def test_points_behind_and_beside_the_camera_are_not_drawn() -> None:
    points = torch.tensor([[[0.0, 0.0, 3.0], [0.0, 0.0, 2.0], [40.0, 0.0, 0.0], [0.0, -40.0, 1.99]]])
    assert not depth_maps(points, ROTATIONS[:1], PAPER).any()
    assert not depth_maps(points[:, :1], ROTATIONS[:1], CODE).any()
    assert not pointclip_depth(points, ROTATIONS[:1], size=16, distance=2.0).any()


def test_nearest_point_wins_and_weighted_mean_is_harmonic() -> None:
    points = torch.tensor([[[0.0, 0.0, 0.5], [0.0, 0.0, -0.5]]])
    assert depth_maps(points, ROTATIONS[:1], PAPER).max() == 1.5
    weighted = depth_maps(points, ROTATIONS[:1], replace(PAPER, aggregation="weighted")).max()
    assert float(weighted) == pytest.approx(2 / (1 / 1.5 + 1 / 2.5))


def test_pictures_equal_the_published_normalisation() -> None:
    raw = depth_maps(make_clouds(2), ROTATIONS, CODE)
    raw[0, 0] = 0  # an empty map
    raw[0, 1] = torch.rand(24, 24, generator=torch.Generator().manual_seed(0)) + 1.5  # a full one, all beyond 1
    raw[0, 2] += (raw[0, 2] > 0) * 1.5  # all beyond 1, with background
    pictures = depth_images(raw)
    assert pictures.shape == (2, 10, 3, 24, 24)
    for b in range(2):
        for v in range(10):
            z = raw[b, v].double().numpy()
            expected = np.ones_like(z)
            if (z > 0).any():
                lowest = min([*z[z > 0], 1.0]) if (z == 0).any() else z.min()
                expected[z > 0] = ((z - lowest) / z.max() * 200 / 255)[z > 0]
            for channel in pictures[b, v]:
                np.testing.assert_allclose(channel.numpy(), expected, atol=3e-7)
    assert pictures.min() >= 0 and pictures.max() <= 1


def test_pointclip_equals_the_naive_loop() -> None:
    clouds = make_clouds(1, 60, seed=5)
    maps = pointclip_depth(clouds, ROTATIONS, size=20, distance=1.6)
    for v in (0, 3, 6):
        pixels: dict[tuple[int, int], list[float]] = {}
        for point in clouds[0].double().numpy():
            x, y, z = point @ ROTATIONS[v].numpy() + [0, 0, 1.6]
            column, row = (ceil((1 - w / z) * 10 - 0.5) for w in (x, y))
            if 0 <= column < 20 and 0 <= row < 20:
                pixels.setdefault((row, column), []).append(z)
        expected = np.zeros((20, 20))
        for pixel, depths in pixels.items():
            w = 1 / (np.array(depths) + 1e-12)
            expected[pixel] = (w * depths).sum() / w.sum()
        np.testing.assert_allclose(maps[0, v].numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("points", "rotations", "distance", "message"),
    [
        (torch.zeros(5, 3), ROTATIONS, None, r"points of shape \(5, 3\)"),
        (torch.zeros(2, 5, 3), ROTATIONS[None], None, r"rotations of shape \(1, 10, 3, 3\)"),
        (torch.zeros(2, 5, 3), ROTATIONS, torch.ones(3), r"distance of shape \(3,\)"),
    ],
)
def test_wrong_shapes(points: torch.Tensor, rotations: torch.Tensor, distance: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        depth_maps(points, rotations, PAPER, distance)  # type: ignore[arg-type]


@pytest.mark.gpu
def test_gpu_gives_what_the_cpu_gives() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    clouds = make_clouds(8, 500)
    for settings in (PAPER, CODE):
        near = depth_maps(clouds, ROTATIONS, settings)
        far = depth_maps(clouds.cuda(), ROTATIONS, settings).cpu()
        assert ((near > 0) == (far > 0)).float().mean() > 0.9999
        both = (near > 0) & (far > 0)
        assert ((near - far)[both].abs() < 1e-5).float().mean() > 0.9999
