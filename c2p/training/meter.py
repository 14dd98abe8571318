"""How fast a training goes: samples a second, and the share of the device's own rate of matrix products.

Nothing here belongs into a tracked file: it differs from run to run.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

SIDES = {"cuda": 8192, "cpu": 1024}
"""Side of the square matrices whose product tells a device's rate."""
REPEATS = 5
READINGS = 16
"""Readings that a rate is taken over."""


class Meter:
    """Rates over the last readings."""

    def __init__(self, *, samples: int, images: int, flops: float, peak: float) -> None:
        """samples, images: of a step, on all ranks; flops: of a step on this rank's device; peak: its FLOP/s."""
        self._samples, self._images, self._flops, self._peak = samples, images, flops, peak
        self._readings: deque[tuple[int, float]] = deque(maxlen=READINGS)
        self._since = time.perf_counter()

    def count(self, steps: int) -> None:
        """Steps finished since the last call."""
        now = time.perf_counter()
        self._readings.append((steps, now - self._since))
        self._since = now

    def skip(self) -> None:
        """Leave out the time since the last call: it went into something else."""
        self._since = time.perf_counter()

    def values(self) -> dict[str, float]:
        """samples_per_s, images_per_s (depth maps) and matmul_share (0 to 1)."""
        steps, seconds = (sum(column) for column in zip((0, 1e-9), *self._readings, strict=True))
        rate = steps / seconds
        return {
            "samples_per_s": rate * self._samples,
            "images_per_s": rate * self._images,
            "matmul_share": rate * self._flops / self._peak,
        }

    def text(self) -> str:
        """The rates for a log line."""
        rates = self.values()
        share = 100 * rates["matmul_share"]
        return f"{rates['samples_per_s']:.0f} samples/s, {share:.0f} % of the device's matrix products"


def matmul_rate(device: torch.device, dtype: torch.dtype, *, side: int | None = None, repeats: int = REPEATS) -> float:
    """FLOP/s of the device in products of large square matrices of `dtype`: what its library reaches, not its label.

    side: of the matrices, SIDES where it is not given; repeats: products, of which the fastest counts.
    """
    side = side or SIDES.get(device.type, 1024)
    generator = torch.Generator(device).manual_seed(0)
    a, b = (torch.rand(side, side, device=device, generator=generator).to(dtype) for _ in range(2))
    times = [_seconds(lambda: a @ b, device) for _ in range(repeats)]
    return 2 * side**3 / min(times)


def training_flops(encode: Callable[[Tensor], Tensor], weights: Sequence[Tensor], image: Tensor) -> int:
    """FLOPs of the matrix products of one depth image, there and back; image: (1, 3, H, W)."""
    with FlopCounterMode(display=False) as counter, torch.enable_grad():
        torch.autograd.grad(encode(image).sum(), list(weights), allow_unused=True)
    return int(counter.get_total_flops())


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    synchronise(device)
    begin = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - begin
