"""The image tower beside a 3D encoder in training: frozen, with visual prompts that learn, or learning as a whole.

Letters: B batch, H W pixels, C feature width.
"""

import copy

import torch
from torch import Tensor, nn

from c2p.cg3d_params import Cg3d
from c2p.models.network import Clip, prepare_images
from c2p.models.visual_prompts import PromptedTower

MOMENTUM = 0.9
"""Of the prompts' SGD (Jia et al., ECCV 2022)."""


class ImageTower(nn.Module):
    """RGB views to features; what is registered in it learns, and is saved."""

    def __init__(self, clip: Clip, settings: Cg3d, *, seed: int) -> None:
        """Raises ModelError: prompts for a tower that is no vision transformer."""
        super().__init__()
        self._clip = [clip]  # kept out of the registered modules, with all weights that are the teacher's
        self.network: nn.Module | None = None
        if settings.tuned == "prompts":
            self.network = PromptedTower(clip, tokens=settings.prompts, seed=seed)
        elif settings.tuned == "everything":
            self.network = copy.deepcopy(clip.model.visual).requires_grad_(True)

    @property
    def learns(self) -> bool:
        """Whether anything in it does."""
        return self.network is not None and any(True for _ in self.network.parameters())

    def forward(self, views: Tensor) -> Tensor:
        """Views (B, 3, H, W) uint8, on the weights' device, to features (B, C) float32, unnormalised."""
        clip = self._clip[0]
        network = clip.model.visual if self.network is None else self.network
        features = network(prepare_images(views.float() / 255, clip))
        return (features[0] if isinstance(features, tuple) else features).float()

    def optimizer(self, settings: Cg3d) -> torch.optim.Optimizer | None:
        """SGD for prompts (paper), AdamW for whole towers; None where nothing learns."""
        if not self.learns:
            return None
        if settings.tuned == "prompts":
            return torch.optim.SGD(self.parameters(), settings.prompt_lr, momentum=MOMENTUM)
        return torch.optim.AdamW(self.parameters(), settings.lr, weight_decay=settings.weight_decay, fused=True)

    @property
    def prompts(self) -> Tensor | None:
        """(L, T, W) visual prompts, a copy on the CPU; None where it has none."""
        found = self.network.prompts if isinstance(self.network, PromptedTower) else None
        return None if found is None else found.detach().cpu().clone()
