"""What changes while a 3D encoder is trained on triplets, and how it is saved."""

import logging
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from c2p.models.point_model import PROMPTS
from c2p.training.image_towers import ImageTower
from c2p.training.ledger import Ledger

log = logging.getLogger(__name__)


@dataclass
class Training:
    """The 3D encoder, the image tower beside it, and their optimisers."""

    encoder: nn.Module
    tower: ImageTower
    optimizers: dict[str, torch.optim.Optimizer]
    peaks: dict[str, float]
    ledger: Ledger
    origin: dict[str, str]

    def state(self, step: int) -> dict[str, Any]:
        """Everything needed to go on. Schedule, order and augmentation follow from the step and the run's seed."""
        return {
            "step": step,
            "sums": self.ledger.sums,
            "history": self.ledger.history,
            "encoder": self.encoder.state_dict(),
            "tower": self.tower.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "origin": self.origin,
        }

    def resume(self, state: dict[str, Any] | None) -> int:
        """Put a saved state in place; returns the number of finished steps."""
        if state is None:
            return 0
        self.encoder.load_state_dict(state["encoder"])
        self.tower.load_state_dict(state["tower"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self.ledger.step, self.ledger.sums, self.ledger.history = state["step"], state["sums"], state["history"]
        log.info("CG3D goes on after step %d", state["step"])
        return self.ledger.step

    def weights(self) -> dict[str, Tensor]:
        """What a checkpoint keeps: the 3D encoder, and the visual prompts where there are some."""
        kept = {f"encoder.{name}": tensor for name, tensor in self.encoder.state_dict().items()}
        prompts = self.tower.prompts
        return kept if prompts is None else kept | {PROMPTS: prompts}

    def set_rates(self, share: float, minimum: float) -> float:
        """Rates of all optimisers at a share of their peaks, at least `minimum`; returns the 3D encoder's."""
        for name, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = max(minimum, share * self.peaks[name])
        return max(minimum, share * self.peaks["encoder"])
