"""The features stage on real shards: what it makes, when it makes it again, and what a reader refuses."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from c2p import params
from c2p.data import readahead
from c2p.data.features import (
    FILE,
    TEXT_FILE,
    FeatureError,
    read_features,
    read_text,
    renders_digest,
    write_feature_part,
    write_text_part,
)
from c2p.data.manifest import Manifest, read_manifest, read_pictures
from c2p.data.readahead import read_rgb_ahead
from c2p.data.shards import write_shard
from c2p.models.clip import Clip, create_clip, encode_text, load_clip, save_clip
from c2p.models.folder import ModelError, clip_digest
from c2p.models.pictures import encode_pictures
from c2p.models.prompts import class_text
from c2p.params import Params
from tasks import features
from tasks.shard_map import serial

TEACHER = params.Teacher(
    model="c2p-demo", pretrained="", epochs=1, batch=2, lr=1e-3, weight_decay=0.1, warmup=0.1, seed=5
)


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two teachers, and one that differs from the first in how it standardises alone."""
    folder = tmp_path_factory.mktemp("clips")
    for name, seed in (("one", 5), ("other", 6)):
        save_clip(create_clip(replace(TEACHER, seed=seed)), folder / name)
    save_clip(replace(load_clip(folder / "one"), mean=(0.5, 0.5, 0.5)), folder / "grey")
    return {path.name: path for path in folder.iterdir()}


@dataclasses.dataclass
class Project:
    root: Path
    clips: dict[str, Path]
    params: Params

    def teach(self, name: str) -> None:
        shutil.rmtree(self.root / "models/clip", ignore_errors=True)
        shutil.copytree(self.clips[name], self.root / "models/clip")

    def run(self, *, templates: tuple[str, ...] = ()) -> list[str]:
        """Run the stage into an empty folder, as DVC does; names of the files it made anew."""
        shutil.rmtree(self.root / "data/features", ignore_errors=True)
        made: list[str] = []

        def map_(function: Callable[..., Any], jobs: Any, *, names: Any = None) -> list[Any]:
            made.extend(piece.file for job in jobs for piece in job.pieces)
            return serial(function, jobs, names=names)

        zeroshot = replace(self.params.zeroshot, templates=templates)
        features.run(replace(self.params, zeroshot=zeroshot), self.root, map_)
        return made

    @property
    def folder(self) -> Path:
        return self.root / "data/features"

    @property
    def manifest(self) -> Manifest:
        return read_manifest(self.root / "data/shards")


@pytest.fixture
def project(
    tmp_path: Path, make_shards: Callable[[Path], Path], small_params: Params, clips: dict[str, Path]
) -> Project:
    made = Project(tmp_path, clips, small_params)
    make_shards(tmp_path / "data/shards")
    made.teach("one")
    return made


def _naive(clip: Clip, views: np.ndarray) -> np.ndarray:
    """View after view, pixel numbers in float64 until the tower."""
    rows = []
    for view in views:
        image = torch.from_numpy(view.astype(np.float64) / 255).permute(2, 0, 1)[None]
        image = torch.nn.functional.interpolate(image, clip.image_size, mode="bicubic", antialias=True).clamp(0, 1)
        mean, std = (torch.tensor(part, dtype=torch.float64)[:, None, None] for part in (clip.mean, clip.std))
        rows.append(clip.model.encode_image(((image - mean) / std).float())[0].numpy())
    return np.stack(rows)


def test_features_are_the_teachers_of_every_view_and_prompt(project: Project) -> None:
    assert project.run() == ["train-000000.npy", "val-000000.npy", TEXT_FILE]
    clip, manifest = load_clip(project.clips["one"]), project.manifest
    for split, count in (("train", 5), ("val", 1)):
        read = read_features(project.folder, manifest, split, teacher=clip_digest(project.clips["one"]))
        rows = manifest.split(split)
        assert read.keys == tuple(row["key"] for row in rows) and read.values.dtype == np.float16
        assert read.values.shape == (count, 10, clip.width)
        for values, row in zip(read.values, rows, strict=True):
            expected = _naive(clip, read_pictures(manifest, row, "rgb"))
            np.testing.assert_allclose(values, expected, rtol=2e-3, atol=2e-3)
    text = read_text(project.folder, manifest.classes, ["image of a {}"])
    assert text.shape == (2, 1, clip.width)
    expected = encode_text(clip, [f"image of a {name}" for name in manifest.classes]).numpy()
    assert np.array_equal(class_text(text), expected), "one template: the very bits"
    told = json.loads((project.folder / FILE).read_text())
    assert told["images"]["val-000000.npy"] == {"shape": [1, 10, 128], "dtype": "float16", "keys": ["m-6"]}
    assert told["teacher"] == clip_digest(project.clips["one"])


def test_an_ensemble_is_the_mean_of_directions(project: Project) -> None:
    templates = ("a {}", "clip-7")
    project.run(templates=templates)
    seven = [
        "itap of a {}.",
        "a bad photo of the {}.",
        "a origami {}.",
        "a photo of the large {}.",
        "a {} in a video game.",
        "art of the {}.",
        "a photo of the small {}.",
    ]
    clip, classes = load_clip(project.clips["one"]), project.manifest.classes
    got = class_text(read_text(project.folder, classes, ["a {}", *seven]))
    for row, name in zip(got, classes, strict=True):
        total = np.zeros(clip.width)
        for template in ["a {}", *seven]:
            feature = encode_text(clip, [template.format(name)]).double().numpy()[0]
            total += feature / np.linalg.norm(feature)
        np.testing.assert_allclose(row, total / np.linalg.norm(total), atol=1e-5)


def test_they_are_made_again_where_teacher_or_renders_change_and_only_there(
    project: Project, made_parts: Any, make_shards: Callable[[Path], Path]
) -> None:
    everything = ["train-000000.npy", "val-000000.npy", TEXT_FILE]
    assert project.run() == everything
    first = {path.name: path.read_bytes() for path in project.folder.iterdir()}
    assert project.run() == []
    assert {path.name: path.read_bytes() for path in project.folder.iterdir()} == first
    train = project.root / "data/shards/train-000000.tar"
    before = renders_digest(project.manifest, project.manifest.split("train"))
    settings = project.params
    _write_again(project, made_parts, replace(settings.depth, dilation=4))
    assert train.read_bytes() and project.run() == [], "other depth maps and points are no other renders"
    assert renders_digest(project.manifest, project.manifest.split("train")) == before
    assert project.run(templates=("a {}",)) == [TEXT_FILE]
    project.teach("grey")
    assert project.run() == everything, "the same weights, other numbers to standardise by"
    project.teach("other")
    assert project.run() == everything
    project.teach("one")
    assert project.run() == [], "the store keeps what was made"
    _write_again(project, made_parts, settings.depth, swap=True)
    assert project.run() == ["train-000000.npy"]


def _write_again(project: Project, made: Any, depth: params.Depth, *, swap: bool = False) -> None:
    """Write the training shard with other depth maps, or with two models' renders swapped."""
    from c2p.data.manifest import shard_rows, write_manifest

    shards = project.root / "data/shards"
    manifest = read_manifest(shards)
    samples = [next(s for s in made.samples if s.key == row["key"]) for row in manifest.split("train")]
    if swap:
        one, two, *others = samples
        samples = [replace(one, rgb=two.rgb, views=two.views), replace(two, rgb=one.rgb, views=one.views), *others]
    before = (shards / "train-000000.tar").read_bytes()
    write_shard(shards / "train-000000.tar", samples, depth, project.params.render)
    assert (shards / "train-000000.tar").read_bytes() != before
    found = shard_rows(shards / "train-000000.tar")
    rows = [{"members": manifest.members(row)} | row | found.get(row["key"], {}) for row in manifest.rows]
    write_manifest(shards, manifest.classes, [{k: v for k, v in row.items() if k != "index"} for row in rows])


def test_one_process_with_decoding_threads_makes_the_same_bytes(project: Project) -> None:
    """What a GPU gets, on the CPU: all pieces in one job, pictures decoded by threads."""
    project.run()
    expected = {path.name: path.read_bytes() for path in project.folder.iterdir()}
    shutil.rmtree(project.root / ".c2p")
    shutil.rmtree(project.folder)

    def map_(function: Callable[..., Any], jobs: Any, *, names: Any = None) -> list[Any]:
        pieces = tuple(piece for job in jobs for piece in job.pieces)
        return serial(function, [replace(jobs[0], pieces=pieces, threads=3)])

    features.run(project.params, project.root, map_)
    assert {path.name: path.read_bytes() for path in project.folder.iterdir()} == expected


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_makes_the_same_features_to_half_precision(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("C2P_DEVICE", "cpu")
    project.run()
    expected = read_features(project.folder, project.manifest, "train").values
    shutil.rmtree(project.root / ".c2p")
    monkeypatch.setenv("C2P_DEVICE", "cuda")
    assert len(project.run()) == 3
    got = read_features(project.folder, project.manifest, "train").values
    np.testing.assert_allclose(got, expected, rtol=1e-2, atol=1e-2 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("no list", "no such features; make them with `dvc repro features`"),
        ("old list", "not a list of features of this version"),
        ("no part", "no such features"),
        ("cut", "cut short or damaged"),
        ("nan", "numbers that are not finite"),
        ("rows", r"float16 \(4, 10, 128\) for 5 samples"),
        ("width", r"float16 \(5, 10, 64\) for 5 samples"),
        ("float32", "float32"),
        ("order", "features of other samples than the shards hold"),
        ("teacher", "features of another teacher"),
    ],
)
def test_damaged_or_foreign_features_are_refused_in_one_line(project: Project, damage: str, message: str) -> None:
    project.run()
    part, told = project.folder / "train-000000.npy", project.folder / FILE
    values = np.load(part)
    part.unlink()
    changed: dict[str, Callable[[], np.ndarray]] = {
        "nan": lambda: np.where(np.arange(values.size).reshape(values.shape) == 77, np.float16(np.nan), values),
        "rows": lambda: values[:4],
        "width": lambda: values[..., :64],
        "float32": lambda: values.astype(np.float32),
    }
    if damage != "no part":
        np.save(part, changed.get(damage, lambda: values)())
    if damage == "cut":
        part.write_bytes(part.read_bytes()[:-7])
    if damage == "no list":
        told.unlink()
    if damage == "old list":
        told.write_text('{"version": 0}')
    if damage == "order":
        listed = json.loads(told.read_text())
        listed["images"][part.name]["keys"].reverse()
        told.write_text(json.dumps(listed))
    teacher = clip_digest(project.clips["other" if damage == "teacher" else "one"])
    with pytest.raises(FeatureError, match=message) as caught:
        read_features(project.folder, project.manifest, "train", teacher=teacher)
    assert "\n" not in str(caught.value)


def test_text_features_belong_to_their_classes_and_templates(project: Project) -> None:
    project.run()
    classes = project.manifest.classes
    with pytest.raises(FeatureError, match="text features of other classes"):
        read_text(project.folder, classes[:1], ["image of a {}"])
    with pytest.raises(FeatureError, match="text features of other templates"):
        read_text(project.folder, classes, ["a {}"])
    (project.folder / TEXT_FILE).unlink()
    np.save(project.folder / TEXT_FILE, np.zeros((2, 2, 4), np.float32))
    with pytest.raises(FeatureError, match=r"float32 \(2, 2, 4\) for 2 classes and 1 templates"):
        read_text(project.folder, classes, ["image of a {}"])


def test_broken_teachers_are_named_before_anything_is_kept(tmp_path: Path) -> None:
    values = np.ones((2, 10, 4), np.float32)
    with pytest.raises(FeatureError, match="not finite in half precision"):
        write_feature_part(tmp_path / "a.npy", values * 70000)
    with pytest.raises(FeatureError, match="not finite"):
        write_text_part(tmp_path / "a.npy", values * np.nan)
    assert not list(tmp_path.iterdir())


class Small(torch.nn.Module):
    """A tower that has memory for a few pictures only; it is as large as its mean colour."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.room, self.sizes = room, []

    def encode_image(self, images: torch.Tensor, normalize: bool = False) -> torch.Tensor:
        self.sizes.append(len(images))
        if len(images) > self.room:
            raise torch.OutOfMemoryError("out of memory")
        return images.mean((2, 3))


def test_batches_shrink_to_the_memory_there_is() -> None:
    pictures = list(np.random.default_rng(0).integers(0, 256, (3, 4, 8, 8, 3), np.uint8))
    expected = np.stack(pictures).astype(np.float64).mean((2, 3)) / 255
    for room, sizes in ((100, [8, 4]), (3, [8, 4, 2, 2, 2, 2, 4, 2, 2])):
        tower = Small(room)
        clip = Clip(tower, None, {}, (8, 8), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "bicubic", 3)
        got = encode_pictures(clip, pictures, images_at_once=9)
        np.testing.assert_allclose(got, expected, atol=1e-6)
        assert tower.sizes == sizes
    with pytest.raises(ModelError, match="out of memory with a single picture of 8 pixels") as caught:
        encode_pictures(dataclasses.replace(clip, model=Small(0)), pictures)
    assert "\n" not in str(caught.value)
    assert torch.get_float32_matmul_precision() == "highest", "put back"


def test_reading_ahead_keeps_the_order_and_its_bound(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = project.manifest
    rows = manifest.split("train") * 8
    begun: list[str] = []

    def counted(manifest: Manifest, row: dict[str, Any], kind: str) -> np.ndarray:
        begun.append(row["key"])
        return read_pictures(manifest, row, kind)

    monkeypatch.setattr(readahead, "read_pictures", counted)
    for taken, (views, row) in enumerate(zip(read_rgb_ahead(manifest, rows, threads=2), rows, strict=True), 1):
        assert np.array_equal(views, read_pictures(manifest, row, "rgb"))
        assert len(begun) <= taken + readahead.AHEAD * 2, "it does not run away"

    def broken(manifest: Manifest, row: dict[str, Any], kind: str) -> np.ndarray:
        raise ValueError("ends within a member")

    monkeypatch.setattr(readahead, "read_pictures", broken)
    with pytest.raises(ValueError, match="ends within a member"):
        list(read_rgb_ahead(manifest, rows, threads=2))
