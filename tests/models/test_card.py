"""The model card against the hub's own reader, and the folder it lies in against every way open_clip has to load it."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import yaml
from huggingface_hub import ModelCard, metadata_load
from PIL import Image

from c2p import params
from c2p.geometry.depth import depth_images, depth_maps
from c2p.geometry.views import view_set
from c2p.models.card import Chosen, model_card
from c2p.models.clip import Clip, create_clip, encode_text
from c2p.models.depth_encoder import DepthEncoder, load_depth_encoder, save_depth_encoder

ROOT = Path(__file__).resolve().parents[2]
CHOSEN = {3: Chosen(4, 81.25, 80.5), 7: Chosen(6, 84.75, 83.125)}
TEACHER = params.Teacher(
    model="c2p-demo", pretrained="", epochs=1, batch=2, lr=1e-3, weight_decay=0.1, warmup=0.1, seed=5
)


def _card(profile: str, **changes: object) -> str:
    settings = replace(params.load(ROOT / f"profiles/{profile}.yaml"), **changes)
    return model_card(
        settings, seed=7, chosen=CHOSEN, width=128, image_size=64, mean=(0.5, 0.25, 0.125), std=(0.2, 0.2, 0.2)
    )


@pytest.fixture(scope="module")
def clip() -> Clip:
    return create_clip(TEACHER)


@pytest.fixture(scope="module")
def folder(clip: Clip, tmp_path_factory: pytest.TempPathFactory) -> Path:
    encoder = DepthEncoder.from_clip(clip)
    with torch.no_grad():
        for weight in encoder.visual.parameters():
            weight.mul_(0.9)
    place = tmp_path_factory.mktemp("encoder")
    save_depth_encoder(encoder, clip, place, _card("demo"))
    return place


@pytest.mark.parametrize("profile", ["demo", "paper", "code", "plus"])
def test_the_hub_understands_the_card(profile: str, tmp_path: Path) -> None:
    text = _card(profile)
    (tmp_path / "README.md").write_text(text)
    card = ModelCard.load(tmp_path / "README.md")
    assert metadata_load(tmp_path / "README.md") == yaml.safe_load(text.split("---\n")[1])
    data = card.data
    assert (data.library_name, data.pipeline_tag) == ("open_clip", "zero-shot-image-classification")
    made = profile == "demo"
    assert data.license == ("apache-2.0" if made else "other")
    assert made or (data.license_name == "shapenet-terms-of-use" and data.license_link.startswith("https://"))
    assert data.base_model == (None if made else "timm/vit_base_patch32_clip_224.openai")
    assert data.datasets == (None if made else ["ShapeNet/ShapeNetCore"])
    values = {result.metric_name: result.metric_value for result in data.eval_results}
    assert values == {"top-1 accuracy": 0.8475, "mean over classes": 0.83125}
    assert all(result.dataset_split == "validation" for result in data.eval_results)
    for part in ("| 3 | 4 | 81.25 | 80.50 |", "| 7 (this one) | 6 | 84.75 | 83.12 |", "83.00 ± 2.47 %"):
        assert part in card.text
    for section in ("## Use", "## Training", "## Results", "## Licence", "## Limits", "## Parameters"):
        assert card.text.count(section) == 1
    assert "{" not in card.text.replace("`image of a {}`", "").split("## Parameters")[0]
    shown = yaml.safe_load(card.text.split("```yaml\n")[1].split("```")[0])
    settings = params.load(ROOT / f"profiles/{profile}.yaml")
    assert shown["depth"]["size"] == settings.depth.size and shown["pretrain"]["lr"] == settings.pretrain.lr
    assert _card(profile) == text


def test_the_card_keeps_paths_of_the_machine_to_itself() -> None:
    settings = replace(params.load(ROOT / "profiles/paper.yaml").teacher, pretrained="/home/somebody/w.safetensors")
    text = _card("paper", teacher=settings)
    assert "ViT-B-32-quickgelu, weights w.safetensors" in text and "somebody" not in text
    assert "base_model" not in text


def test_open_clip_loads_the_folder_every_way(folder: Path, clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its config and safetensors alone, through its transforms, from the hub's cache, and from its visual part."""
    points = (
        torch.nn.functional.normalize(torch.randn(1, 300, 3, generator=torch.Generator().manual_seed(1)), dim=-1)
        * torch.linspace(0.3, 1, 300)[None, :, None]
    )
    depth = params.load(ROOT / "profiles/demo.yaml").depth
    rotations = torch.as_tensor(view_set("six").rotations, dtype=torch.float32)
    images = depth_images(depth_maps(points, rotations, replace(depth, size=clip.image_size[0])))[0]
    greys = (images[:, 0] * 255).round().to(torch.uint8).numpy()
    with torch.no_grad():
        expected = load_depth_encoder(folder)(torch.from_numpy(greys)[:, None].expand(-1, 3, -1, -1) / 255)
    pictures = [Image.fromarray(np.repeat(grey[:, :, None], 3, 2)) for grey in greys]
    cache = folder.parent / "cache" / "models--someone--encoder" / "snapshots" / ("c" * 40)
    shutil.copytree(folder, cache)
    (cache.parents[1] / "refs").mkdir()
    (cache.parents[1] / "refs/main").write_text("c" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    models = []
    name = f"local-dir:{folder}"
    for identifier, options in ((name, {}), ("hf-hub:someone/encoder", {"cache_dir": str(cache.parents[2])})):
        model, _, preprocess = open_clip.create_model_and_transforms(identifier, **options)
        models.append(model.eval())
        with torch.no_grad():
            features = model.encode_image(torch.stack([preprocess(picture) for picture in pictures]))
        torch.testing.assert_close(features, expected, atol=1e-5, rtol=1e-4)
    models.append(open_clip.create_model(name, require_pretrained=True).eval())
    model, preprocess = open_clip.create_model_from_pretrained(name)
    models.append(model.eval())
    tokens = open_clip.get_tokenizer(name)(["image of a chair"])
    for model in models:
        with torch.no_grad():
            features = model.visual(torch.stack([preprocess(picture) for picture in pictures]))
            text = torch.nn.functional.normalize(model.encode_text(tokens), dim=-1)
        torch.testing.assert_close(features, expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(text, encode_text(clip, ["image of a chair"]), atol=1e-5, rtol=1e-4)
