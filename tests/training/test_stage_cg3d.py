"""The stages cg3d_clip and cg3d: what they leave, what they resume, and what is left out."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import yaml

from c2p.cg3d_params import Cg3dStudent, PointEncoder
from c2p.data.manifest import read_manifest, read_pictures
from c2p.data.views import ViewReader
from c2p.models.clip import encode_images, encode_text, load_clip
from c2p.models.folder import ModelError, clip_digest
from c2p.models.network import prepare_images
from c2p.models.point_model import PointModel, create_point_encoder, encode_clouds, load_point_model, save_point_model
from c2p.training.student import create_student, train_student
from tasks.shard_map import serial
from tasks.stage import Call, run_stage

STUDENT = Cg3dStudent(size=16, patch=8, width=32, layers=1, epochs=3, batch=16, lr=2e-3, seed=0)


def _change(project: Path, **values: object) -> None:
    path = project / "params.yaml"
    known = yaml.safe_load(path.read_text())
    known["cg3d"] |= values
    path.write_text(yaml.safe_dump(known))


def _run(project: Path, *stages: str) -> None:
    for stage in stages:
        name, _, seed = stage.partition("@")
        run_stage(Call(name, {"seed": seed} if seed else {}), root=project, map_=serial)


def test_a_student_speaks_its_teachers_language(project: Path) -> None:
    _run(project, "cg3d_clip")
    teacher, student = load_clip(project / "models/clip"), load_clip(project / "models/cg3d_clip")
    assert isinstance(student.model.visual, open_clip.transformer.VisionTransformer)
    assert (student.image_size, student.width, student.mean) == ((16, 16), teacher.width, teacher.mean)
    assert torch.equal(encode_text(student, ["a box"]), encode_text(teacher, ["a box"]))
    plain, _, _ = open_clip.create_model_and_transforms(f"local-dir:{project / 'models/cg3d_clip'}")
    pictures = torch.rand(3, 3, 16, 16)
    theirs = plain.eval().encode_image(prepare_images(pictures, student))
    torch.testing.assert_close(encode_images(student, pictures), theirs, rtol=1e-4, atol=1e-5)
    told = json.loads((project / "metrics/cg3d_clip.json").read_text())
    assert told["clip"] == "student" and 0 <= told["validation_one_view"] <= 100 and told["final_loss"] < 2


def test_a_student_learns_and_resumes_to_the_same_bits(project: Path, tmp_path: Path) -> None:
    teacher = load_clip(project / "models/clip")
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randint(256, (40, 3, 16, 16), generator=generator, dtype=torch.uint8)
    targets = encode_images(teacher, pictures / 255)

    def trained(folder: Path, stop: int = 0) -> tuple[dict[str, torch.Tensor], list[dict[str, float]]]:
        def on_step(step: int, steps: int) -> None:
            if step == stop:
                raise KeyboardInterrupt

        student = create_student(teacher, STUDENT)
        rows = train_student(student, pictures, targets, STUDENT, folder=folder, on_step=on_step)
        return student.model.visual.state_dict(), rows

    whole, history = trained(tmp_path / "whole")
    assert history[-1]["loss"] < history[0]["loss"]
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "cut", stop=4)  # in the second of three epochs of two steps
    resumed, rows = trained(tmp_path / "cut")
    assert rows == history and all(torch.equal(whole[name], resumed[name]) for name in whole)
    with pytest.raises(ValueError, match=r"cg3d_student\.batch: got 41; allowed: at most the 40 pictures"):
        train_student(
            create_student(teacher, STUDENT), pictures, targets, replace(STUDENT, batch=41), folder=tmp_path / "new"
        )


def test_the_teacher_itself_comes_byte_by_byte(project: Path) -> None:
    _change(project, clip="teacher", tuned="nothing")
    _run(project, "cg3d_clip", "cg3d@0")
    assert clip_digest(project / "models/cg3d_clip") == clip_digest(project / "models/clip")
    assert load_point_model(project / "models/cg3d/seed-0").prompts is None


def test_a_chosen_encoder_is_that_of_its_checkpoint(project: Path) -> None:
    _run(project, "cg3d_clip", "cg3d@1")
    folder = project / "models/cg3d/seed-1"
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["c2p_config.json", "checkpoints", "point_encoder.json", "point_encoder.safetensors"]
    model = load_point_model(folder)
    assert model.clip == clip_digest(project / "models/cg3d_clip")
    assert model.prompts is not None and model.prompts.shape == (1, 5, 32)
    rows = json.loads((folder / "checkpoints/history.json").read_text())
    assert [row["epoch"] for row in rows] == [1, 2] and all(row["image"] > 0 and row["text"] > 0 for row in rows)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for path in before:
        path.unlink()
    _run(project, "cg3d@1")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_more_views_than_were_rendered_are_refused(project: Path) -> None:
    _run(project, "cg3d_clip")
    _change(project, views=11)
    with pytest.raises(ValueError, match=r"cg3d\.views: got 11; allowed: 1 to 10, those of render\.views"):
        _run(project, "cg3d@0")


def test_left_out_it_is_empty_at_once(project: Path) -> None:
    _change(project, run=False)
    _run(project, "cg3d_clip", "cg3d@0")
    assert json.loads((project / "metrics/cg3d_clip.json").read_text()) == {}
    assert list((project / "models/cg3d_clip").iterdir()) == list((project / "models/cg3d/seed-0").iterdir()) == []


@pytest.mark.parametrize("kind", ["transformer", "mlp"])
def test_an_encoders_folder_gives_it_back(tmp_path: Path, kind: str) -> None:
    settings = PointEncoder(
        kind=kind,
        width=16,
        depth=2,
        neighbours=4,
        heads=2,
        groups=6,
        token_width=8,
        blocks=1,  # type: ignore[arg-type]
    )
    encoder = create_point_encoder(settings, 24, seed=3).eval()
    clouds = torch.randn(3, 32, 3, generator=torch.Generator().manual_seed(1))
    prompts = torch.ones(1, 2, 3)
    save_point_model(PointModel(encoder, settings, 24, "digest", prompts), tmp_path / "one")
    model = load_point_model(tmp_path / "one")
    assert torch.equal(encode_clouds(model.encoder, clouds), encode_clouds(encoder, clouds))
    assert (model.settings, model.width, model.clip) == (settings, 24, "digest") and torch.equal(model.prompts, prompts)
    save_point_model(model, tmp_path / "two")
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
    again, other = (create_point_encoder(settings, 24, seed=seed).state_dict() for seed in (3, 4))
    assert all(torch.equal(again[name], tensor) for name, tensor in encoder.state_dict().items())
    assert any(not torch.equal(other[name], tensor) for name, tensor in again.items())


def test_damaged_folders_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no point_encoder\.json there"):
        load_point_model(tmp_path)
    settings = PointEncoder(
        kind="transformer", width=16, depth=1, neighbours=4, heads=2, groups=6, token_width=8, blocks=1
    )
    save_point_model(PointModel(create_point_encoder(settings, 24, seed=0), settings, 24, "", None), tmp_path)
    config, weights = tmp_path / "point_encoder.json", tmp_path / "point_encoder.safetensors"
    whole = config.read_text()
    for text in ("", "[]", "{}", whole.replace('"transformer"', '"net"'), whole.replace('"depth"', '"deep"')):
        config.write_text(text)
        with pytest.raises(ModelError, match="not a 3D encoder of this version") as error:
            load_point_model(tmp_path)
        assert "\n" not in str(error.value)
    config.write_text(whole.replace('"depth": 1', '"depth": 2'))
    with pytest.raises(ModelError):
        load_point_model(tmp_path)
    config.write_text(whole)
    weights.write_bytes(weights.read_bytes()[:-9])
    with pytest.raises(ModelError, match="not readable"):
        load_point_model(tmp_path)


def test_single_views_are_those_of_the_shards(project: Path) -> None:
    manifest = read_manifest(project / "data/shards")
    rows = manifest.split("train")
    reader = ViewReader(manifest, rows)
    samples, views = np.array([3, 0, 3]), np.array([9, 2, 1])
    got = reader(samples, views)
    assert got.shape == (3, 3, 16, 16) and got.dtype == torch.uint8
    for picture, sample, view in zip(got, samples, views, strict=True):
        assert np.array_equal(picture.permute(1, 2, 0), read_pictures(manifest, rows[sample], "rgb")[view])
    with pytest.raises(ValueError, match="view 10 of 10; allowed: 0 to 9"):
        reader(np.array([0]), np.array([10]))
