"""The ledger of a run: what every step gave, read from the device in blocks, and what becomes of it over an epoch."""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from c2p.training.history import History
from c2p.training.meter import Meter
from c2p.training.steps import LOG_EVERY, TrainingError

log = logging.getLogger(__name__)

VALUES = ("loss", "intra", "cross", "grad_norm", "sigma")
"""Of a step of image-depth pre-training, in the order of its tensor."""
BLOCK = 16
"""Steps whose values are read together on a GPU, which would wait for the host at every reading."""

OnStep = Callable[[int, int, dict[str, float]], None]
"""Called with (step from 1, steps of the run, values)."""


@dataclass
class Ledger:
    """Values of the steps taken, and the history of the epochs finished."""

    seed: int
    per_epoch: int
    """Steps an epoch."""
    steps: int
    """Steps of the run."""
    advice: str
    """End of the message where the loss is no longer finite."""
    meter: Meter
    on_step: OnStep | None = None
    title: str = "pre-training"
    """What log lines and errors call the run, before its seed."""
    names: tuple[str, ...] = VALUES
    """Of a step, in the order of its tensor; the first is the loss."""
    step: int = 0
    """Steps taken and read."""
    sums: dict[str, float] = field(default_factory=dict)
    """Means over the epoch so far, each step's share divided by `per_epoch`."""
    history: History = field(default_factory=list)
    _waiting: list[tuple[dict[str, float], Tensor]] = field(default_factory=list)

    def add(self, values: Tensor, known: dict[str, float]) -> None:
        """Enter a step: its values in the order of `names`, on any device, and what is known without asking it."""
        self._waiting.append((known, values))
        last = (self.step + len(self._waiting)) % self.per_epoch == 0
        if values.device.type == "cpu" or len(self._waiting) == BLOCK or last:
            self.read()

    def read(self) -> None:
        """Read what is waiting.

        Raises TrainingError: a loss or gradient that is not finite, naming its step.
        """
        if not self._waiting:
            return
        known, tensors = zip(*self._waiting, strict=True)
        self._waiting.clear()
        self.meter.count(len(tensors))
        for fixed, row in zip(known, torch.stack(tensors).tolist(), strict=True):
            self._enter(dict(zip(self.names, row, strict=True)), fixed)

    def close_epoch(self, **values: float) -> dict[str, float]:
        """Add an epoch's row to the history and return it."""
        row = {"epoch": float(len(self.history) + 1), **self.sums, **values}
        self.history.append(row)
        self.sums = {}
        return row

    def _enter(self, values: dict[str, float], known: dict[str, float]) -> None:
        self.step += 1
        if not all(math.isfinite(value) for value in values.values()):
            what = next(name for name, value in values.items() if not math.isfinite(value))
            epoch = (self.step - 1) // self.per_epoch + 1
            raise TrainingError(
                f"{self.title} seed {self.seed}: {what} is {values[what]} at step {self.step} (epoch {epoch}); "
                f"{self.advice}"
            )
        self.sums = {name: self.sums.get(name, 0.0) + value / self.per_epoch for name, value in values.items()}
        if self.on_step is not None:
            self.on_step(self.step, self.steps, values | known | self.meter.values())
        if self.step % LOG_EVERY == 0 or self.step == self.steps:
            log.info(
                "%s seed %d step %d/%d loss %.3f lr %.2g, %s",
                self.title,
                self.seed,
                self.step,
                self.steps,
                values["loss"],
                known["lr"],
                self.meter.text(),
            )
