"""Forms of the tower, there and back: `python -m benchmarks.forms` prints milliseconds of a picture, in turns.

Layout of the weights (contiguous, or channels-last as c2p has it), bfloat16, and torch.compile, on whatever device is
there. The time is the processors' own on a CPU, where other processes only slow it down, and the clock's on a GPU.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.machine import machine
from benchmarks.pretrain import DEMO
from benchmarks.tower import VIT_B_32, random_clip
from c2p.models.device import compute_device
from c2p.models.network import prepare_images
from c2p.training.gradients import autocast
from c2p.training.meter import synchronise

PICTURES = {"cpu": {DEMO: 64, VIT_B_32: 4}, "cuda": {VIT_B_32: 512}}


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
            print(f"{model:<20} {form:<24} {milliseconds:8.2f} ms a picture", flush=True)


def measure(model: str, count: int, device: torch.device, rounds: int, *, compiled: bool) -> dict[str, float]:
    """Median milliseconds of a picture in each form."""
    clip, _ = random_clip(model)
    ours: nn.Module = copy.deepcopy(clip.model.visual).to(device).train().requires_grad_(True)
    plain = copy.deepcopy(ours).to(memory_format=torch.contiguous_format)
    images = prepare_images(torch.rand(count, 3, *clip.image_size, device=device), clip)
    forms: dict[str, Callable[[], Tensor]] = {
        "contiguous": lambda: plain(images),
        "channels-last": lambda: ours(images),
        "channels-last, bfloat16": lambda: _bfloat16(ours, images, device),
    }
    if compiled:
        faster = torch.compile(ours)
        forms["channels-last, compiled"] = lambda: faster(images)
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    times: dict[str, list[float]] = {form: [] for form in forms}
    for _ in range(rounds):
        for form, forward in forms.items():
            synchronise(device)
            begin = clock()
            forward().float().sum().backward()
            synchronise(device)
            times[form].append(clock() - begin)
    return {form: 1e3 * statistics.median(values[1:]) / count for form, values in times.items()}


def _bfloat16(tower: nn.Module, images: Tensor, device: torch.device) -> Tensor:
    with autocast(device, "bfloat16"):
        features: Tensor = tower(images)
    return features


if __name__ == "__main__":
    main()
