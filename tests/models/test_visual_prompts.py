"""Prompts of the image tower: none give the plain tower, and nothing but prompts learns."""

import dataclasses

import open_clip
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from c2p.models.construction import random_weights
from c2p.models.folder import ModelError
from c2p.models.network import Clip
from c2p.models.visual_prompts import TOKENS, PromptedTower

BLOCKS, WIDTH = 3, 64
SETTINGS = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": BLOCKS, "width": WIDTH, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 2, "layers": 1},
}


@pytest.fixture(params=["tok", "avg"])
def clip(request: pytest.FixtureRequest) -> Clip:
    with random_weights(5):
        settings = SETTINGS | {"vision_cfg": SETTINGS["vision_cfg"] | {"pool_type": request.param}}
        model = open_clip.CLIP(**settings)
    return Clip(
        model=model.eval().requires_grad_(False),
        tokenizer=None,
        config=settings,
        image_size=(32, 32),
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        interpolation="bicubic",
        width=32,
    )


def _images(count: int = 4) -> Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_no_prompts_are_the_plain_tower_and_prompts_are_not(clip: Clip) -> None:
    plain = clip.model.encode_image(_images())
    torch.testing.assert_close(PromptedTower(clip, tokens=0)(_images()), plain, rtol=1e-5, atol=1e-6)
    prompted = PromptedTower(clip)(_images())
    assert prompted.shape == plain.shape == (4, 32)
    assert (prompted - plain).abs().max() > 1e-3
    zeros = PromptedTower(clip)
    torch.nn.init.zeros_(zeros.prompts)
    assert (zeros(_images()) - plain).abs().max() > 1e-3, "tokens of zeros take their share of the attention"


def test_blocks_read_their_own_prompts_beside_the_class_token_and_the_patches(clip: Clip) -> None:
    tower = PromptedTower(clip, tokens=2, seed=7)
    seen: list[Tensor] = []
    hooks = [
        block.register_forward_pre_hook(lambda _, values: seen.append(values[0]))
        for block in clip.model.visual.transformer.resblocks
    ]
    tower(_images())
    for hook in hooks:
        hook.remove()
    assert len(seen) == BLOCKS
    for values, prompt in zip(seen, tower.prompts, strict=True):
        assert values.shape == (4, 1 + 2 + 16, WIDTH)
        assert torch.equal(values[:, 1:3], prompt.expand(4, -1, -1))


def test_only_prompts_learn(clip: Clip) -> None:
    before = {name: weight.clone() for name, weight in clip.model.state_dict().items()}
    tower = PromptedTower(clip).train()
    assert {name for name, _ in tower.named_parameters()} == {"prompts"}
    assert list(tower.state_dict()) == ["prompts"] and tower.prompts.shape == (BLOCKS, TOKENS, WIDTH)
    target = functional.normalize(torch.randn(4, 32, generator=torch.Generator().manual_seed(2)), dim=-1)
    optimiser = torch.optim.SGD(tower.parameters(), lr=0.5)

    def loss() -> Tensor:
        return -(functional.normalize(tower(_images()), dim=-1) * target).sum(-1).mean()

    start = loss()
    start.backward()
    assert tower.prompts.grad is not None and (tower.prompts.grad.abs().amax((1, 2)) > 0).all()
    assert all(weight.grad is None for weight in clip.model.parameters())
    optimiser.step()
    assert loss() < start
    assert all(torch.equal(weight, before[name]) for name, weight in clip.model.state_dict().items())
    assert not clip.model.visual.training


def test_prompts_start_from_the_seed_alone(clip: Clip) -> None:
    state = torch.random.get_rng_state()
    assert torch.equal(PromptedTower(clip, seed=3).prompts, PromptedTower(clip, seed=3).prompts)
    assert not torch.equal(PromptedTower(clip, seed=3).prompts, PromptedTower(clip, seed=4).prompts)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_towers_that_take_no_prompts_are_refused_in_one_line(clip: Clip) -> None:
    with random_weights(0):
        vision = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "head_width": 16}
        residual = open_clip.CLIP(embed_dim=32, vision_cfg=vision, text_cfg=SETTINGS["text_cfg"])
    with pytest.raises(ModelError, match="ModifiedResNet; prompts need") as caught:
        PromptedTower(dataclasses.replace(clip, model=residual))
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="tokens -1; allowed: at least 0"):
        PromptedTower(clip, tokens=-1)
