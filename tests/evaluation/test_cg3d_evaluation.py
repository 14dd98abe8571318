"""The stage cg3d_evaluate on a project made here, held against loops over single clouds, texts and pictures."""

import json
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from made_lab import CLASSES, REPOSITORY, Lab, clouds

from c2p import params
from c2p.cg3d_params import Cg3dStudent, PointEncoder
from c2p.data.benchmarks import Benchmark, write_benchmark
from c2p.data.manifest import read_manifest, read_pictures, shard_rows, write_manifest
from c2p.data.pictures import encode_png
from c2p.data.tars import add_member, encode_npy
from c2p.evaluation.cg3d_features import open_speakers, view_features
from c2p.evaluation.predictions import read_predictions
from c2p.evaluation.ranking import MEASURES
from c2p.models.clip import encode_images, encode_text, load_clip, save_clip
from c2p.models.folder import clip_digest
from c2p.models.network import prepare_images
from c2p.models.point_model import PointModel, create_point_encoder, load_point_model, save_point_model
from c2p.models.visual_prompts import PromptedTower
from c2p.training.student import create_student
from tasks.shard_map import serial
from tasks.stage import Call, run_stage

SIZE = PointEncoder(kind="transformer", width=16, depth=1, neighbours=4, heads=2, groups=6, token_width=8, blocks=1)
STUDENT = Cg3dStudent(size=16, patch=8, width=32, layers=2, epochs=1, batch=2, lr=1e-3, seed=0)
SEEDS = (0, 4)
VIEWS = 3


@pytest.fixture(scope="module")
def project(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project's folder with all that the stage reads; its outputs are there too."""
    root = tmp_path_factory.mktemp("cg3d")
    values = yaml.safe_load((REPOSITORY / "profiles/demo.yaml").read_text())
    values["cg3d"]["seeds"] = list(SEEDS)
    (root / "params.yaml").write_text(yaml.safe_dump(values))
    clip = create_student(load_clip(lab.clip), STUDENT)
    save_clip(clip, root / "models/cg3d_clip")
    for seed in SEEDS:
        prompts = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(seed)) if seed else None
        encoder = create_point_encoder(SIZE, clip.width, seed=seed)
        model = PointModel(encoder, SIZE, clip.width, clip_digest(root / "models/cg3d_clip"), prompts)
        save_point_model(model, root / f"models/cg3d/seed-{seed}")
    for number, name in enumerate(("modelnet40", "validation")):
        bench = Benchmark(name, CLASSES, clouds(number, 2, "train"), clouds(10 + number, 4, name))
        write_benchmark(root / f"data/benchmarks/{name}.parquet", bench)
    _write_shards(root / "data/shards", clouds(11, 4, "validation").keys)
    run_stage(Call("cg3d_evaluate"), root=root, map_=serial)
    return root


def _write_shards(folder: Path, keys: tuple[str, ...]) -> None:
    """RGB views and captions of the validation models; two models share a caption, one has none."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    with tarfile.open(folder / "val-000000.tar", "w") as file:
        for key in keys:
            add_member(file, f"{key}.points.npy", encode_npy(np.zeros((4, 3), np.float32)))
            for view in range(VIEWS):
                picture = generator.integers(0, 256, (20, 20, 3), dtype=np.uint8)
                add_member(file, f"{key}.rgb.{view:02d}.png", encode_png(picture))
    captions = {key: [f"a thing like {n // 2}", f"number {n}"] for n, key in enumerate(keys)} | {keys[5]: []}
    rows = [
        {
            "key": key,
            "label": CLASSES[n // 4],
            "split": "val",
            "shard": "val-000000.tar",
            "captions": captions[key],
            **at,
        }
        for n, (key, at) in enumerate(shard_rows(folder / "val-000000.tar").items())
    ]
    write_manifest(folder, CLASSES, rows[::-1])


def _metrics(project: Path, name: str) -> dict[str, Any]:
    return json.loads((project / f"metrics/cg3d_{name}.json").read_text())


def _rankings(project: Path, **wanted: object) -> list[dict[str, Any]]:
    rows = pq.read_table(project / "data/predictions/cg3d_retrieval.parquet").to_pylist()
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def _unit(values: torch.Tensor) -> np.ndarray:
    return torch.nn.functional.normalize(values.double(), dim=-1).numpy()


def _cloud(project: Path, seed: int, cloud: np.ndarray) -> np.ndarray:
    """One cloud's feature, alone in its batch."""
    model = load_point_model(project / f"models/cg3d/seed-{seed}")
    with torch.no_grad():
        return _unit(model.encoder(torch.from_numpy(cloud[None])))[0]


def test_zero_shot_is_the_nearest_prompt(project: Path) -> None:
    settings = params.load(project / "params.yaml")
    text = _unit(encode_text(load_clip(project / "models/cg3d_clip"), [f"image of a {name}" for name in CLASSES]))
    metrics = _metrics(project, "zeroshot")
    assert settings.zeroshot.template == "image of a {}" and sorted(metrics) == ["modelnet40", "validation"]
    for number, dataset in enumerate(("modelnet40", "validation")):
        test = clouds(10 + number, 4, dataset)
        shares = []
        for seed in SEEDS:
            cosines = np.array([[_cloud(project, seed, cloud) @ one for one in text] for cloud in test.points])
            rows = read_predictions(
                project / "data/predictions/cg3d.parquet", dataset=dataset, method="cg3d", seed=seed
            )
            assert [row.key for row in rows] == list(test.keys)
            assert [row.predicted for row in rows] == [CLASSES[k] for k in cosines.argmax(1)]
            shares.append(100 * float((cosines.argmax(1) == test.labels).mean()))
        found = metrics[dataset]["cg3d"]
        assert found["mean"] == pytest.approx(np.mean(shares), abs=1e-3)
        assert found["std"] == pytest.approx(np.std(shares, ddof=1), abs=1e-3)
        assert found["seeds"] == pytest.approx(dict(zip(("0", "4"), shares, strict=True)), abs=1e-3)
        assert metrics[dataset]["set"] == {"classes": 3, "train": 6, "test": 12, "chance": 33.3333}
        assert set(found) >= {"interval", "class_mean", "ece", "inputs"}


def test_each_set_has_the_tasks_that_it_allows(project: Path) -> None:
    metrics = _metrics(project, "retrieval")
    tasks = {
        dataset: {slug.rpartition("_")[0] for slug in found if slug != "set"} for dataset, found in metrics.items()
    }
    assert tasks == {
        "modelnet40": {"text_class", "shape_class"},
        "validation": {"text_object", "text_class", "image_object", "image_class", "shape_class"},
    }
    found = metrics["validation"]
    queries = {slug: value["queries"] for slug, value in found.items() if slug.endswith("_r5")}
    assert queries == {
        "text_object_r5": 6 + 11,
        "text_class_r5": 3,
        "image_object_r5": 36,
        "image_class_r5": 36,
        "shape_class_r5": 12,
    }
    assert found["text_class_r5"]["chance"] == pytest.approx(
        100 * (1 - (8 * 7 * 6 * 5 * 4) / (12 * 11 * 10 * 9 * 8)), abs=1e-3
    )
    assert found["image_object_r1"]["chance"] == pytest.approx(100 / 12, abs=1e-3)
    assert found["shape_class_r1"]["chance"] == pytest.approx(100 * 3 / 11, abs=1e-3)
    assert all(found[f"text_object_{m}"].keys() >= {"mean", "std", "interval", "inputs"} for m in MEASURES)


def test_queries_find_what_single_features_find(project: Path) -> None:
    """Each task's nearest shapes, their cosines and which are relevant, from features made one by one."""
    test = clouds(11, 4, "validation")
    clip, manifest = load_clip(project / "models/cg3d_clip"), read_manifest(project / "data/shards")
    by_key = {row["key"]: row for row in manifest.rows}
    labels = dict(zip(test.keys, test.labels.tolist(), strict=True))
    for seed in SEEDS:
        model = load_point_model(project / f"models/cg3d/seed-{seed}")
        shapes = {key: _cloud(project, seed, cloud) for key, cloud in zip(test.keys, test.points, strict=True)}
        rows = _rankings(project, dataset="validation", seed=seed)
        for row in [*rows[::7], *(one for one in rows if one["task"] == "text_class")]:
            name, task = row["query"], row["task"]
            if task.startswith("text"):
                text = name if task == "text_object" else f"image of a {name}"
                query = _unit(encode_text(clip, [text]))[0]
                relevant = {k for k in labels if name in by_key[k]["captions"] or CLASSES[labels[k]] == name}
            elif task.startswith("image"):
                view = read_pictures(manifest, by_key[name], "rgb")[row["view"]]
                picture = torch.from_numpy(view).permute(2, 0, 1)[None].float() / 255
                if model.prompts is None:
                    query = _unit(encode_images(clip, picture))[0]
                else:
                    tower = PromptedTower(clip, tokens=5)
                    tower.prompts.data = model.prompts
                    query = _unit(tower(prepare_images(picture, clip)).detach())[0]
                same_class = {k for k in labels if labels[k] == labels[name]}
                relevant = {name} if task == "image_object" else same_class
            else:
                query = shapes[name]
                relevant = {k for k in labels if labels[k] == labels[name]}
            able = sorted(key for key in labels if task != "shape_class" or key != name)
            wanted = sorted(able, key=lambda key: (-round(float(shapes[key] @ query), 5), key))[:10]
            cosines = [float(shapes[key] @ query) for key in wanted]
            assert row["cosines"] == pytest.approx(cosines, abs=1e-4)
            assert row["relevant"] == [key in relevant for key in row["keys"]]
            assert len(set(row["keys"])) == 10 and (task != "shape_class" or name not in row["keys"])
            assert [float(shapes[key] @ query) for key in row["keys"]] == pytest.approx(cosines, abs=1e-4)


def test_recall_is_what_the_rows_say(project: Path) -> None:
    metrics = _metrics(project, "retrieval")
    for dataset, found in metrics.items():
        for task in {slug.rpartition("_")[0] for slug in found if slug != "set"}:
            for k in (1, 5, 10):
                for seed in SEEDS:
                    rows = _rankings(project, dataset=dataset, task=task, seed=seed)
                    share = 100 * np.mean([any(row["relevant"][:k]) for row in rows])
                    assert found[f"{task}_r{k}"]["seeds"][str(seed)] == pytest.approx(share, abs=1e-3)


def test_the_same_bytes_whatever_the_order_in_the_files(project: Path, tmp_path: Path) -> None:
    """Another order of the objects changes no metric of retrieval, and a second run nothing at all."""
    shutil.copytree(project, tmp_path / "again")
    for name in ("metrics", "data/predictions"):
        shutil.rmtree(tmp_path / "again" / name)
    run_stage(Call("cg3d_evaluate"), root=tmp_path / "again", map_=serial)
    made = [path for name in ("metrics", "data/predictions") for path in sorted((project / name).iterdir())]
    assert len(made) == 4
    for path in made:
        assert (tmp_path / "again" / path.relative_to(project)).read_bytes() == path.read_bytes()
    for number, name in enumerate(("modelnet40", "validation")):
        test = clouds(10 + number, 4, name)
        order = np.random.default_rng(1).permutation(len(test))
        keys = tuple(test.keys[place] for place in order)
        shuffled = replace(test, keys=keys, points=test.points[order], labels=test.labels[order])
        bench = Benchmark(name, CLASSES, clouds(number, 2, "train"), shuffled)
        write_benchmark(tmp_path / f"again/data/benchmarks/{name}.parquet", bench)
    run_stage(Call("cg3d_evaluate"), root=tmp_path / "again", map_=serial)
    before, after = _metrics(project, "retrieval"), _metrics(tmp_path / "again", "retrieval")
    for dataset, found in before.items():
        for slug, value in found.items():
            value.pop("inputs", None), after[dataset][slug].pop("inputs", None)
    assert after == before


def test_left_out_everything_is_empty(project: Path, tmp_path: Path) -> None:
    values = yaml.safe_load((project / "params.yaml").read_text())
    values["cg3d"]["run"] = False
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    run_stage(Call("cg3d_evaluate"), root=tmp_path, map_=serial)
    assert _metrics(tmp_path, "zeroshot") == _metrics(tmp_path, "retrieval") == {}
    assert _rankings(tmp_path) == []
    assert pq.read_table(tmp_path / "data/predictions/cg3d.parquet").num_rows == 0


def test_encoders_of_another_clip_are_refused(project: Path, lab: Lab) -> None:
    with pytest.raises(ValueError, match=r"seed-0: a 3D encoder of another CLIP than .*`dvc repro cg3d`"):
        open_speakers(lab.clip, project / "models/cg3d", SEEDS)


def test_views_come_in_batches_of_any_size(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    speakers = open_speakers(project / "models/cg3d_clip", project / "models/cg3d", SEEDS)
    models = np.random.default_rng(2).integers(0, 256, (5, VIEWS, 20, 20, 3), dtype=np.uint8)
    whole = view_features(speakers, models)
    monkeypatch.setattr("c2p.evaluation.cg3d_features.IMAGES_PER_BATCH", {"cpu": 2 * VIEWS})
    parts = view_features(speakers, models)
    assert set(whole) == set(SEEDS) and whole[0].shape == (5, VIEWS, speakers.clip.width)
    for seed in SEEDS:
        assert parts[seed] == pytest.approx(whole[seed], abs=1e-5)
        assert np.linalg.norm(whole[seed], axis=-1) == pytest.approx(np.ones((5, VIEWS)), abs=1e-5)
    assert np.abs(whole[0] - whole[4]).max() > 1e-3, "seed 4 has prompts"
