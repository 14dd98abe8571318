"""Depth maps pinned to numbers worked out by hand; the sums stand beside them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from c2p import params
from c2p.geometry.depth import depth_images, depth_maps, pointclip_depth
from c2p.geometry.views import view_set

CODE = params.Depth(
    projection="orthographic", size=8, footprint="disc", dilation=2, radius=0.3, reach=1.0, aggregation="minimum",
    fov=90.0, distance=1.0, jitter=0.1,
)  # fmt: skip
PAPER = replace(CODE, projection="perspective", size=16, footprint="window", distance=2.0)
FRONT = torch.from_numpy(view_set("ten").rotations[:1])  # x left = -x, y up = y, view depth = distance - z
TOP = torch.from_numpy(view_set("ten").rotations[1:2])  # left = +x, up = +z, view depth = distance - y


def one_map(points: list[list[float]], settings: params.Depth, distance: float = 1.0, view: Tensor = FRONT) -> Tensor:
    return depth_maps(torch.tensor([points]), view, settings, distance)[0, 0]


def drawn(raw: Tensor) -> dict[tuple[int, int], float]:
    """(row, column): depth of the pixels that are not empty."""
    return {(i, j): round(raw[i, j].item(), 5) for i, j in raw.nonzero().tolist()}


def block(rows: tuple[int, ...], columns: tuple[int, ...], depth: float) -> dict[tuple[int, int], float]:
    return {(i, j): round(depth, 5) for i in rows for j in columns}


CLOUD = [
    [0.0, 0.0, 0.45],  # d = 0.9: at (0, 0), z = 0.9 - 0.45 / 0.9 = 0.4
    [0.5, 0.0, 0.0],  # at x = -0.5 / 0.9 = -0.5556, z = 0.9
    [0.0, 0.0, 0.9],  # d = 0.9: z = 0.9 - 1 = -0.1, behind the camera
]
"""Pixel centres of an 8-wide map: 0.875, 0.625, 0.375, 0.125, -0.125, ...; radius 0.3.

At (0, 0) the centres (+-0.125, +-0.125) are 0.177 away, (0.375, 0.125) 0.395: rows and columns 3, 4.
At x = -0.5556: -0.375 is 0.181 off, with 0.125 up or down 0.22; -0.625 is 0.069, so 0.143; -0.875 is 0.319.
"""


def test_code_scales_and_moves() -> None:
    expected = block((3, 4), (3, 4), 0.4) | block((3, 4), (5, 6), 0.9)
    assert drawn(one_map(CLOUD, CODE, 0.9)) == expected
    # d = 1.1: z = 1.1 - 0.45 / 1.1 = 0.69091; x = -0.4545: -0.125 is 0.33 off, -0.375 0.08, -0.625 0.17;
    # the third is in front of the camera now: z = 1.1 - 0.9 / 1.1 = 0.28182, nearer than the first
    expected = block((3, 4), (3, 4), 0.28182) | block((3, 4), (5, 6), 1.1)
    assert drawn(one_map(CLOUD, CODE, 1.1)) == expected


def test_code_from_above() -> None:
    # left = +x: 0.5 at x = +0.5, z = 1; up = +z: 0.45 and 0.9 at y = 0.45 and 0.9, both at depth 1.
    # y = 0.45: centre 0.625 is 0.175 off (with 0.125: 0.215), 0.375 0.075 (0.146), 0.125 0.325: rows 1, 2;
    # y = 0.9: 0.875 (row 0) 0.025 off, 0.625 (row 1) 0.275 off (0.302: outside)
    expected = block((1, 2), (3, 4), 1.0) | block((0,), (3, 4), 1.0) | block((3, 4), (1, 2), 1.0)
    assert drawn(one_map(CLOUD, CODE, view=TOP)) == expected


def test_code_picture() -> None:
    picture = depth_images(one_map(CLOUD, CODE, 0.9))
    assert picture.shape == (3, 8, 8)
    for channel in picture:
        # smallest 0.4, largest 0.9: 0 for the first; (0.9 - 0.4) / 0.9 * 200 / 255 = 0.43573 for the second
        assert channel[3, 3] == 0 and channel[4, 6].item() == pytest.approx(0.43573, abs=1e-5)
        assert channel[0, 0] == 1 and (channel == 1).sum() == 64 - 8
    # nothing nearer than 1: z_min = 1 with background; (1.1 - 1) / 1.1 * 200 / 255 = 0.0713
    assert depth_images(one_map(CLOUD[1:2], CODE, 1.1))[0, 3, 5].item() == pytest.approx(0.0713, abs=1e-5)
    full = torch.tensor([[2.0, 3.0], [4.0, 2.5]])  # no background: z_min = 2; (z - 2) / 4 * 200 / 255
    np.testing.assert_allclose(depth_images(full)[0], [[0, 0.196078], [0.392157, 0.098039]], atol=1e-6)


STACK = [
    [0.6, 0.2, 0.0],  # fov 90: x = -0.6 / 2 = -0.3, y = 0.1, z = 2; 8 (1 + 0.3) = 10.4, 8 (1 - 0.1) = 7.2 pixels
    [0.75, 0.25, -0.5],  # the same ray at z = 2.5
    [0.0, 0.0, 2.5],  # behind the camera
]


@pytest.mark.parametrize(
    ("dilation", "rows", "columns"),
    [
        (1, (7,), (10,)),  # the pixel it lies in: ceil(10.4 - 1) = 10, ceil(7.2 - 1) = 7
        (2, (6, 7), (9, 10)),  # 10.4 is nearer to pixel 9 than to 11
        (4, (5, 6, 7, 8), (8, 9, 10, 11)),
    ],
)
def test_paper_windows(dilation: int, rows: tuple[int, ...], columns: tuple[int, ...]) -> None:
    settings = replace(PAPER, dilation=dilation)
    assert drawn(one_map(STACK, settings)) == block(rows, columns, 2.0)
    weighted = 2 / (1 / 2 + 1 / 2.5)  # 2.22222
    assert drawn(one_map(STACK, replace(settings, aggregation="weighted"))) == block(rows, columns, weighted)


def test_paper_jitter_moves_and_does_not_scale() -> None:
    # distance 2.2: z = 2.2, x = -0.6 / 2.2 = -0.27273: 8 * 1.27273 = 10.18 and 8 (1 - 0.0909) = 7.27
    settings = replace(PAPER, dilation=1)
    assert drawn(one_map(STACK[:1], settings, 1.1)) == block((7,), (10,), 2.2)
    # distance 1.8: x = -1 / 3: 10.667, y = 0.1111: 7.11; the point behind stands 0.7 behind the camera still
    assert drawn(one_map(STACK[::2], settings, 0.9)) == block((7,), (10,), 1.8)


def test_weighted_mean_of_a_crowd() -> None:
    depths = [1.5, 1.75, 2.0, 2.5, 3.0]
    points = [[0.3 * z, 0.1 * z, 2 - z] for z in depths]
    mean = 5 / sum(1 / z for z in depths)  # sum(z w) = 5: 2.0192
    assert drawn(one_map(points, replace(PAPER, dilation=1, aggregation="weighted"))) == block((7,), (10,), mean)


def test_pointclip() -> None:
    # focal length 1, distance 1.6: x = -0.48 / 1.6 = -0.3, y = 0.1; 10 * 1.3 = 13 and 10 * 0.9 = 9 pixels, less 0.5
    # and rounded up: 13 and 9; the second on the same ray at z = 2.1; the third behind
    points = torch.tensor([[[0.48, 0.16, 0.0], [0.63, 0.21, -0.5], [0.0, 0.0, 1.7]]])
    raw = pointclip_depth(points, FRONT, size=20, distance=1.6)[0, 0]
    assert drawn(raw) == {(9, 13): round(2 / (1 / 1.6 + 1 / 2.1), 5)}


@pytest.mark.parametrize("size", [1, 2, 7])
def test_pointclip_of_odd_sizes(size: int) -> None:
    raw = pointclip_depth(torch.tensor([[[0.0, 0.0, 0.0]]]), FRONT, size=size, distance=1.6)
    middle = size // 2  # ceil(size / 2 - 0.5)
    assert drawn(raw[0, 0]) == {(middle, middle): 1.6}
