"""Forms of the tower, there and back: `python -m benchmarks.forms` prints milliseconds of a picture, in turns.

Layout of the weights (contiguous, or channels-last as c2p has it), lean blocks (c2p.training.lean) and torch.compile,
in float32 and bfloat16, on whatever device is there. The time is the processors' own on a CPU, where other processes
only slow it down, and the clock's on a GPU.
"""

import argparse
import copy
import statistics
import time
from itertools import product
from typing import cast

import torch
from torch import nn

from benchmarks.machine import machine
from benchmarks.pretrain import DEMO
from benchmarks.tower import VIT_B_32, random_clip
from c2p.models.device import compute_device
from c2p.models.network import prepare_images
from c2p.training.gradients import autocast
from c2p.training.lean import LeanBlock, lean
from c2p.training.meter import synchronise

PICTURES = {"cpu": {DEMO: 64, VIT_B_32: 32}, "cuda": {VIT_B_32: 512}}
PRECISIONS = ("float32", "bfloat16")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.forms", description=__doc__)
    parser.add_argument("--rounds", type=int, default=6, help="turns, the first of which is left out (6)")
    parser.add_argument("--no-compile", action="store_true", help="without torch.compile, which takes a minute")
    given = parser.parse_args()
    device = compute_device()
    print(machine(device), torch.get_num_threads(), "threads")
    for model, count in PICTURES[device.type].items():
        for form, milliseconds in measure(model, count, device, given.rounds, compiled=not given.no_compile).items():
            print(f"{model:<20} {form:<26} {milliseconds:8.2f} ms a picture", flush=True)


def measure(model: str, count: int, device: torch.device, rounds: int, *, compiled: bool) -> dict[str, float]:
    """Median milliseconds of a picture in each form."""
    clip, _ = random_clip(model)
    came: nn.Module = copy.deepcopy(clip.model.visual).to(device).train().requires_grad_(True)
    plain = copy.deepcopy(came).to(memory_format=torch.contiguous_format)
    ours = lean(copy.deepcopy(came), images=count)
    images = prepare_images(torch.rand(count, 3, *clip.image_size, device=device), clip)
    towers = {"contiguous": plain, "channels-last": came}
    if any(isinstance(part, LeanBlock) for part in ours.modules()):
        towers["lean"] = ours
    if compiled:
        towers["compiled"] = cast("nn.Module", torch.compile(came))
        towers |= {"lean, compiled": cast("nn.Module", torch.compile(ours))} if "lean" in towers else {}
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    times: dict[str, list[float]] = {f"{form}, {kind}": [] for kind in PRECISIONS for form in towers}
    for _, precision, (form, tower) in product(range(rounds), PRECISIONS, towers.items()):
        synchronise(device)
        begin = clock()
        with autocast(device, precision):
            features = tower(images)
        torch.autograd.grad(features.float().sum(), list(tower.parameters()))
        synchronise(device)
        times[f"{form}, {precision}"].append(clock() - begin)
    return {form: 1e3 * statistics.median(values[1:]) / count for form, values in times.items()}


if __name__ == "__main__":
    main()
