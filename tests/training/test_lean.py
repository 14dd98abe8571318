"""Lean blocks: the function of the blocks they replace, with the same weights, and less kept for the way back."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor, nn
from trainee import make_encoder, run

from c2p import params
from c2p.models.clip import create_clip
from c2p.training import lean as lean_blocks
from c2p.training.lean import LeanBlock, LeanPatches, lean
from c2p.training.memory import kept_bytes

LAYERS = 2
WIDTH, TOKENS = 64, 17


def _tower(**options: Any) -> nn.Module:
    """An open_clip tower with random weights; norms and biases, which start as ones and zeros, too."""
    vision = {"image_size": 32, "layers": LAYERS, "width": WIDTH, "head_width": 32, "patch_size": 8}
    text = {"context_length": 4, "vocab_size": 8, "width": 32, "heads": 1, "layers": 1}
    quick = options.pop("quick_gelu", True)
    torch.manual_seed(0)
    tower: nn.Module = open_clip.CLIP(24, vision | options, text, quick_gelu=quick).visual
    for weight in tower.parameters():
        if weight.ndim == 1:
            nn.init.normal_(weight, 0.7, 0.4)
    return tower


def _there_and_back(tower: nn.Module, images: Tensor, precision: torch.dtype | None = None) -> list[Tensor]:
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        features = tower(images)
    loss = (features.to(images.dtype) * torch.linspace(-1, 1, features.shape[1], dtype=images.dtype)).sum()
    return [features.detach(), *torch.autograd.grad(loss, list(tower.parameters()))]


def _away(found: list[Tensor], wanted: list[Tensor]) -> float:
    """Largest difference of a tensor, beside its own size."""
    pairs = zip(found, wanted, strict=True)
    return max(((one.double() - other).norm() / other.norm()).item() for one, other in pairs)


def _blocks(tower: nn.Module) -> int:
    return sum(isinstance(module, LeanBlock) for module in tower.modules())


@pytest.fixture(params=["many tokens", "some", "few"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Norms in weights and the fused attention, as on a GPU; the plain one; norms by themselves."""
    monkeypatch.setattr(lean_blocks, "MANY_TOKENS", 10**9 if request.param == "few" else 0)
    monkeypatch.setattr(lean_blocks, "FEW_TOKENS", 0 if request.param == "many tokens" else 100)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("quick", [True, False])
def test_features_and_gradients_are_open_clips(quick: bool) -> None:
    theirs = _tower(quick_gelu=quick).double()
    ours = lean(copy.deepcopy(theirs), images=3)
    assert _blocks(ours) == LAYERS and _blocks(theirs) == 0 and isinstance(ours.conv1, LeanPatches)
    images = torch.randn(3, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert _away(_there_and_back(ours, images), _there_and_back(theirs, images)) < 1e-13


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(("precision", "allowed"), [(torch.float32, 2e-6), (torch.bfloat16, 0.1)])
def test_rounding_is_no_worse_than_open_clips(precision: torch.dtype, allowed: float) -> None:
    theirs = _tower()
    ours = lean(copy.deepcopy(theirs), images=3)
    images = torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    exact = _there_and_back(copy.deepcopy(theirs).double(), images.double())
    mine, other = (_away(_there_and_back(tower, images, precision), exact) for tower in (ours, theirs))
    assert mine < allowed and mine < 1.2 * other


def test_weights_are_the_towers_own_under_its_names() -> None:
    theirs = _tower()
    names, weights = list(theirs.state_dict()), list(theirs.parameters())
    ours = lean(theirs, images=3)
    assert list(ours.state_dict()) == names
    assert all(one is other for one, other in zip(ours.parameters(), weights, strict=True))
    fresh = _tower()
    fresh.load_state_dict(ours.state_dict())
    ours.eval()
    assert not any(module.training for module in ours.modules())
    assert lean(ours, images=3) is ours and _blocks(ours) == LAYERS


def test_less_is_kept_for_the_way_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block's own: tokens in, n(x) twice with two statistics each, the rest as counted below; 4 bytes a number."""
    monkeypatch.setattr(lean_blocks, "MANY_TOKENS", 0)
    monkeypatch.setattr(lean_blocks, "FEW_TOKENS", 0)
    theirs = _tower()
    image = torch.rand(1, 3, 32, 32)
    kept = kept_bytes(theirs, image)[0]
    ours, copies = kept_bytes(lean(copy.deepcopy(theirs), images=3), image)
    a_block = TOKENS * (2 * (2 * WIDTH + 2) + 3 * WIDTH + WIDTH + 2 * 4 * WIDTH)
    assert ours < 0.85 * kept
    assert abs(ours - 4 * LAYERS * a_block) < 0.25 * ours, "the patches, both outer norms and logsumexp beside it"
    assert copies >= 4 * LAYERS * (3 * WIDTH * WIDTH + 2 * 4 * WIDTH * WIDTH)


@pytest.mark.parametrize("grad", [True, False])
def test_a_dropout_of_the_attention_is_kept_in_training_alone(grad: bool) -> None:
    tower = lean(_tower(), images=3).train(grad)
    for module in tower.modules():
        if isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.5
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(tower(images), tower(images)) is not grad


@pytest.mark.parametrize(("size", "sides"), [((8, 8), (32, 48)), ((5, 9), (33, 50))])
def test_patches_are_the_convolutions(size: tuple[int, int], sides: tuple[int, int]) -> None:
    convolution = nn.Conv2d(3, 7, size, stride=size).double().to(memory_format=torch.channels_last)
    images = torch.randn(2, 3, *sides, dtype=torch.float64)
    theirs, ours = convolution(images), LeanPatches(convolution)(images)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ours.flatten(2), theirs.flatten(2), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("options", [{"stride": 2}, {"stride": 4, "padding": 1}, {"stride": 4, "dilation": 2}])
def test_another_convolution_stays(options: dict[str, int]) -> None:
    tower = nn.Module()
    tower.conv1 = nn.Conv2d(3, 6, 4, **options)  # type: ignore[arg-type]
    assert type(lean(tower, images=3).conv1) is nn.Conv2d
    tower.conv1 = nn.Conv2d(3, 6, 1)
    assert type(lean(tower, images=3).conv1) is nn.Conv2d


def _without_bias(tower: Any) -> None:
    tower.transformer.resblocks[0].mlp.c_fc.bias = None


def _with_a_layer_more(tower: Any) -> None:
    tower.transformer.resblocks[0].ln_3 = nn.Identity()


def _another_attention(tower: Any) -> None:
    tower.transformer.resblocks[0].attn.add_zero_attn = True


@pytest.mark.parametrize("change", [_without_bias, _with_a_layer_more, _another_attention])
def test_a_block_that_is_made_otherwise_stays(change: Callable[[Any], None]) -> None:
    theirs = _tower()
    change(theirs)
    before = type(theirs.transformer.resblocks[0])  # type: ignore[index, union-attr]
    ours = lean(theirs, images=3)
    assert _blocks(ours) == LAYERS - 1
    assert type(ours.transformer.resblocks[0]) is before  # type: ignore[index, union-attr]


@pytest.mark.parametrize("options", [{"ls_init_value": 0.1}, {"layers": [1, 1, 1, 1], "patch_size": None}])
def test_towers_of_other_blocks_stay(options: dict[str, Any]) -> None:
    assert _blocks(lean(_tower(**options), images=3)) == 0


def test_the_demos_tower_is_as_it_was() -> None:
    settings = params.Teacher(
        model="c2p-demo", pretrained="", epochs=1, batch=2, lr=1e-3, weight_decay=0.1, warmup=0.1, seed=0
    )
    tower = create_clip(settings).model.visual
    before = [type(module) for module in tower.modules()]
    assert [type(module) for module in lean(tower, images=3).modules()] == before


def test_pre_training_takes_them_and_leaves_a_tower_that_open_clip_can_load(tmp_path: Path) -> None:
    encoder, _ = run(tmp_path, "vit")
    assert _blocks(encoder.visual) == 2
    plain = make_encoder("vit").eval()
    plain.visual.load_state_dict(encoder.visual.state_dict())
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(encoder(images), plain(images), rtol=1e-4, atol=1e-5)
