"""Any open_clip tower by parameter alone: widths, sizes, preprocessing and texts, of real and of shrunken models."""

import copy
import dataclasses
import json
import logging
import sys
from functools import partial
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch

from c2p import params
from c2p.models.architecture import find_architecture, named_config
from c2p.models.clip import (
    _clip,
    create_clip,
    encode_images,
    encode_text,
    load_clip,
    save_clip,
)
from c2p.models.depth_encoder import DepthEncoder, load_depth_encoder, save_depth_encoder
from c2p.models.folder import CONFIG_FILE, WEIGHTS_FILE, ModelError, clip_digest, open_clip_folder

TEACHER = params.Teacher(
    model="c2p-demo", pretrained="", epochs=1, batch=2, lr=1e-3, weight_decay=0.1, warmup=0.1, seed=5
)
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
HALF = (0.5, 0.5, 0.5)


def _settings(**changes: Any) -> params.Teacher:
    return dataclasses.replace(TEACHER, **changes)


@pytest.mark.parametrize(
    ("model", "tag", "width", "size", "mean", "texts", "quick"),
    [
        ("ViT-B-32", "openai", 512, 224, CLIP_MEAN, 77, True),
        ("ViT-B-32", "laion2b_s34b_b79k", 512, 224, CLIP_MEAN, 77, False),
        ("ViT-B-16", "openai", 512, 224, CLIP_MEAN, 77, True),
        ("ViT-L-14", "openai", 768, 224, CLIP_MEAN, 77, True),
        ("ViT-H-14", "laion2b_s32b_b79k", 1024, 224, CLIP_MEAN, 77, False),
        ("ViT-B-16-SigLIP", "webli", 768, 224, HALF, 64, False),
        ("ViT-SO400M-14-SigLIP-384", "webli", 1152, 384, HALF, 64, False),
        ("coca_ViT-B-32", "laion2b_s13b_b90k", 512, 224, CLIP_MEAN, 76, False),
    ],
)
def test_published_towers_by_name_and_tag(
    model: str, tag: str, width: int, size: int, mean: tuple[float, ...], texts: int, quick: bool
) -> None:
    """The whole networks, on the device without memory: shapes come out as if they had weights."""
    plan = find_architecture(_settings(model=model, pretrained=tag))
    assert bool(plan.config.get("quick_gelu")) == quick and plan.tag
    changed = {"quick_gelu": plan.config["quick_gelu"]} if "quick_gelu" in plan.config else {}
    with torch.device("meta"):
        network = open_clip.create_model(
            plan.identifier, device="meta", force_preprocess_cfg=plan.preprocessing, pretrained_text=False, **changed
        )
        clip = _clip(network, None, plan.config)
        assert (clip.width, clip.image_size) == (width, (size, size))
        assert clip.mean == pytest.approx(mean) and (clip.std == pytest.approx(CLIP_STD) or clip.std == HALF)
        assert (network.logit_bias is not None) == ("SigLIP" in model)
        images = torch.zeros(2, 3, size, size)
        assert clip.model.encode_image(images).shape == (2, width)
        assert clip.model.encode_text(torch.zeros(3, texts, dtype=torch.int64)).shape == (3, width)
        features = network.visual(images)
        assert (features[0] if isinstance(features, tuple) else features).shape == (2, width)


def test_a_file_of_siglips_weights_is_standardised_as_published(tmp_path: Path) -> None:
    (tmp_path / "mine.safetensors").write_bytes(b"")
    plan = find_architecture(_settings(model="ViT-B-16-SigLIP", pretrained=str(tmp_path / "mine.safetensors")))
    assert plan.preprocessing == {
        "mean": HALF,
        "std": HALF,
        "interpolation": "bicubic",
        "resize_mode": "squash",
    }
    plan = find_architecture(_settings(model="ViT-L-14", pretrained=str(tmp_path / "mine.safetensors")))
    assert "mean" not in plan.preprocessing, "its tags differ: CLIP's own is left in place"


def test_quickgelu_comes_with_the_weights_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="c2p"):
        plan = find_architecture(_settings(model="ViT-B-32", pretrained="openai"))
    assert plan.config == named_config("ViT-B-32-quickgelu") and plan.identifier == "ViT-B-32"
    assert "ViT-B-32: the weights openai were trained with QuickGELU, so it is built with that" in caplog.messages
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="c2p"):
        again = find_architecture(_settings(model="ViT-B-32-quickgelu", pretrained="openai"))
    assert again.config == plan.config and not caplog.messages


def _hub_tokenizer(folder: Path) -> str:
    """A small tokenizer in the form that SigLIP's has on the hub."""
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["<pad>", "</s>", "<unk>", "image", "of", "a", "chair", "lamp"]
    plain = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=plain, **special).save_pretrained(folder)
    return str(folder)


def _small(name: str, folder: Path) -> dict[str, Any]:
    """A published configuration with few and narrow layers; nothing else is changed."""
    config = copy.deepcopy(named_config(name))
    for section in ("text_cfg", "multimodal_cfg"):
        if section in config:
            config[section] |= {"layers": 2, "width": 64, "heads": 2}
    if "hf_tokenizer_name" in config["text_cfg"]:
        config["text_cfg"]["hf_tokenizer_name"] = _hub_tokenizer(folder)
    vision = config["vision_cfg"]
    if "timm_model_name" in vision:
        vision["timm_model_name"] = "test_vit"  # timm's own smallest
        vision["image_size"] = 160
        config["embed_dim"] = 64
        config["text_cfg"]["width"] = 64
    elif isinstance(vision["layers"], list):
        vision |= {"layers": [1, 1, 1, 1], "width": 16, "image_size": 64}
    else:
        vision |= {"layers": 2, "width": 64, "head_width": 32, "image_size": 4 * vision["patch_size"]}
    return config


@pytest.fixture
def register(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Adds a shrunken configuration to open_clip under a name of its own."""

    def add(name: str) -> str:
        config = _small(name, tmp_path / "tokenizer")
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, f"small-{name}", config)
        return f"small-{name}"

    return add


@pytest.mark.parametrize("name", ["ViT-B-32", "ViT-L-14-336", "ViT-H-14", "RN50", "ViT-B-16-SigLIP"])
def test_towers_of_every_kind_go_the_whole_way(register: Any, name: str, tmp_path: Path) -> None:
    """Created, saved, loaded, taken as a depth encoder, saved and loaded again: the same features throughout."""
    close = partial(torch.testing.assert_close, rtol=1e-4, atol=1e-4)  # frozen towers take other kernels than others
    small = register(name)
    clip = create_clip(_settings(model=small))
    folder = tmp_path / "clip"
    save_clip(clip, folder)
    loaded = load_clip(folder)
    side = clip.image_size[0]
    images = torch.rand(3, 3, side, side, generator=torch.Generator().manual_seed(0))
    texts = ["image of a chair", "image of a lamp"]
    image, text = encode_images(clip, images), encode_text(clip, texts)
    assert image.shape == (3, clip.width) and text.shape == (2, clip.width)
    close(encode_images(loaded, images), image)
    close(encode_text(loaded, texts), text)
    assert not torch.allclose(text[0], text[1])
    assert loaded.model.state_dict().keys() == clip.model.state_dict().keys()
    assert ("logit_bias" in loaded.model.state_dict()) == ("SigLIP" in name)
    taken = create_clip(_settings(model=small, pretrained=str(folder), seed=9))
    close(encode_images(taken, images), image)
    encoder = DepthEncoder.from_clip(clip)
    close(encoder.eval()(images), image)
    encoder(images).square().mean().backward()
    assert any(weight.grad is not None and weight.grad.any() for weight in encoder.parameters())
    save_depth_encoder(encoder, clip, tmp_path / "encoder", "# card\n")
    close(load_depth_encoder(tmp_path / "encoder")(images), image)
    close(encode_text(load_clip(tmp_path / "encoder"), texts), text)
    assert clip_digest(tmp_path / "encoder") == clip_digest(folder), "the card does not count"


def test_a_tokenizer_that_is_not_installed_is_named(register: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    small = register("ViT-B-16-SigLIP")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModelError, match=r"package transformers.*pip install .*\[transformers\]") as caught:
        create_clip(_settings(model=small))
    assert "\n" not in str(caught.value)


def test_preprocessing_travels_with_the_folder(tmp_path: Path, register: Any) -> None:
    clip = create_clip(_settings(model=register("ViT-B-32")))
    odd = dataclasses.replace(clip, mean=HALF, std=(0.1, 0.2, 0.3), interpolation="bilinear", resize_mode="squash")
    save_clip(odd, tmp_path)
    loaded = load_clip(tmp_path)
    assert (loaded.mean, loaded.std, loaded.interpolation, loaded.resize_mode) == (
        HALF,
        (0.1, 0.2, 0.3),
        "bilinear",
        "squash",
    )


def test_a_hub_cache_folder_is_read_where_it_lies(tmp_path: Path) -> None:
    clip = create_clip(TEACHER)
    cache = tmp_path / "models--someone--small"
    for commit, seed in (("a" * 40, 1), ("b" * 40, 5)):
        save_clip(create_clip(_settings(seed=seed)), cache / "snapshots" / commit)
    with pytest.raises(ModelError, match="2 snapshots and no refs/main"):
        open_clip_folder(cache)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("b" * 40)
    assert open_clip_folder(cache).name == "b" * 40
    taken = create_clip(_settings(pretrained=str(cache), seed=9))
    assert torch.equal(encode_text(taken, ["a bed"]), encode_text(clip, ["a bed"]))
    assert torch.equal(encode_text(load_clip(cache), ["a bed"]), encode_text(clip, ["a bed"]))
    inside = create_clip(_settings(pretrained=str(cache / "snapshots" / ("b" * 40) / WEIGHTS_FILE), seed=9))
    assert torch.equal(encode_text(inside, ["a bed"]), encode_text(clip, ["a bed"]))
    with pytest.raises(ModelError, match=f"no {CONFIG_FILE} there"):
        open_clip_folder(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"model_cfg": 3}', '{"model_cfg": {"embed_dim": 4}}'])
def test_a_folder_whose_configuration_is_none(tmp_path: Path, text: str) -> None:
    save_clip(create_clip(TEACHER), tmp_path)
    (tmp_path / CONFIG_FILE).write_text(text)
    with pytest.raises(ModelError, match="not an open_clip configuration") as caught:
        load_clip(tmp_path)
    assert "\n" not in str(caught.value)


def test_folders_that_write_less_are_no_other_architecture(tmp_path: Path) -> None:
    """What a published folder's configuration leaves out does not contradict the name; what it says does."""
    save_clip(create_clip(TEACHER), tmp_path)
    config = json.loads((tmp_path / CONFIG_FILE).read_text())
    del config["model_cfg"]["vision_cfg"]["head_width"]  # 64 is open_clip's default
    config["model_cfg"]["text_cfg"]["hf_tokenizer_name"] = ""
    (tmp_path / CONFIG_FILE).write_text(json.dumps(config))
    assert create_clip(_settings(pretrained=str(tmp_path))).width == 128
    config["model_cfg"]["vision_cfg"]["width"] = 32
    (tmp_path / CONFIG_FILE).write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"another architecture than c2p-demo \(vision_cfg\)"):
        create_clip(_settings(pretrained=str(tmp_path)))
