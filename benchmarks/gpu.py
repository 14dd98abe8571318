"""What pre-training is to reach on a GPU beside its rate: part of `python -m benchmarks.pretrain` where there is one.

Epochs of a collection of ShapeNet's true size, each with its validation and its checkpoint, as 100 of them would go;
how long the GPU is idle meanwhile; the memory taken beside what was predicted; and the rate with `torch.compile`.
"""

import contextlib
import itertools
import logging
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd import DeviceType
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from c2p import params
from c2p.geometry.views import view_set
from c2p.models.depth_encoder import DepthEncoder
from c2p.models.network import Clip
from c2p.training.history import ACCURACY
from c2p.training.meter import synchronise
from c2p.training.pretrain import pretrain
from c2p.training.select import validate

EPOCHS = 3
"""Measured, after a first one; a last one is watched for idle time."""
WHOLE = 100
WATCHED = 0.95
"""Least share of an epoch that its kernels must span for the trace to be whole."""
CLASSES = 55


@dataclass
class Whole:
    """A training of true size: what its epochs took."""

    epochs: list[float]
    """Seconds of each, from the end of a validation to the end of the next."""
    validations: list[float]
    idle: float | None
    """Share of an epoch in which no kernel ran, under the profiler; None on a CPU, or where the trace breaks off."""
    memory: list[str]
    """What the training said of it."""


class Enough(Exception):
    """Ends a training that has been measured."""


def summary(whole: Whole) -> dict[str, Any]:
    """The figures of a training of true size."""
    epoch = statistics.median(whole.epochs)
    return {
        "minutes_of_100_epochs": round(WHOLE * epoch / 60, 2),
        "epoch_s": [round(seconds, 3) for seconds in whole.epochs],
        "validation_s": [round(seconds, 3) for seconds in whole.validations],
        "idle_share": None if whole.idle is None else round(whole.idle, 4),
        "memory": whole.memory,
    }


def whole_training(
    clip: Clip,
    clouds: Tensor,
    features: Tensor,
    validation: Tensor,
    recipe: params.Pretrain,
    depth: params.Depth,
    device: torch.device,
) -> Whole:
    """Train on made data of true size for a few epochs, as the stage does.

    clouds: (N, P, 3); features: (N, 10, C) image features; validation: (M, P, 3) clouds of the split that is validated.
    """
    text = functional.normalize(torch.randn(CLASSES, clip.width, generator=torch.Generator().manual_seed(2)), dim=-1)
    labels = torch.arange(len(validation)) % CLASSES
    rotations = torch.from_numpy(view_set("ten").rotations).float()
    ends: list[float] = []
    spent: list[float] = []
    watch = _Watch(device)

    def evaluate(encoder: DepthEncoder) -> dict[str, float]:
        synchronise(device)
        begin = time.perf_counter()
        found = validate(
            encoder, points=validation, labels=labels, text=text, rotations=rotations, depth=depth,
            precision=recipe.precision,
        )  # fmt: skip
        ends.append(time.perf_counter())
        spent.append(ends[-1] - begin)
        if len(ends) == EPOCHS + 1:
            watch.start()
        if len(ends) == EPOCHS + 2:
            watch.stop()
            raise Enough
        return {ACCURACY: found[ACCURACY]}

    encoder = DepthEncoder.from_clip(clip).to(device)
    settings = replace(recipe, epochs=WHOLE, checkpoint_every=1, keep_last=2, keep_best=1)
    with _said() as lines, tempfile.TemporaryDirectory() as folder, contextlib.suppress(Enough):
        pretrain(encoder, clouds, features, settings, depth, rotations, seed=0, folder=Path(folder), evaluate=evaluate)
    epochs = [after - before for before, after in itertools.pairwise(ends[:-1])]
    return Whole(epochs, spent[1:-1], watch.idle, [line for line in lines if "memory" in line])


def idle_share(spans: Iterable[tuple[int, int]], begin: int, end: int) -> float:
    """Share of [begin, end) that no span covers; spans: (start, end), in any order, overlapping or not."""
    free, reached = 0, begin
    for start, stop in sorted(spans):
        if start > reached:
            free += min(start, end) - reached
        reached = max(reached, min(stop, end))
        if reached >= end:
            break
    return (free + max(0, end - reached)) / (end - begin)


def compiled_seconds(measure: Callable[[], list[float]]) -> dict[str, Any]:
    """Median seconds of a step with the tower through torch.compile, or why there are none."""
    try:
        return {"step_s": round(statistics.median(measure()), 4)}
    except Exception as error:  # a compiler that is missing or fails raises one of many kinds
        return {"step_s": None, "reason": reason(error)}


def reason(error: Exception) -> str:
    """An error in one line, for a result that could not be had."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


class _Watch:
    """What a GPU does between two moments."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._profile: profile | None = None
        self.idle: float | None = None

    def start(self) -> None:
        if self._device.type == "cuda":
            synchronise(self._device)
            self._profile = profile(activities=[ProfilerActivity.CUDA])
            self._profile.__enter__()
            self._begin = time.perf_counter()

    def stop(self) -> None:
        if self._profile is None:
            return
        synchronise(self._device)
        seconds = time.perf_counter() - self._begin
        self._profile.__exit__(None, None, None)
        found = self._profile.profiler
        assert found is not None and found.kineto_results is not None
        events = [e for e in found.kineto_results.events() if e.device_type() == DeviceType.CUDA]
        kernels = [event for event in events if not event.name().startswith("Memcpy")]
        spans = [(event.start_ns(), event.start_ns() + event.duration_ns()) for event in kernels]
        if spans:  # the last kernel ends where the host has waited for it
            end = max(stop for _, stop in spans)
            whole = end - min(start for start, _ in spans) > WATCHED * seconds * 1e9
            self.idle = idle_share(spans, end - int(seconds * 1e9), end) if whole else None


@contextlib.contextmanager
def _said() -> Iterator[list[str]]:
    """What pre-training logs meanwhile."""
    lines: list[str] = []

    class _Hear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    log, hear = logging.getLogger("c2p.training"), _Hear()
    level = log.level
    log.addHandler(hear)
    log.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        log.removeHandler(hear)
        log.setLevel(level)
