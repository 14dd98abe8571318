"""Depth maps: ten views of 1,024 points at 224 pixels, beside the published rasteriser.

`python -m benchmarks.depth` prints a table. A time is that of one shape: ten raw maps and their pictures. All run in
one thread, in turns, after an untimed round; a figure is the median of its rounds. The published way is PyTorch3D's
rasterize_points (radius 0.02, one point a pixel) and the published normalisation, on coordinates that are given to it;
ours starts from the points.
"""

import argparse
import contextlib
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from benchmarks.published import normalise, to_view
from c2p import params
from c2p.geometry.depth import depth_images, depth_maps, pointclip_depth
from c2p.geometry.points import farthest_points
from c2p.geometry.surface import surface_triangles
from c2p.geometry.views import view_set

POINTS, SIZE, RADIUS = 1024, 224, 0.02
CODE = params.Depth(
    projection="orthographic", size=SIZE, footprint="disc", dilation=2, radius=RADIUS, reach=1.4, aggregation="minimum",
    fov=60.0, distance=1.0, jitter=0.1,
)  # fmt: skip
PAPER = replace(CODE, projection="perspective", footprint="window", distance=2.0)
PRESETS = {
    "code": CODE,
    "paper, R = 1": replace(PAPER, dilation=1),
    "paper, R = 2": PAPER,
    "paper, R = 4": replace(PAPER, dilation=4),
    "paper, R = 2, weighted": replace(PAPER, aggregation="weighted"),
    "plus (surface)": replace(PAPER, footprint="surface"),
}
PUBLISHED = {"published, bin_size 0": 0, "published, bin_size by default": None}
POINTCLIP_DISTANCE = 1.4
"""As published, few-shot."""


def measure(repeats: int = 5) -> dict[str, Any]:
    """Time every preset and, where PyTorch3D can be imported, the published way.

    Returns `ms`: milliseconds by name; `depth_ratio_to_published`: the faster of the published settings divided by
    preset code, None where PyTorch3D is absent, and then `depth_ratio_reason` says why; `depth_differing_pixels`: of
    the raw maps of code and of the published way, `depth_pixels` compared.
    """
    points = shape()
    turns = torch.from_numpy(view_set("ten").rotations).float()
    runs: dict[str, Callable[[], Tensor]] = {
        name: lambda settings=settings: depth_images(depth_maps(points, turns, settings))  # type: ignore[misc]
        for name, settings in PRESETS.items()
    }
    runs["pointclip"] = lambda: pointclip_depth(points, turns, size=SIZE, distance=POINTCLIP_DISTANCE)
    runs["triangles of plus alone"] = lambda: surface_triangles(points, CODE.reach)
    view = to_view(points, turns[None])[0] + turns.new_tensor([0, 0, CODE.distance])
    published = find_spec("pytorch3d") is not None
    if published:
        for name, bins in PUBLISHED.items():
            runs[name] = lambda bins=bins: normalise(rasterize(view, bins))  # type: ignore[misc]
    with one_thread():
        times = in_turns(runs, repeats)
        differing = int((rasterize(view, 0) != depth_maps(points, turns, CODE)[0]).sum()) if published else None
    result: dict[str, Any] = {"ms": {name: round(1000 * seconds, 3) for name, seconds in times.items()}}
    if not published:
        reason = "pytorch3d cannot be imported"
        return result | {"depth_ratio_to_published": None, "depth_ratio_reason": reason}
    ratio = min(times[name] for name in PUBLISHED) / times["code"]
    pixels = len(turns) * SIZE**2
    return result | {
        "depth_ratio_to_published": round(ratio, 1),
        "depth_differing_pixels": differing,
        "depth_pixels": pixels,
    }


def shape() -> Tensor:
    """Farthest points of a made shape, a ball on a square plate: (1, 1024, 3)."""
    generator = torch.Generator().manual_seed(0)
    ball = torch.randn(4096, 3, generator=generator)
    ball = 0.4 * ball / ball.norm(dim=1, keepdim=True)
    plate = torch.rand(4096, 3, generator=generator) - 0.5
    plate[:, 1] = -0.4
    cloud = torch.cat([ball, plate])
    cloud /= cloud.norm(dim=1).max()
    return cloud[farthest_points(cloud, POINTS)][None]


def rasterize(view: Tensor, bin_size: int | None) -> Tensor:
    """Raw maps of (V, P, 3) by PyTorch3D, as the published code calls it: (V, H, W), 0 = empty."""
    from pytorch3d.renderer.points.rasterize_points import rasterize_points
    from pytorch3d.structures import Pointclouds

    clouds = Pointclouds(list(view))
    _, depth, _ = rasterize_points(clouds, image_size=SIZE, radius=RADIUS, points_per_pixel=1, bin_size=bin_size)
    return depth[..., 0].clamp(min=0)


def in_turns(runs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of each, every round running all of them once."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, run in runs.items():
            begin = time.perf_counter()
            run()
            if turn:
                seconds[name].append(time.perf_counter() - begin)
    return {name: statistics.median(values) for name, values in seconds.items()}


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Run torch in one thread for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.depth", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the measurement (5)")
    result = measure(parser.parse_args().rounds)
    for name, milliseconds in result.pop("ms").items():
        print(f"{name:<32} {milliseconds:9.2f} ms")
    for name, value in result.items():
        print(f"{name:<32} {value}")


if __name__ == "__main__":
    main()
