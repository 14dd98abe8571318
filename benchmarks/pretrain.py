"""What pre-training costs: `make bench-pretrain` prints it and writes benchmarks/results/pretrain-<device>.json.

In one run on one device, with made clouds: (a) this recipe, through the training loop itself; (b) the published way:
float32, images decoded and encoded at every step, every point tested against every pixel; (c) the encoder alone, there
and back on pictures that are given, everything else free. They take turns; a rate is that of the median step. Then
whole epochs of two collections, one four times the other, and on a GPU what benchmarks.gpu measures. Needs torch, numpy
and the project's sources; what else is missing is left out, and said.
"""

import argparse
import contextlib
import gc
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu import Enough, compiled_seconds, reason, summary, whole_training
from benchmarks.machine import device_name, machine
from benchmarks.made import VIEWS, made_clouds, made_features
from benchmarks.published import PublishedStep, encode, rasteriser
from benchmarks.tower import VIT_B_32, random_clip
from benchmarks.traffic import traffic
from c2p import params
from c2p.geometry.views import view_set
from c2p.models.depth_encoder import DepthEncoder
from c2p.models.device import compute_device
from c2p.models.network import Clip, prepare_images
from c2p.training.gradients import autocast
from c2p.training.lean import lean
from c2p.training.machine import Machine
from c2p.training.meter import matmul_rate, synchronise, training_flops
from c2p.training.pretrain import pretrain

ROOT = Path(__file__).resolve().parent.parent
DEMO = "c2p-demo"
Precision = Literal["float32", "bfloat16"]
DISTANCES = 2
VALIDATION = 10_517
"""Clouds of ShapeNet's validation split."""
SMALL_EPOCH = 16
"""Steps of the smaller collection's epoch."""
PEAK = {"cpu": {"side": 2048, "repeats": 20}}
"""Of the matrix products that a rate is held against; a training measures fewer and smaller ones on a CPU."""
DEPTH = params.Depth(
    projection="orthographic", size=224, footprint="disc", dilation=2, radius=0.02, reach=1.4, aggregation="minimum",
    fov=60.0, distance=1.0, jitter=0.1,
)  # fmt: skip
"""The published code's, in (a) and (b) alike: the same maps to the last bit."""
RECIPE = params.Pretrain(
    seeds=(0,), epochs=1, batch=256, optimizer="lamb", lr=6e-3, weight_decay=1e-4, schedule="restarts",
    restart_epochs=2, warmup=0.0, lr_min=1e-5, temperature=0.07, intra=True, hard_negatives=0, precision="float32",
    checkpoint_every=1, keep_last=1, keep_best=1,
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """What is trained."""

    model: str
    batch: int
    steps: int
    """Measured in a turn; on a GPU a multiple of 16, at which the loop reads its values."""
    samples: int
    picture: int
    """Side of an RGB view, pixels."""
    precision: Precision
    """Of this recipe: what the profile of that tower says (demo, and plus)."""


CASES = {
    "cpu": (Case(DEMO, 64, 4, 600, 80, "float32"), Case(VIT_B_32, 64, 2, 192, 224, "bfloat16")),
    "cuda": (Case(VIT_B_32, 256, 48, 41_943, 224, "bfloat16"),),
}
"""The first is the one whose figures stand at the result's head."""


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pretrain", description=__doc__)
    parser.add_argument("--rounds", type=int, default=2, help="turns of each measurement (2)")
    parser.add_argument("--no-resume", action="store_true", help="without the resumption, minutes and 6 GB")
    parser.add_argument("--out", type=Path, help="file to write (benchmarks/results/pretrain-DEVICE.json)")
    given, device = parser.parse_args(), compute_device()
    result: dict[str, Any] = {"machine": machine(device), "device": device_name(device), "models": {}}
    for case in CASES[device.type]:
        try:
            clip, origin = random_clip(case.model)
        except ModuleNotFoundError as error:
            print(f"{case.model}: left out, {error.name} is not installed")
            continue
        measured = measure(clip, case, device, given.rounds)
        if not result["models"]:
            more = on_gpu(clip, case, device) if device.type == "cuda" else {}
            measured |= {"epochs_of": epochs_of(clip, case, device)} | more
        result["models"][case.model] = {"tower": origin, **measured}
        print(json.dumps({case.model: result["models"][case.model]}, indent=2), flush=True)
    if not result["models"]:
        raise SystemExit(f"{device}: no tower to measure; install open_clip")
    resume = {"resume_s": None, "reason": "left out"} if given.no_resume else _resume()
    head = next(iter(result["models"].values()))
    names = ("samples_per_s", "share_of_matmul_rate", "ratio_to_published", "ratio_to_encoder_alone")
    result = {name: head[name] for name in names} | {"resume_s": resume["resume_s"]} | result | {"resume": resume}
    out = given.out or ROOT / f"benchmarks/results/pretrain-{result['device']}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


def measure(clip: Clip, case: Case, device: torch.device, rounds: int) -> dict[str, Any]:
    """Seconds of a step of each way, and what follows from them."""
    clip.model.visual.to(device).eval().requires_grad_(False)
    ours = case.precision
    ways: dict[str, Callable[[], list[float]]] = {
        "recipe": lambda: recipe_seconds(clip, case, device, ours),
        "published": lambda: published_seconds(clip, case, device),
        "encoder_alone": lambda: encoder_seconds(clip, case, device, ours),
        "encoder_as_it_came": lambda: encoder_seconds(clip, case, device, ours, as_it_came=True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            seconds[name] += way()
            gc.collect()
    step = {name: statistics.median(values) for name, values in seconds.items()}
    there_and_back, there = flops(clip, device)
    done = dict.fromkeys(ways, DISTANCES * case.batch * there_and_back)
    done["published"] += case.batch * there
    peaks = {name: matmul_rate(device, getattr(torch, name), **PEAK.get(device.type, {})) for name in {ours, "float32"}}
    share = {n: done[n] / step[n] / peaks["float32" if n == "published" else ours] for n in step}
    return {
        "samples_per_s": round(case.batch / step["recipe"], 2),
        "share_of_matmul_rate": round(share["recipe"], 4),
        "ratio_to_published": round(step["published"] / step["recipe"], 2),
        "ratio_to_encoder_alone": round(step["encoder_alone"] / step["recipe"], 3),
        "lean_blocks_speedup": round(step["encoder_as_it_came"] / step["encoder_alone"], 3),
        "memory_of_an_image": traffic(clip, ours),
        "batch": case.batch,
        "samples": case.samples,
        "precision": {name: "float32" if name == "published" else ours for name in ways},
        "pictures_decoded": _pictures_are_decoded(),
        "published_maps_by": rasteriser(device)[1],
        "step_s": {name: round(value, 4) for name, value in step.items()},
        "steps_s": {name: [round(value, 4) for value in values] for name, values in seconds.items()},
        "samples_per_s_of": {name: round(case.batch / value, 2) for name, value in step.items()},
        "gflop_of_a_step": {name: round(value / 1e9, 1) for name, value in done.items()},
        "tflop_per_s": {name: round(done[name] / step[name] / 1e12, 4) for name in step},
        "share_of_matmul_rate_of": {name: round(value, 4) for name, value in share.items()},
        "matmul_tflop_per_s": {name: round(value / 1e12, 4) for name, value in peaks.items()},
    }


def recipe_seconds(
    clip: Clip, case: Case, device: torch.device, precision: Precision, *, compiled: bool = False
) -> list[float]:
    """Seconds of the steps of this recipe, by the training loop's own readings; the first ones are left out."""
    points, targets = made_clouds(case.samples), made_features(case.samples, clip.width)
    warm = 16 if device.type == "cuda" else 1
    machine = Machine(compiled=compiled)
    times: list[tuple[int, float]] = []

    def on_step(step: int, steps: int, values: dict[str, float]) -> None:
        times.append((step, time.perf_counter()))
        if step >= warm + case.steps:
            raise Enough

    encoder = DepthEncoder.from_clip(clip).to(device)
    settings = replace(RECIPE, batch=case.batch, precision=precision, epochs=100)
    rotations = torch.from_numpy(view_set("ten").rotations).float()
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(Enough):
        pretrain(
            encoder, points, targets, settings, DEPTH, rotations,
            seed=0, folder=Path(folder), on_step=on_step, machine=machine,
        )  # fmt: skip
    if device.type != "cuda":
        return [after[1] - before[1] for before, after in itertools.pairwise(times[warm - 1 :])]
    read = [time for step, time in times if step % warm == 0]  # a GPU's steps are read in blocks, all at once
    return [(after - before) / warm for before, after in itertools.pairwise(read)]


def epochs_of(clip: Clip, case: Case, device: torch.device) -> dict[str, Any]:
    """Seconds of the second epoch of collections of so many models, one four times the other."""
    seconds = {}
    for steps in (SMALL_EPOCH, 4 * SMALL_EPOCH):
        ends: list[float] = []

        def on_step(step: int, _: int, values: dict[str, float], ends: list[float] = ends, size: int = steps) -> None:
            if step % size == 0:  # the last step of an epoch is read at once
                ends.append(time.perf_counter())
            if step == 2 * size:
                raise Enough

        samples = steps * case.batch
        encoder = DepthEncoder.from_clip(clip).to(device)
        settings = replace(RECIPE, batch=case.batch, precision=case.precision, epochs=4, checkpoint_every=4)
        rotations = torch.from_numpy(view_set("ten").rotations).float()
        data = made_clouds(samples), made_features(samples, clip.width)
        with tempfile.TemporaryDirectory() as folder, contextlib.suppress(Enough):
            pretrain(encoder, *data, settings, DEPTH, rotations, seed=0, folder=Path(folder), on_step=on_step)
        seconds[samples] = ends[1] - ends[0]
    small, large = seconds.values()
    return {"seconds": {str(n): round(value, 3) for n, value in seconds.items()}, "ratio": round(large / small, 2)}


def on_gpu(clip: Clip, case: Case, device: torch.device) -> dict[str, Any]:
    """What benchmarks.gpu measures."""
    settings = replace(RECIPE, batch=case.batch, precision=case.precision)
    clouds, features = made_clouds(case.samples), made_features(case.samples, clip.width)
    clip.model.visual.cpu()  # its memory is not the training's
    try:
        whole = summary(whole_training(clip, clouds, features, made_clouds(VALIDATION), settings, DEPTH, device))
    except Exception as error:  # what was measured before must not be lost
        whole = {"minutes_of_100_epochs": None, "reason": reason(error)}
    clip.model.visual.to(device)
    compiled = compiled_seconds(lambda: recipe_seconds(clip, case, device, case.precision, compiled=True))
    return {"whole_training": whole, "compiled": compiled}


def published_seconds(clip: Clip, case: Case, device: torch.device) -> list[float]:
    """Seconds of steps of the published way; the first one is left out."""
    encoder = DepthEncoder.from_clip(clip).to(device).train()
    step = PublishedStep(clip, encoder, replace(RECIPE, batch=case.batch), DEPTH, threads=4)
    generator = np.random.default_rng(0)
    blocks = generator.integers(0, 256, (case.batch, 8, 8, 3), dtype=np.uint8)
    scale = -(-case.picture // 8)
    shown = blocks.repeat(scale, 1).repeat(scale, 2)[:, : case.picture, : case.picture]
    pictures = [encode(picture) for picture in shown]
    points = made_clouds(case.batch).to(device)
    turns = torch.from_numpy(view_set("ten").rotations).float().to(device)
    rotations = turns[torch.arange(case.batch, device=device) % VIEWS]
    factors = torch.linspace(0.9, 1.1, DISTANCES * case.batch, device=device).view(DISTANCES, -1)
    times = list(_timed(lambda: step(points, rotations, factors, pictures), device, 1 + min(case.steps, 3)))
    return times[1:]


def encoder_seconds(
    clip: Clip, case: Case, device: torch.device, precision: str, *, as_it_came: bool = False
) -> list[float]:
    """Seconds of the encoder there and back on a batch's pictures, already prepared; the first one is left out.

    as_it_came: with the tower's own blocks, not those that it is trained with (c2p.training.lean).
    """
    tower = DepthEncoder.from_clip(clip).to(device).train().visual
    if not as_it_came:
        lean(tower, images=DISTANCES * case.batch)
    images = prepare_images(torch.rand(DISTANCES * case.batch, 3, *clip.image_size, device=device), clip)
    weights = list(tower.parameters())

    def work() -> None:
        with autocast(device, precision):
            features = tower(images)
        torch.autograd.grad(features.float().sum(), weights)

    return list(_timed(work, device, 1 + case.steps))[1:]


def flops(clip: Clip, device: torch.device) -> tuple[int, int]:
    """FLOPs of a depth image there and back, and of an RGB view there alone."""
    encoder = DepthEncoder.from_clip(clip).to(device).eval()
    image = torch.rand(1, 3, *clip.image_size, device=device)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        encoder(image)
    return training_flops(encoder, list(encoder.parameters()), image), int(counter.get_total_flops())


def _timed(work: Callable[[], object], device: torch.device, times: int) -> Iterator[float]:
    for _ in range(times):
        synchronise(device)
        begin = time.perf_counter()
        work()
        synchronise(device)
        yield time.perf_counter() - begin


def _pictures_are_decoded() -> bool:
    """Whether (b) decodes PNG; without Pillow its pictures come as they are, in its favour."""
    return not encode(np.zeros((8, 8, 3), np.uint8)).startswith(b"\x93NUMPY")


def _resume() -> dict[str, Any]:
    try:
        from benchmarks.resume import measure_resume
    except ModuleNotFoundError as error:
        return {"resume_s": None, "reason": f"{error.name} is not installed"}
    return measure_resume()


if __name__ == "__main__":
    main()
