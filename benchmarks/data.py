"""What the data factory costs, stage by stage: `make bench-data` prints it and writes benchmarks/results/data.json.

Everything is measured in one run on the same made inputs, one thread a process; rounds alternate between what is
compared, and a figure is the median of its rounds. Ten views of 224 pixels, 8,192 surface points, 1,024 farthest ones.
"""

import argparse
import contextlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks import depth as depth_benchmark
from benchmarks import memory as memory_benchmark
from benchmarks import renderers as renderer_benchmark
from benchmarks.factory import factory, factory_job, settings, zipped
from benchmarks.machine import machine
from benchmarks.meshes import made_mesh
from c2p.data.models import Model, read_mesh
from c2p.data.pictures import encode_png
from c2p.data.tars import encode_npy
from c2p.geometry.depth import depth_images, depth_maps
from c2p.geometry.meshes import normalise
from c2p.geometry.points import farthest_points, normalise_points, sample_surface
from c2p.geometry.views import view_set
from c2p.rendering import embree, raster
from c2p.rendering.shading import shade, surface
from tasks.shard_map import WorkerPool

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks/results/data.json"
SIZES = ((2_000, False), (20_000, False), (100_000, True), (200_000, False))
"""Faces, and whether they are textured."""
SHAPENET_MODELS = 52_460
FLOW_SIZES = (2_000, 5_000, 20_000)
"""Faces of the models whose rate is measured, in equal shares; their mean is near ShapeNetCore's median of 2-8k and
mean of about 20k."""


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each measurement (5)")
    parser.add_argument("--quick", action="store_true", help="without pytorch3d's minutes and the 10,000 models")
    parser.add_argument("--out", type=Path, default=RESULT, help=f"file to write ({RESULT.relative_to(ROOT)})")
    given = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = {"machine": machine()}
    for name, measure in (
        ("renderers", lambda: renderer_benchmark.measure(repeats=given.rounds, pytorch3d=not given.quick)),
        ("steps", lambda: measure_steps(given.rounds)),
        ("depth", lambda: depth_benchmark.measure(given.rounds)),
        ("model", lambda: measure_model(given.rounds)),
        ("rates", measure_rates),
        ("memory", lambda: measure_memory((200,) if given.quick else (1_000, 10_000))),
    ):
        begin = time.monotonic()
        result[name] = measure()
        print(f"{name}: {time.monotonic() - begin:.0f} s", flush=True)
    result = headline(result) | result
    print(report(result))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def measure_steps(rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds of each step for a model, by its number of faces; 2x2 samples a pixel."""
    table = {}
    for faces, textured in SIZES:
        with zipped(made_mesh(faces, textured=textured, seed=0), 1) as (_, models):
            steps = [_steps(models[0]) for _ in range(rounds + 1)][1:]
        name = f"{faces // 1000}k{' textured' if textured else ''}"
        table[name] = {step: round(statistics.median(s[step] for s in steps), 2) for step in steps[0]}
    return table


def _steps(model: Model) -> dict[str, float]:
    params = settings()
    spent: dict[str, float] = {}
    render, rotations = params.render, view_set(params.render.views).rotations
    turns = torch.as_tensor(rotations, dtype=torch.float32)

    def timed(step: str, function: Callable[[], Any]) -> Any:
        begin = time.perf_counter()
        value = function()
        spent[step] = spent.get(step, 0.0) + (time.perf_counter() - begin) * 1e3
        return value

    fine = render.size * render.supersample
    mesh = timed("parse", lambda: read_mesh(model, max_faces=render.max_faces))
    mesh = timed("parse", lambda: replace(mesh, vertices=normalise(mesh.vertices)[0]))
    scene, colours = timed("ray_cast", lambda: raster.prepare(mesh)), timed("shade", lambda: surface(mesh))
    views = []
    for rotation in rotations:
        seen = timed("ray_cast", partial(scene.rasterize, rotation, render.distance, render.fov, fine))
        views.append(timed("shade", partial(shade, colours, seen, rotation, render))[0])
    pictures = timed("encode", lambda: [encode_png(view) for view in views])
    cloud = timed("sample", lambda: sample_surface(mesh, render.cloud_points, 0))
    scaled = normalise_points(cloud)
    chosen = timed("fps", lambda: farthest_points(scaled, params.sample.points))
    points = torch.from_numpy(scaled[chosen])[None]
    maps = timed("depth", lambda: depth_images(depth_maps(points, turns, params.depth))[0, :, 0])
    greys = timed("depth", lambda: (maps * 255).round().to(torch.uint8).numpy())
    pictures += timed("encode", lambda: [encode_png(grey) for grey in greys])
    with tempfile.TemporaryFile() as file:

        def write() -> None:
            file.write(b"".join(pictures) + encode_npy(scaled))
            file.flush()
            os.fsync(file)

        timed("write", write)
    other = timed("embree", lambda: embree.prepare(mesh))
    for rotation in rotations:
        timed("embree", partial(other.rasterize, rotation, render.distance, render.fov, fine))
    return spent


def measure_model(rounds: int) -> dict[str, float]:
    """Milliseconds from archive to shard for a model of 20,000 faces, beside parsing and ray casting alone."""
    count, params = 8, settings()
    whole, alone = [], []
    with zipped(made_mesh(20_000, textured=False, seed=0), count) as (folder, models):
        for _ in range(rounds + 1):
            begin = time.perf_counter()
            factory(models, params, folder)
            whole.append((time.perf_counter() - begin) / count * 1e3)
            spent = [_steps(model) for model in models[:2]]
            alone.append({name: statistics.mean(s[name] for s in spent) for name in spent[0]})
    model = statistics.median(whole[1:])
    parse, cast, rays = (statistics.median(a[n] for a in alone[1:]) for n in ("parse", "ray_cast", "embree"))
    return {
        "model_ms": round(model, 1),
        "parse_ms": round(parse, 1),
        "ray_cast_ms": round(cast, 1),
        "embree_ray_cast_ms": round(rays, 1),
        "over_parse_and_trace": round(model / (parse + cast), 3),
        "over_parse_and_embree": round(model / (parse + rays), 3),
    }


def measure_rates() -> dict[str, Any]:
    """Models a second from archive to shard with 1 and 2 worker processes, half a minute each."""
    rates: dict[str, Any] = {"faces": list(FLOW_SIZES)}
    with contextlib.ExitStack() as stack:
        parts = []
        for faces in FLOW_SIZES:
            mesh = made_mesh(faces, textured=False, seed=0)
            parts += [stack.enter_context(zipped(mesh, 16)) for _ in range(4)]
        jobs = [(models, folder) for folder, models in parts]
        for workers in (1, 2, 1, 2):
            with WorkerPool(workers) as pool:
                pool.map(factory_job, [(models[:1], folder) for models, folder in jobs[: 2 * workers]])  # started, warm
                begin = time.perf_counter()
                pool.map(factory_job, jobs)
                rate = sum(len(models) for models, _ in jobs) / (time.perf_counter() - begin)
            rates.setdefault(f"{workers}_worker{'s' if workers > 1 else ''}", []).append(round(rate, 3))
    return rates


def measure_memory(counts: Sequence[int]) -> dict[str, Any]:
    """Peak resident memory of the largest process, and seconds, of the stages that pack so many made shapes."""
    table = {}
    for count in counts:
        with WorkerPool(1) as pool:  # of a process's own: one counts the memory of whoever started it as its own peak
            peaks = pool.run(memory_benchmark.measure_stages, count)
        table[str(count)] = {
            "peak_rss_mb": round(max(max(p.coordinator_mb, p.worker_mb) for p in peaks), 1),
            "seconds": {p.stage: round(p.seconds, 1) for p in peaks},
            "coordinator_mb": {p.stage: round(p.coordinator_mb, 1) for p in peaks},
            "worker_mb": {p.stage: round(p.worker_mb, 1) for p in peaks},
        }
    return table


def headline(result: dict[str, Any]) -> dict[str, Any]:
    """The figures that are asked for, under their names."""
    renderers, memory, rates = result["renderers"], result["memory"], result["rates"]
    return {
        "render_10_views_20k_ms": renderers["render_10_views_20k_ms"],
        "render_ratio_to_pytorch3d": renderers["render_ratio_to_pytorch3d"],
        "model_20k_ms": result["model"]["model_ms"],
        "model_20k_over_parse_and_trace": result["model"]["over_parse_and_trace"],
        "fps_ms": result["steps"]["20k"]["fps"],
        "depth_ratio_to_published": result["depth"]["depth_ratio_to_published"],
        "models_per_s_1_worker": statistics.mean(rates["1_worker"]),
        "models_per_s_2_workers": statistics.mean(rates["2_workers"]),
        "peak_rss_mb_1k": memory.get("1000", {}).get("peak_rss_mb"),
        "peak_rss_mb_10k": memory.get("10000", {}).get("peak_rss_mb"),
    }


def report(result: dict[str, Any]) -> str:
    """The result for people."""
    lines = [""]
    steps = result["steps"]
    names = [name for name in next(iter(steps.values())) if name != "embree"]
    lines.append("One model, ms" + "".join(f"{name:>10}" for name in names) + f"{'sum':>10}")
    for mesh, spent in steps.items():
        lines.append(
            f"{mesh:<13}" + "".join(f"{spent[n]:>10.1f}" for n in names) + f"{sum(spent[n] for n in names):>10.1f}"
        )
    for key in headline(result):
        lines.append(f"{key:<34}{result[key]}")
    rate = result["models_per_s_2_workers"]
    hours = SHAPENET_MODELS / rate / 3600
    lines.append(f"ShapeNetCore: {SHAPENET_MODELS} models / {rate:.2f} models/s (2 workers) / 3600 = {hours:.1f} h")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
