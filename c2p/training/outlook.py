"""What a training will take of its device: memory, predicted and printed at the start, and arithmetic."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from c2p import params
from c2p.models.depth_encoder import DepthEncoder
from c2p.training.distributed import Ranks
from c2p.training.gradients import autocast
from c2p.training.machine import Machine
from c2p.training.memory import GIB, Memory, OutOfMemory, is_out_of_memory, kept_bytes, predict_memory
from c2p.training.meter import Meter, matmul_rate, training_flops

log = logging.getLogger(__name__)


@dataclass
class Outlook:
    """What is expected, and what measures it."""

    memory: Memory
    meter: Meter
    device: torch.device
    image: dict[str, Any]
    """What one depth image costs, as `image_cost` gives it."""
    _compared: bool = False

    def compare(self) -> None:
        """Log once, on a GPU, how much memory was taken at most beside what was predicted."""
        if self.device.type == "cuda" and not self._compared:
            self._compared = True
            most = torch.cuda.max_memory_allocated(self.device) / GIB
            log.info("device memory taken at most: %.2f GiB; predicted: %s", most, self.memory)


def look_ahead(
    encoder: DepthEncoder,
    points: Tensor,
    image_features: Tensor,
    settings: params.Pretrain,
    depth: params.Depth,
    machine: Machine,
    ranks: Ranks,
    known: Mapping[str, Any] | None = None,
) -> Outlook:
    """Predict and print memory, and count the arithmetic of a step, from one depth image through the tower.

    known: an outlook's `image` of the same run, which spares that image where it was measured here.
    """
    device = encoder.device
    distances = 2 if settings.intra else 1
    rows = settings.batch // ranks.size
    images = images_at_a_time(settings, machine, ranks)
    image = image_cost(encoder, settings, depth, images, known)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)  # `compare` asks for this training's
    memory = predict_memory(
        points,
        image_features,
        weights=sum(weight.numel() for weight in encoder.parameters()),
        images=images,
        size=depth.size,
        image_bytes=image["bytes"],
        copies=image["copies"],
    )
    peak = matmul_rate(device, getattr(torch, settings.precision))
    flops = image["flops"] * rows * distances
    meter = Meter(samples=settings.batch, images=settings.batch * distances, flops=flops, peak=peak)
    if ranks.first:
        log.info("predicted memory on %s: %s", device, memory)
    return Outlook(memory, meter, device, image)


def images_at_a_time(settings: params.Pretrain, machine: Machine, ranks: Ranks) -> int:
    """Depth images that one rank takes through the tower at once: K m."""
    rows = settings.batch // ranks.size
    return (2 if settings.intra else 1) * min(machine.micro_batch or rows, rows)


def image_cost(
    encoder: DepthEncoder,
    settings: params.Pretrain,
    depth: params.Depth,
    images: int,
    known: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What one depth image through the tower and back costs: FLOPs, bytes kept, and where that was measured.

    images: taken through the tower at a time, which decides its form (c2p.training.lean). known: what this returned
    earlier for the same tower and parameters; measured anew on another kind of device, with another torch, with other
    pieces, or where an older c2p has measured less.
    """
    device = encoder.device
    place = f"{device.type}, torch {torch.__version__}, {images} at a time"
    if known is not None and known.get("place") == place and "copies" in known:
        return dict(known)
    image = torch.zeros(1, 1, depth.size, depth.size, device=device).expand(-1, 3, -1, -1)
    encoder.eval()  # batch norm must not learn from this image
    with autocast(device, settings.precision):
        flops = training_flops(encoder, list(encoder.parameters()), image)
        kept, copies = kept_bytes(encoder, image)
    return {"place": place, "flops": flops, "bytes": kept, "copies": copies}


@contextmanager
def memory_errors_named(
    encoder: DepthEncoder, points: Tensor, settings: params.Pretrain, machine: Machine
) -> Iterator[None]:
    """Say in one line which training the memory did not suffice for, and what to change.

    Raises OutOfMemory in place of what torch or Python raise.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        count = sum(weight.numel() for weight in encoder.parameters()) / 1e6
        pieces = f" in pieces of {machine.micro_batch}" if machine.micro_batch else ""
        raise OutOfMemory(
            f"out of memory on {encoder.device}: pretrain.batch {settings.batch}{pieces} in {settings.precision}, "
            f"model {type(encoder.visual).__name__} ({count:.1f} M weights), {len(points)} clouds of "
            f"{points.shape[1]} points; set C2P_MICRO_BATCH to a part of the batch or C2P_PROCESSES to more GPUs (the "
            "loss stays the same), or lower pretrain.batch"
        ) from error
