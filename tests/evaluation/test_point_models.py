"""3D encoders from a user's side: found, loaded beside their CLIP, and used by the commands as depth encoders are."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import c2p
from c2p.cg3d_params import Cg3dStudent, PointEncoder
from c2p.cli import main
from c2p.data.clouds import farthest_cloud
from c2p.models.clip import encode_text, load_clip, prepare_images, save_clip
from c2p.models.folder import ModelError, clip_digest
from c2p.models.photographs import square_pictures
from c2p.models.point_folder import find_point_folder
from c2p.models.point_model import PointModel, create_point_encoder, save_point_model
from c2p.models.preprocessing import write_preprocessing
from c2p.models.visual_prompts import PromptedTower
from c2p.training.student import create_student

if TYPE_CHECKING:
    from made_lab import Lab

NETWORK = PointEncoder(kind="transformer", width=16, depth=1, neighbours=4, heads=2, groups=6, token_width=8, blocks=1)
STUDENT = Cg3dStudent(size=16, patch=8, width=32, layers=2, epochs=1, batch=4, lr=1e-3, seed=1)


@pytest.fixture(scope="module")
def made(lab: "Lab", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project's models: a CLIP that takes prompts, and 3D encoders of two seeds; the second validated better."""
    root = tmp_path_factory.mktemp("made")
    student = create_student(load_clip(lab.clip), STUDENT)
    save_clip(student, root / "models/cg3d_clip")
    digest = clip_digest(root / "models/cg3d_clip")
    for seed, accuracy in ((0, 40.0), (1, 70.0), (2, 70.0)):
        folder = root / f"models/cg3d/seed-{seed}"
        prompts = torch.randn(2, 3, 32, generator=torch.Generator().manual_seed(seed))
        encoder = create_point_encoder(NETWORK, student.width, seed=seed)
        save_point_model(PointModel(encoder, NETWORK, student.width, digest, prompts), folder)
        write_preprocessing(lab.settings, folder)
        (folder / "checkpoints").mkdir()
        rows = [{"epoch": 1.0}, {"epoch": 2.0, "validation_accuracy": accuracy}]
        (folder / "checkpoints/history.json").write_text(json.dumps(rows))
    return root


@pytest.fixture(scope="module")
def encoder(made: Path) -> c2p.Encoder:
    return c2p.load(made / "models/cg3d")


def test_the_best_seed_is_taken_and_of_equals_the_first(made: Path, encoder: c2p.Encoder) -> None:
    assert find_point_folder(made / "models/cg3d") == made / "models/cg3d/seed-1"
    assert find_point_folder(made / "models/cg3d/seed-0") == made / "models/cg3d/seed-0"
    assert find_point_folder(made / "models") is None
    own = c2p.load(made / "models/cg3d/seed-1")
    cloud = np.random.default_rng(0).normal(size=(1200, 3))
    assert own.encode_points(cloud).tobytes() == encoder.encode_points(cloud).tobytes()


def test_features_are_those_of_the_network(encoder: c2p.Encoder) -> None:
    clouds = np.random.default_rng(5).normal(size=(3, 1200, 3)).astype(np.float32)
    network = create_point_encoder(NETWORK, encoder.width, seed=1).eval()
    for cloud, got in zip(clouds, encoder.encode_points(clouds), strict=True):
        read = torch.from_numpy(farthest_cloud(cloud, encoder.points))
        with torch.no_grad():
            expected = nn.functional.normalize(network(read[None]), dim=-1)[0]
        np.testing.assert_allclose(got, expected.numpy(), atol=1e-6)
    logits = encoder.logits(clouds, ["box", "pole"])
    assert logits.shape == (3, 2) and (np.abs(logits) <= 1).all()
    assert encoder.classify(clouds, ["box", "pole"]).sum(1) == pytest.approx(1)


def test_pictures_go_through_the_trained_prompts(made: Path, encoder: c2p.Encoder) -> None:
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 256, (20, 20, 3), dtype=np.uint8))
    clip = load_clip(made / "models/cg3d_clip")
    prompts = torch.randn(2, 3, 32, generator=torch.Generator().manual_seed(1))
    square = next(iter(square_pictures(picture, clip.resize_mode)))
    pixels = torch.from_numpy(square.copy()).permute(2, 0, 1)[None].float() / 255
    tower = PromptedTower(clip, tokens=3)
    with torch.no_grad():
        tower.prompts.copy_(prompts)
        expected = nn.functional.normalize(tower(prepare_images(pixels, clip)), dim=-1)
        plain = nn.functional.normalize(clip.model.encode_image(prepare_images(pixels, clip)), dim=-1)
    got = encoder.encode_images(picture)
    np.testing.assert_allclose(got, expected.numpy(), atol=1e-6)
    assert np.abs(got - plain.numpy()).max() > 1e-3
    assert encoder.encode_text("a box").tobytes() == encode_text(clip, ["a box"]).numpy().tobytes()
    with pytest.raises(ModelError, match=r"prompts: got shape \(1, 3, 32\); allowed: \(2, 3, 32\)"):
        PromptedTower.with_prompts(clip, prompts[:1])


def test_another_clip_is_refused(made: Path, tmp_path: Path, lab: "Lab") -> None:
    with pytest.raises(ModelError, match="not the CLIP that"):
        c2p.load(made / "models/cg3d", teacher=lab.clip)
    shutil.copytree(made / "models/cg3d/seed-0", tmp_path / "alone")
    with pytest.raises(ModelError, match="needs the CLIP it was trained with"):
        c2p.load(tmp_path / "alone")
    assert c2p.load(tmp_path / "alone", teacher=made / "models/cg3d_clip").point_model is not None
    shutil.copytree(made / "models/cg3d_clip", tmp_path / "clip")
    assert c2p.load(tmp_path / "alone").point_model is not None, "a folder `clip` beside it is found"
    shutil.copytree(made / "models/cg3d", tmp_path / "cg3d")
    (tmp_path / "cg3d/seed-2/checkpoints/history.json").write_text("[")
    with pytest.raises(ModelError, match=r"no readable history .* name one seed's folder"):
        c2p.load(tmp_path / "cg3d")


def test_the_commands_use_it(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], lab: "Lab"
) -> None:
    shutil.copytree(made / "models", tmp_path / "models")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shapes").mkdir()
    for number in range(3):
        np.save(tmp_path / f"shapes/{number}.npy", np.random.default_rng(number).normal(size=(1100, 3)))
    words = ["--model", "cg3d", "--json"]
    assert main(["classify", "shapes/0.npy", "--labels", "box,pole", "--show", "seen.png", *words]) == 0
    told = json.loads(capsys.readouterr().out)
    assert sum(label["probability"] for label in told[0]["labels"]) == pytest.approx(1)
    assert Image.open("seen.png").width > 400
    for query in (["a box"], ["--shape", "shapes/1.npy"], ["--image", "seen.png"]):
        assert main(["retrieve", *query, "--in", "shapes", *words]) == 0
        found = json.loads(capsys.readouterr().out)
        assert len(found["results"]) == 3 and found["encoded"] == (3 if query == ["a box"] else 0)
    assert main(["retrieve", "--shape", "shapes/1.npy", "--in", "shapes", *words]) == 0
    best = json.loads(capsys.readouterr().out)["results"][0]
    assert best["file"] == "1.npy" and best["cosine"] == pytest.approx(1, abs=1e-5)
    foreign = ["--model", "cg3d", "--teacher", str(lab.clip)]
    assert main(["classify", "shapes/0.npy", "--labels", "box,pole", *foreign]) == 2
    assert "not the CLIP that" in capsys.readouterr().err
