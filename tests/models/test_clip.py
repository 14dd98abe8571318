"""CLIP folders, creation, preprocessing, and the depth encoder made from it."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file

from c2p import params
from c2p.models.clip import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    Clip,
    ModelError,
    create_clip,
    encode_images,
    encode_text,
    load_clip,
    load_image_tower,
    prepare_images,
    save_clip,
)
from c2p.models.construction import bare_weights, fill_forgotten, random_weights
from c2p.models.depth_encoder import DepthEncoder, load_depth_encoder, load_visual, save_depth_encoder

TEACHER = params.Teacher(
    model="c2p-demo", pretrained="", epochs=1, batch=2, lr=1e-3, weight_decay=0.1, warmup=0.1, seed=3
)


PROJECTION = "attnpool.c_proj.weight"


@pytest.fixture(scope="module")
def clip() -> Clip:
    return create_clip(TEACHER)


@pytest.fixture(scope="module")
def folder(clip: Clip, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip")
    save_clip(clip, path)
    return path


def _images(count: int, size: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def _projection(model: torch.nn.Module) -> torch.Tensor:
    """A weight of the visual tower through which every feature goes."""
    return model.visual.get_parameter(PROJECTION)


def _images_for(clip: Clip, count: int = 4) -> torch.Tensor:
    return _images(count, clip.image_size[0])


def test_creation_depends_on_the_seed_alone_and_leaves_the_global_generator(clip: Clip) -> None:
    torch.manual_seed(99)
    expected = torch.rand(3)
    torch.manual_seed(99)
    again, other = create_clip(TEACHER), create_clip(dataclasses.replace(TEACHER, seed=4))
    assert torch.equal(torch.rand(3), expected)
    pairs = list(zip(clip.model.state_dict().values(), again.model.state_dict().values(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(_projection(clip.model), _projection(other.model))
    assert not clip.model.training and not any(weight.requires_grad for weight in clip.model.parameters())


def test_folder_round_trip_is_byte_equal_and_open_clip_reads_it(clip: Clip, folder: Path, tmp_path: Path) -> None:
    loaded = load_clip(folder)
    save_clip(loaded, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [CONFIG_FILE, WEIGHTS_FILE]
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    model = open_clip.create_model(f"local-dir:{folder}")
    images = _images_for(clip)
    standardised = (images - torch.tensor(clip.mean)[:, None, None]) / torch.tensor(clip.std)[:, None, None]
    with torch.no_grad():
        theirs = model.eval().encode_image(standardised)
    torch.testing.assert_close(encode_images(loaded, images), theirs, rtol=1e-4, atol=1e-5)
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(["image of a chair", "a lamp"])
    with torch.no_grad():
        theirs = model.encode_text(tokens)
    theirs = theirs / theirs.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(encode_text(loaded, ["image of a chair", "a lamp"]), theirs, rtol=1e-4, atol=1e-5)


def test_preparation_is_resize_then_standardise(clip: Clip) -> None:
    size = clip.image_size[0]
    images = _images_for(clip, 2)
    prepared = prepare_images(images, clip).numpy()
    for c in range(3):
        expected = (images[:, c].numpy().astype(np.float64) - clip.mean[c]) / clip.std[c]
        np.testing.assert_allclose(prepared[:, c], expected, atol=1e-5)
    assert torch.equal(prepare_images(images, clip, standardise=False), images)
    enlarged = images.repeat_interleave(4, -1).repeat_interleave(4, -2)
    assert prepare_images(enlarged, clip).shape == (2, 3, size, size)
    grey = torch.rand(2, 1, 2 * size, 2 * size, generator=torch.Generator().manual_seed(1)).expand(-1, 3, -1, -1)
    assert torch.equal(prepare_images(grey, clip), prepare_images(grey.contiguous(), clip))
    flat = torch.full((1, 3, size // 2, 2 * size), 0.25)
    torch.testing.assert_close(prepare_images(flat, clip, standardise=False), torch.full((1, 3, size, size), 0.25))
    assert not torch.equal(encode_images(clip, images), encode_images(clip, images, standardise=False))


def test_text_features_are_unit_and_independent_of_company(clip: Clip) -> None:
    prompts = [f"image of a {name}" for name in ("chair", "table", "lamp")]
    features = encode_text(clip, prompts)
    assert features.shape == (3, clip.width) and features.dtype == torch.float32
    torch.testing.assert_close(features.norm(dim=-1), torch.ones(3))
    torch.testing.assert_close(encode_text(clip, prompts[1:2])[0], features[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "c2p-dem"}, "near: c2p-demo"),
        (
            {"model": "ViT-B-32", "pretrained": "absent/weights.pt"},
            "file or folder, hf-hub:OWNER/NAME, or a tag of ViT-B-32",
        ),
    ],
)
def test_creation_refuses_in_one_line(change: dict[str, str], message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        create_clip(dataclasses.replace(TEACHER, **change))
    assert "\n" not in str(caught.value)


def test_creation_loads_a_weights_file_and_refuses_one_that_does_not_fit(folder: Path, tmp_path: Path) -> None:
    given = dataclasses.replace(TEACHER, seed=77, pretrained=str(folder / WEIGHTS_FILE))
    assert torch.equal(_projection(create_clip(given).model), _projection(load_clip(folder).model))
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes((folder / WEIGHTS_FILE).read_bytes()[:1000])
    with pytest.raises(ModelError, match="cut short or damaged") as caught:
        create_clip(dataclasses.replace(TEACHER, pretrained=str(broken)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", ["no folder", "no weights", "no config", "bad json", "short weights", "other width"])
def test_loading_refuses_damaged_folders_in_one_line(damage: str, folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    if damage != "no folder":
        shutil.copytree(folder, copy)
    if damage == "no weights":
        (copy / WEIGHTS_FILE).unlink()
    if damage == "no config":
        (copy / CONFIG_FILE).unlink()
    if damage == "bad json":
        (copy / CONFIG_FILE).write_text("{")
    if damage == "short weights":
        (copy / WEIGHTS_FILE).write_bytes((folder / WEIGHTS_FILE).read_bytes()[:-100])
    if damage == "other width":
        config = json.loads((copy / CONFIG_FILE).read_text())
        config["model_cfg"]["embed_dim"] += 64
        (copy / CONFIG_FILE).write_text(json.dumps(config))
    with pytest.raises(ModelError, match="copy") as caught:
        load_clip(copy)
    assert "\n" not in str(caught.value)


def test_depth_encoder_starts_as_the_tower_and_trains_apart_from_it(clip: Clip) -> None:
    encoder = DepthEncoder.from_clip(clip)
    images = _images_for(clip)
    torch.testing.assert_close(encoder(images), encode_images(clip, images), rtol=1e-4, atol=1e-5)
    before = _projection(clip.model).clone()
    encoder(images).square().sum().backward()
    torch.optim.SGD(encoder.parameters(), 0.1).step()
    assert all(weight.grad is not None for weight in encoder.parameters())
    assert torch.equal(_projection(clip.model), before)
    assert not torch.allclose(encoder(images), encode_images(clip, images), atol=1e-3)


@pytest.mark.parametrize("model", ["c2p-demo", "RN50"])
def test_image_tower_alone_is_the_whole_clips(model: str, tmp_path: Path) -> None:
    whole = create_clip(dataclasses.replace(TEACHER, model=model))
    save_clip(whole, tmp_path)
    alone, images = load_image_tower(tmp_path), _images_for(whole)
    assert torch.equal(encode_images(alone, images), encode_images(whole, images))
    assert not hasattr(alone.model, "encode_text") and alone.tokenizer is None
    encoder, other = DepthEncoder.of_teacher(tmp_path), DepthEncoder.from_clip(whole)
    states = encoder.state_dict(), other.state_dict()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[1])
    assert torch.equal(encoder.train()(images), other.train()(images))
    assert all(weight.requires_grad for weight in encoder.parameters())


def test_image_tower_alone_is_refused_where_the_whole_would_be(clip: Clip, tmp_path: Path) -> None:
    weights = {name: tensor.contiguous() for name, tensor in clip.model.state_dict().items()}
    name = f"visual.{PROJECTION}"
    save_clip(clip, tmp_path)
    for damaged, message in (
        ({name: tensor for name, tensor in weights.items() if name != "text_projection"}, "is missing"),
        (weights | {"token_embedding.weight": torch.zeros(3, 3)}, "has shape"),
        (weights | {name: torch.full_like(weights[name], torch.nan)}, "not finite"),
    ):
        save_file(damaged, tmp_path / WEIGHTS_FILE)
        with pytest.raises(ModelError, match=message):
            load_image_tower(tmp_path)


def test_depth_encoder_folder_is_a_whole_clip(clip: Clip, tmp_path: Path) -> None:
    encoder = DepthEncoder.from_clip(clip)
    with torch.no_grad():
        _projection(encoder).mul_(-1.5)
    save_depth_encoder(encoder, clip, tmp_path / "a", "# A depth encoder\n")
    save_depth_encoder(encoder, clip, tmp_path / "b", "# A depth encoder\n")
    names = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert names == sorted(["README.md", CONFIG_FILE, WEIGHTS_FILE])
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)
    images, whole = _images_for(clip), load_clip(tmp_path / "a")
    expected = encoder.eval()(images)
    torch.testing.assert_close(load_depth_encoder(tmp_path / "a")(images), expected)
    torch.testing.assert_close(encode_images(whole, images), expected)
    assert torch.equal(encode_text(whole, ["a bed"]), encode_text(clip, ["a bed"]))


def test_weights_that_do_not_fit_are_refused(clip: Clip, tmp_path: Path) -> None:
    encoder = DepthEncoder.from_clip(clip)
    weights = encoder.visual.state_dict()
    load_visual(encoder, {name: tensor.clone() for name, tensor in weights.items()})
    with pytest.raises(ModelError, match=f"weights: {PROJECTION} has shape"):
        load_visual(encoder, weights | {PROJECTION: torch.zeros(3, 3)})
    with pytest.raises(ModelError, match=f"weights: {PROJECTION} is missing"):
        load_visual(encoder, {name: tensor for name, tensor in weights.items() if name != PROJECTION})
    with pytest.raises(ModelError, match="weights: extra is unknown"):
        load_visual(encoder, weights | {"extra": torch.zeros(1)})
    encoder.visual.attnpool.c_proj = torch.nn.Linear(3, 3)
    with pytest.raises(ModelError, match=r"visual\.attnpool\.c_proj\.\w+ has shape"):
        save_depth_encoder(encoder, clip, tmp_path / "out", "")
    assert not (tmp_path / "out").exists()


def test_images_of_a_wrong_shape_are_refused(clip: Clip) -> None:
    with pytest.raises(ModelError, match="allowed: "):
        encode_images(clip, torch.zeros(2, 1, 64, 64))
    with pytest.raises(ModelError, match="at least one"):
        encode_text(clip, [])


def test_weights_that_open_clip_forgets_are_random_numbers_of_the_seed(caplog: pytest.LogCaptureFixture) -> None:
    """CoCa's caption decoder: without the mend it holds what lay in memory."""

    class Forgetful(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.known = torch.nn.Linear(4, 5)
            self.forgotten = torch.nn.Parameter(torch.empty(64, 300))

    def made(seed: int) -> Forgetful:
        with random_weights(seed):
            model = Forgetful()
        fill_forgotten(model, name="forgetful", seed=seed)
        return model

    state = torch.get_rng_state()
    with caplog.at_level("INFO", "c2p"):
        one, same, other = made(1), made(1), made(2)
    assert torch.equal(one.forgotten, same.forgotten) and torch.equal(one.known.weight, same.known.weight)
    assert not torch.equal(one.forgotten, other.forgotten)
    assert one.forgotten.std().item() == pytest.approx(64**-0.5, rel=0.05)
    assert "forgetful: open_clip leaves forgotten without numbers; it gets random ones" in caplog.messages
    assert torch.equal(state, torch.get_rng_state()) and not torch.are_deterministic_algorithms_enabled()


def test_nothing_is_drawn_where_weights_are_at_hand() -> None:
    with bare_weights():
        linear = torch.nn.Linear(3, 2)
        linear.weight.data.fill_(7)
        torch.nn.init.normal_(linear.weight)
        torch.nn.init.uniform_(tensor=linear.weight)
        torch.nn.init.xavier_uniform_(linear.weight)
        torch.nn.init.kaiming_uniform_(linear.weight)
        assert linear.weight.eq(7).all()
        torch.nn.init.trunc_normal_(linear.weight)  # drawn in earnest
    assert linear.weight.abs().max() <= 2
