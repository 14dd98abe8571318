"""The depth encoder: a trainable copy of CLIP's visual tower (CLIP2Point section 3.2, E_d).

Letters: B batch, H W pixels, C feature width.
"""

import copy
import dataclasses
from pathlib import Path

import torch
from torch import Tensor, nn

from c2p.data.files import write_text
from c2p.models.network import VISUAL, Clip, prepare_images


class DepthEncoder(nn.Module):
    """Depth maps to features in CLIP's image space; starts as CLIP's visual tower."""

    def __init__(self, clip: Clip, *, copied: bool = True) -> None:
        """copied: whether `clip` keeps a tower of its own."""
        super().__init__()
        visual = copy.deepcopy(clip.model.visual) if copied else clip.model.visual
        self.visual: nn.Module = visual.requires_grad_(True)
        self.width = clip.width
        self._preparation = dataclasses.replace(clip, model=nn.Identity(), tokenizer=None)

    @classmethod
    def from_clip(cls, clip: Clip) -> "DepthEncoder":
        """A trainable copy of `clip`'s visual tower."""
        return cls(clip)

    @classmethod
    def of_teacher(cls, folder: Path) -> "DepthEncoder":
        """The same of the CLIP in a folder, without ever holding its text tower or a second copy.

        Raises ModelError: as load_clip does.
        """
        from c2p.models.clip import load_image_tower

        return cls(load_image_tower(folder), copied=False)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def forward(self, images: Tensor) -> Tensor:
        """Depth images (B, 3, H, W) float in [0, 1] -> (B, C) float32, not normalised."""
        features = self.visual(prepare_images(images, self._preparation))
        return (features[0] if isinstance(features, tuple) else features).float()  # CoCa's tower gives tokens as well


def save_depth_encoder(encoder: DepthEncoder, clip: Clip, folder: Path, card: str) -> None:
    """Write the encoder as a complete open_clip folder: CLIP's text tower, the encoder as its visual tower, a card.

    folder: open_clip's `local-dir` layout, so `open_clip.create_model("local-dir:<folder>")` loads it. card: README.md.

    Raises ModelError: the encoder's weights don't have the names and shapes of `clip`'s visual tower.
    """
    from c2p.models.clip import save_weights  # open_clip takes seconds to import, and training does without
    from c2p.models.weights import check_shapes

    weights = dict(clip.model.state_dict())
    visual = {VISUAL + name: tensor for name, tensor in encoder.visual.state_dict().items()}
    check_shapes(visual, {name: tensor for name, tensor in weights.items() if name.startswith(VISUAL)})
    save_weights(clip, weights | visual, folder)
    write_text(folder / "README.md", card)


def load_depth_encoder(folder: Path) -> DepthEncoder:
    """Load a folder written by save_depth_encoder, in evaluation mode; `load_clip` reads the same folder as a CLIP.

    Raises ModelError as load_clip does.
    """
    from c2p.models.clip import load_clip

    return DepthEncoder(load_clip(folder)).eval()


def load_visual(encoder: DepthEncoder, weights: dict[str, Tensor]) -> None:
    """Put the weights of a checkpoint into the encoder's tower.

    Raises ModelError: names or shapes differ.
    """
    from c2p.models.weights import check_shapes

    check_shapes(weights, encoder.visual.state_dict())
    encoder.visual.load_state_dict(weights)
