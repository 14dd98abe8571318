"""The Python interface against the numbers of the zero-shot stage, and against plain loops."""

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

import c2p
from c2p.data.clouds import farthest_cloud
from c2p.data.shapes import EXTENSIONS
from c2p.evaluation.bank import Bank, open_source
from c2p.evaluation.drawings import Clip2PointDrawing
from c2p.evaluation.features import read_features
from c2p.evaluation.zeroshot import zeroshot_logits
from c2p.models.clip import create_clip, encode_text, load_clip, save_clip
from c2p.models.photographs import read_photograph
from c2p.models.pictures import encode_pictures
from c2p.models.preprocessing import PREPROCESSING_FILE, preprocessing_of, read_preprocessing, write_preprocessing
from c2p.models.templates import templates_of

if TYPE_CHECKING:
    from made_lab import Lab

ROOT = Path(__file__).resolve().parents[2]
POINTS = 64
CLASSES = ("box", "pole", "plate")


@pytest.fixture(scope="module")
def clouds() -> np.ndarray:
    return np.random.default_rng(5).normal(size=(5, 200, 3)).astype(np.float32) * [3, 1, 2] + [10, -4, 2]


def test_logits_are_those_of_the_zeroshot_stage(encoder: c2p.Encoder, place: Path, lab: "Lab") -> None:
    source, settings = open_source(lab.benchmarks[0]), encoder.preprocessing
    bank = Bank(lab.cache)
    drawing = Clip2PointDrawing(settings.depth)
    pieces = bank.features(place, source, "test", drawing, settings.zeroshot.views, label="x")
    text = bank.text(place, templates_of(settings.zeroshot), CLASSES)
    bank.make(lambda function, jobs, names=None: [function(job) for job in jobs])
    expected = zeroshot_logits(read_features(pieces), np.load(text))
    points = source.read().test.points
    assert encoder.logits(points, CLASSES, normalise=False) == pytest.approx(expected, abs=1e-6)
    assert (encoder.classify(points, CLASSES, normalise=False).argmax(1) == expected.argmax(1)).all()


def test_a_raw_cloud_is_prepared_as_benchmark_sets_are(encoder: c2p.Encoder, clouds: np.ndarray) -> None:
    single = clouds.astype(np.float32)
    expected = np.stack([farthest_cloud(cloud, POINTS) for cloud in single])
    assert encoder.clouds(single).tobytes() == expected.tobytes()
    assert encoder.clouds(expected, normalise=False).tobytes() == expected.tobytes()


def test_a_feature_is_the_mean_of_its_views(encoder: c2p.Encoder, clouds: np.ndarray) -> None:
    features, views = encoder.encode_points(clouds), encoder.encode_views(clouds)
    assert features.shape == (5, encoder.width) and features.dtype == views.dtype == np.float32
    for feature, seen in zip(features, views.astype(np.float64), strict=True):
        total = sum(view / np.sqrt((view**2).sum()) for view in seen)
        assert feature == pytest.approx(total / np.sqrt((total**2).sum()), abs=1e-6)


def test_probabilities_are_a_softmax_of_scaled_cosines(encoder: c2p.Encoder, clouds: np.ndarray) -> None:
    labels = ["box", "pole", "plate"]
    shares, logits = encoder.classify(clouds, labels), encoder.logits(clouds, labels)
    scale = float(encoder.clip.model.logit_scale.exp())
    for row, values in zip(shares, logits, strict=True):
        powers = np.exp(scale * values)
        assert row == pytest.approx(powers / powers.sum(), rel=1e-9) and row.sum() == pytest.approx(1)


def test_order_of_clouds_and_labels_permutes_the_results(encoder: c2p.Encoder, clouds: np.ndarray) -> None:
    labels, order, names = ["a chair", "lamp", "table"], [3, 0, 4, 1, 2], [2, 0, 1]
    expected = encoder.classify(clouds, labels)
    got = encoder.classify(clouds[order], [labels[k] for k in names])
    assert got == pytest.approx(expected[order][:, names], abs=1e-6)
    assert np.concatenate([encoder.classify(cloud, labels) for cloud in clouds]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    "given",
    [
        lambda clouds: torch.from_numpy(clouds),
        lambda clouds: list(clouds),
        lambda clouds: [torch.from_numpy(cloud) for cloud in clouds],
        lambda clouds: clouds.tolist(),
    ],
)
def test_arrays_tensors_and_lists_are_the_same(
    encoder: c2p.Encoder, clouds: np.ndarray, given: Callable[[np.ndarray], object]
) -> None:
    assert encoder.clouds(given(clouds)).tobytes() == encoder.clouds(clouds).tobytes()


def test_neither_unit_nor_place_matters(encoder: c2p.Encoder, clouds: np.ndarray) -> None:
    plain = encoder.clouds(clouds)
    for scale, shift in ((1e-3, 0.0), (1e6, 5e5), (1e40, 0.0), (1e-40, 0.0)):
        assert encoder.clouds((clouds + shift) * scale) == pytest.approx(plain, abs=1e-5)


def test_clouds_may_differ_in_their_number_of_points(encoder: c2p.Encoder, clouds: np.ndarray) -> None:
    got = encoder.encode_points([clouds[0], clouds[1][:100]])
    assert got[1] == pytest.approx(encoder.encode_points(clouds[1][:100])[0], abs=1e-6)


def test_z_up_is_turned_as_published(encoder: c2p.Encoder, clouds: np.ndarray) -> None:
    x, y, z = np.moveaxis(clouds, -1, 0)
    turned = np.stack([-y, z, -x], -1)
    assert encoder.encode_points(clouds, up="z").tobytes() == encoder.encode_points(turned).tobytes()


def test_texts_are_encoded_as_they_stand(encoder: c2p.Encoder) -> None:
    texts = ["a red chair", "lamp"]
    got = encoder.encode_text(texts)
    assert got.tobytes() == encode_text(encoder.clip, texts).numpy().tobytes() and got.dtype == np.float32
    assert encoder.encode_text("lamp") == pytest.approx(got[1:], abs=1e-6)


def test_pictures_have_the_teachers_features(encoder: c2p.Encoder, lab: "Lab") -> None:
    pictures = np.random.default_rng(2).integers(0, 256, (2, 80, 80, 3), dtype=np.uint8)
    expected = encode_pictures(load_clip(lab.clip), [pictures])[0]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert encoder.encode_images(pictures) == pytest.approx(expected, abs=1e-6)
    assert encoder.encode_images(Image.fromarray(pictures[1])) == pytest.approx(expected[1:], abs=1e-6)
    wide = np.concatenate([np.zeros((80, 10, 3), np.uint8), pictures[0], np.zeros((80, 10, 3), np.uint8)], axis=1)
    clear = Image.new("RGBA", (30, 30), (255, 0, 0, 0))
    got = encoder.encode_images([wide, clear])
    assert got[0] == pytest.approx(expected[0], abs=1e-6), "the middle is cut out"
    assert got[1] == pytest.approx(encoder.encode_images(np.full((30, 30, 3), 255, np.uint8))[0], abs=1e-6)


def test_a_teacher_of_another_encoder_is_refused(encoder: c2p.Encoder, place: Path, tmp_path: Path, lab: "Lab") -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    alone = shutil.copytree(place, tmp_path / "alone" / "depth_encoder")
    with pytest.raises(ValueError, match=r"alone/clip: not there; .*--teacher"):
        c2p.load(alone).encode_images(picture)
    other = create_clip(replace(lab.settings.teacher, seed=77))
    save_clip(other, tmp_path / "other")
    with pytest.raises(ValueError, match="text tower is not the encoder's"):
        c2p.load(place, teacher=tmp_path / "other").encode_images(picture)
    narrow = create_clip(replace(lab.settings.teacher, model="ViT-S-32-alt", seed=1))
    save_clip(narrow, tmp_path / "narrow")
    with pytest.raises(ValueError, match=r"features of width 256, the encoder's have 128"):
        c2p.load(place, teacher=tmp_path / "narrow").encode_images(picture)


@pytest.mark.parametrize(
    ("points", "said"),
    [
        (np.eye(3)[:2], "2 points; allowed: at least 64"),
        (np.zeros((100, 3)), "all 100 points lie in one place"),
        (np.full((100, 3), np.nan), "100 of 100 points are not finite"),
        (np.zeros((3, 100)), r"shape \(3, 100\); allowed: \(P, 3\)"),
        (np.zeros((100, 6)), r"shape \(100, 6\); allowed: \(P, 3\)"),
        (np.zeros(3), r"shape \(3,\); allowed: \(P, 3\)"),
        (np.zeros((0, 100, 3)), "allowed"),
        (np.array([["a", "b", "c"]] * 100), "whole numbers and floats"),
        ([[1, 2], [3]], r"allowed: \(P, 3\)"),
        ("chair.off", "allowed"),
        (None, "allowed"),
    ],
)
def test_points_that_are_none(encoder: c2p.Encoder, points: object, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        encoder.encode_points(points)
    assert "\n" not in str(caught.value)


def test_points_outside_the_frame_they_are_said_to_be_in(encoder: c2p.Encoder, clouds: np.ndarray) -> None:
    with pytest.raises(ValueError, match="where normalise is off"):
        encoder.encode_points(clouds, normalise=False)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["chair"], "got 1; allowed: at least two"),
        (["chair", "lamp", " chair"], "'chair' is there twice"),
        (["chair", " "], "got ''"),
        (["chair", None], "got None"),
        ("chair,lamp", "allowed: a list"),
        (["chair", "lamp " * 30], "longer than the encoder reads"),
    ],
)
def test_labels_that_are_none(encoder: c2p.Encoder, clouds: np.ndarray, labels: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        encoder.classify(clouds, labels)


@pytest.mark.parametrize("texts", [[], [""], ["chair", "  "], ["word " * 40], [3]])
def test_texts_that_are_none(encoder: c2p.Encoder, texts: list[str]) -> None:
    with pytest.raises(ValueError):
        encoder.encode_text(texts)


@pytest.mark.parametrize(
    "images", [[], "a.png", np.zeros((4, 4)), np.zeros((4, 4, 3)), [np.zeros((0, 4, 3), np.uint8)]]
)
def test_pictures_that_are_none(encoder: c2p.Encoder, images: object) -> None:
    with pytest.raises(ValueError, match="allowed"):
        encoder.encode_images(images)


def test_pictures_that_are_too_large_are_not_unpacked(tmp_path: Path) -> None:
    Image.new("1", (12_000, 12_000)).save(tmp_path / "large.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "large.png").read_bytes()[:500])
    (tmp_path / "text.png").write_text("no picture")
    for name, said in (("large", "too large a picture"), ("cut", "picture"), ("text", "no readable picture")):
        with pytest.raises(ValueError, match=said) as caught:
            read_photograph(tmp_path / f"{name}.png")
        assert "\n" not in str(caught.value)


def test_a_seeds_encoder_finds_the_teacher_of_all(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place.parent, tmp_path / "models")
    shutil.copytree(place, tmp_path / "models/depth_encoder/seed-0")
    picture = np.full((64, 64, 3), 99, np.uint8)
    expected = c2p.load(place).encode_images(picture)
    assert c2p.load(tmp_path / "models/depth_encoder/seed-0").encode_images(picture).tobytes() == expected.tobytes()


def test_settings_travel_with_the_encoder(place: Path, lab: "Lab", tmp_path: Path) -> None:
    expected = preprocessing_of(replace(lab.settings, sample=replace(lab.settings.sample, points=POINTS)))
    assert read_preprocessing(place) == expected
    folder = shutil.copytree(place, tmp_path / "encoder")
    again = write_preprocessing(replace(lab.settings, sample=expected.sample), folder).read_bytes()
    assert again == (place / PREPROCESSING_FILE).read_bytes()
    for text, said in (
        ("{", "not JSON"),
        ("{}", "missing"),
        ("[]", "another version"),
        (again.decode()[:-9], "not JSON"),
    ):
        (folder / PREPROCESSING_FILE).write_text(text)
        with pytest.raises(ValueError, match=said) as caught:
            c2p.load(folder)
        assert "\n" not in str(caught.value)
    (folder / PREPROCESSING_FILE).unlink()
    with pytest.raises(ValueError, match="give the parameters it was trained with"):
        c2p.load(folder)
    assert c2p.load(folder, settings=lab.settings).points == lab.settings.sample.points


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"path": "nowhere"}, "no such folder"),
        ({"path": "."}, "no open_clip_config.json"),
        ({"device": "tpu"}, "allowed here: cpu"),
        ({"device": "cuda:99"}, "allowed here: cpu"),
        ({"settings": "absent.yaml"}, "no such parameter file"),
    ],
)
def test_what_can_not_be_loaded(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=said):
        c2p.load(**({"path": place} | options))  # type: ignore[arg-type]


def test_the_example_in_the_docs_runs(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "models").symlink_to(place.parent)
    (tmp_path / "chair.off").write_text("OFF\n4 2 0\n0 0 0\n1 0 0\n1 1 .3\n0 1 0\n3 0 1 2\n3 0 2 3\n")
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/using.md").read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, np.ndarray] = {}
    exec(example, names)  # nothing but the project's own page
    assert names["shares"].shape == (1, 2) and names["shares"].sum() == pytest.approx(1)
    for shown in re.findall(r"`\.(\w+)", (ROOT / "docs/using.md").read_text(encoding="utf-8")):
        assert hasattr(c2p.Encoder, shown) or shown in EXTENSIONS or shown == "c2p", shown
    assert capsys.readouterr().out.startswith("[[")
