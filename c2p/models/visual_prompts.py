"""Deep visual prompt tuning of a CLIP's image tower (Jia et al., ECCV 2022), as CG3D uses it.

Every block of the frozen transformer reads learnt tokens between the class token and the patches; what it gives for
them is dropped and the next block reads its own. With no tokens the tower is the plain one, step for step. Tokens of
zeros are something else: they still take a share of every attention's softmax (their keys and values are the biases).

Letters: B batch, L blocks of the tower, T tokens a block, W width of the tower, C feature width.
"""

import math

import open_clip
import torch
from torch import Tensor, nn

from c2p.models.folder import ModelError
from c2p.models.network import Clip

TOKENS = 5
"""Tokens a block, CG3D's number."""


class PromptedTower(nn.Module):
    """A CLIP's image tower with learnt tokens at every block; nothing else of it learns."""

    def __init__(self, clip: Clip, *, tokens: int = TOKENS, seed: int = 0) -> None:
        """`tokens`: T, 0 for the plain tower; `seed`: of the tokens that training starts with.

        Raises ModelError: a tower that is no vision transformer of open_clip's own. Raises ValueError: negative tokens.
        """
        super().__init__()
        tower = clip.model.visual
        if not isinstance(tower, open_clip.transformer.VisionTransformer):
            raise ModelError(
                f"image tower: got {type(tower).__name__}; prompts need open_clip's VisionTransformer, as of ViT-B-32"
            )
        if tokens < 0:
            raise ValueError(f"prompt tokens {tokens}; allowed: at least 0")
        if not tower.transformer.batch_first:
            raise ModelError("image tower: its transformer takes the batch second; allowed: batch first")
        # kept out of the registered modules: its weights are the teacher's, no part of what is trained and saved
        self._tower = [tower.eval().requires_grad_(False)]
        blocks, width = len(tower.transformer.resblocks), tower.class_embedding.shape[0]
        bound = math.sqrt(6 / (3 * math.prod(tower.patch_size) + width))  # the start of Jia et al.
        generator = torch.Generator().manual_seed(seed)
        start = torch.empty(blocks, tokens, width).uniform_(-bound, bound, generator=generator)
        self.prompts = nn.Parameter(start.to(tower.class_embedding.device))

    @classmethod
    def with_prompts(cls, clip: Clip, prompts: Tensor) -> "PromptedTower":
        """A tower with given prompts (L, T, W), which no longer learn.

        Raises ModelError: as the tower, and prompts of other shape than its blocks and width.
        """
        tower = cls(clip, tokens=prompts.shape[1] if prompts.ndim == 3 else 0)
        if prompts.shape != tower.prompts.shape:
            raise ModelError(f"prompts: got shape {tuple(prompts.shape)}; allowed: {tuple(tower.prompts.shape)}")
        with torch.no_grad():
            tower.prompts.copy_(prompts)
        return tower.requires_grad_(False).eval()

    def forward(self, images: Tensor) -> Tensor:
        """Prepared images (c2p.models.network.prepare_images), (B, 3, H, W), to features (B, C), unnormalised."""
        tower = self._tower[0]
        values = tower._embeds(images)
        tokens = self.prompts.shape[1]
        for block, prompt in zip(tower.transformer.resblocks, self.prompts, strict=True):
            prompts = prompt.to(values.dtype).expand(len(values), -1, -1)
            values = block(torch.cat([values[:, :1], prompts, values[:, 1:]], 1))
            values = torch.cat([values[:, :1], values[:, 1 + tokens :]], 1)
        pooled, _ = tower._pool(values)
        return pooled if tower.proj is None else pooled @ tower.proj
