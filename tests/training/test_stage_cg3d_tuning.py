"""The stages cg3d_finetune and cg3d_ablations: figures, what is resumed after a kill, and what is left out."""

import json
import random
import shutil
import time
from collections.abc import Sequence
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import tasks.cg3d
from c2p.data.benchmarks import Benchmark, read_benchmark, write_benchmark
from c2p.data.manifest import read_manifest, read_points, read_rgb
from c2p.data.pointset import PointSet
from c2p.evaluation.predictions import read_predictions
from c2p.models.clip import encode_images, encode_text, load_clip
from c2p.training.triplets import Triplets
from tasks.shard_map import serial
from tasks.stage import Call, run_stage

CLASSES = ("plate", "box", "pole")
VARIANTS = ("everything-both", "prompts-both", "prompts-image", "prompts-text", "nothing-both")
STAGES = ("cg3d_finetune", "cg3d_ablations")
EXTENTS = np.array([[1.0, 0.1, 1.0], [1.0, 1.0, 1.0], [0.1, 1.0, 0.1]])
PATIENCE = 300.0
"""Seconds that a busy machine may take."""


def _objects(each: int, prefix: str, seed: int) -> PointSet:
    labels = np.repeat(np.arange(3), each)
    points = np.random.default_rng(seed).uniform(-1, 1, (len(labels), 64, 3)) * EXTENTS[labels][:, None]
    points /= np.linalg.norm(points, axis=2).max(1)[:, None, None]
    return PointSet(tuple(f"{prefix}-{n:02d}" for n in range(len(labels))), points.astype(np.float32), labels)


@pytest.fixture(scope="module")
def ready(made_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The made project with a benchmark set and 3D encoders."""
    root = tmp_path_factory.mktemp("ready") / "project"
    shutil.copytree(made_project, root)
    values = yaml.safe_load((root / "params.yaml").read_text())
    values["cg3d_finetune"] |= {"shares": [0.1, 1.0], "epochs": 1, "least_steps": 2, "batch": 4, "seeds": [0, 1, 2]}
    values["cg3d_ablations"] |= {"seeds": [0, 3], "epochs": 1, "held_out_classes": 1}
    (root / "params.yaml").write_text(yaml.safe_dump(values))
    bench = Benchmark("modelnet40", CLASSES, _objects(5, "train", 0), _objects(4, "test", 1))
    write_benchmark(root / "data/benchmarks/modelnet40.parquet", bench)
    for call in (Call("cg3d_clip"), Call("cg3d", {"seed": "0"}), Call("cg3d", {"seed": "1"})):
        run_stage(call, root=root, map_=serial)
    return root


@pytest.fixture(scope="module")
def done(ready: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with both stages run."""
    root = tmp_path_factory.mktemp("done") / "project"
    shutil.copytree(ready, root)
    for stage in STAGES:
        run_here(root, stage)
    return root


@pytest.fixture
def fresh(ready: Path, tmp_path: Path) -> Path:
    shutil.copytree(ready, tmp_path / "project")
    return tmp_path / "project"


def run_here(root: Path, stage: str) -> None:
    torch.set_num_threads(1)
    run_stage(Call(stage), root=root, map_=serial)


def _metrics(root: Path, stage: str) -> Any:
    return json.loads((root / f"metrics/{stage}.json").read_text())


def _left(root: Path, stage: str) -> list[bytes]:
    return [(root / name).read_bytes() for name in (f"metrics/{stage}.json", f"data/predictions/{stage}.parquet")]


def _pieces(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (root / ".c2p/evaluation").glob("[!.]*.[ns]*")}


def test_figures_of_fine_tuning_are_those_of_its_predictions(done: Path) -> None:
    found = _metrics(done, "cg3d_finetune")["modelnet40"]
    assert found["set"] == {"classes": 3, "train": 15, "test": 12, "chance": 33.3333}
    assert {share: (told["objects"], told["steps"]) for share, told in found["shares"].items()} == {
        "0.1": (3, 2),
        "1": (15, 4),
    }
    path, inputs = done / "data/predictions/cg3d_finetune.parquet", set()
    for share, told in found["shares"].items():
        right: dict[str, dict[str, float]] = {}
        for start in ("cg3d", "scratch"):
            right[start] = {}
            for seed in (0, 1, 2):
                rows = read_predictions(path, dataset="modelnet40", method=f"{start}_{share}", seed=seed)
                assert [row.key for row in rows] == list(_objects(4, "test", 1).keys)
                right[start][str(seed)] = 100 * np.mean([row.predicted == row.actual for row in rows])
            assert told[start]["seeds"] == pytest.approx(right[start], abs=1e-3)
            assert told[start]["mean"] == pytest.approx(np.mean(list(right[start].values())), abs=1e-3)
            assert {"std", "class_mean", "ece", "interval"} <= told[start].keys()
            inputs.add(told[start]["inputs"])
        gains = {seed: right["cg3d"][seed] - right["scratch"][seed] for seed in right["cg3d"]}
        assert told["gain"]["seeds"] == pytest.approx(gains, abs=1e-3)
    assert len(inputs) == 2, "with CG3D's weights and without"


def test_every_training_of_fine_tuning_differs_and_is_kept(done: Path, fresh: Path) -> None:
    heard: list[Any] = []

    def hearing(function: Any, jobs: Sequence[Any], *, names: Sequence[str]) -> list[Any]:
        heard.extend(zip(jobs, names, strict=True))
        return serial(function, jobs, names=names)

    run_stage(Call("cg3d_finetune"), root=fresh, map_=hearing)
    assert _left(fresh, "cg3d_finetune") == _left(done, "cg3d_finetune")
    jobs = [job for job, _ in heard]
    assert len({job.out for job in jobs}) == len(jobs) == 2 * 2 * 3 and len({name for _, name in heard}) == 12
    starts = {job.seed: job.start.name for job in jobs if job.start is not None}
    assert starts == {0: "seed-0", 1: "seed-1", 2: "seed-0"}, "in turn"
    bench = read_benchmark(fresh / "data/benchmarks/modelnet40.parquet")
    assert all(set(bench.train.labels[job.rows]) == {0, 1, 2} for job in jobs)
    logits = [np.load(job.out).tobytes() for job in jobs]
    assert len(set(logits)) == len(logits)
    heard.clear()
    run_stage(Call("cg3d_finetune"), root=fresh, map_=hearing)
    assert heard == [] and _left(fresh, "cg3d_finetune") == _left(done, "cg3d_finetune")
    values = yaml.safe_load((fresh / "params.yaml").read_text())
    values["cg3d_finetune"]["shares"] = [0.1, 0.5, 1.0]
    (fresh / "params.yaml").write_text(yaml.safe_dump(values))
    run_stage(Call("cg3d_finetune"), root=fresh, map_=hearing)
    assert len(heard) == 6, "of the new share alone"


def test_figures_of_the_ablations(done: Path) -> None:
    found = _metrics(done, "cg3d_ablations")
    (left_out,) = found["held_out_classes"]
    assert found["epochs"] == 1 and tuple(found["variants"]) == tuple(sorted(VARIANTS))
    assert found["variants"]["prompts-text"] == {"tuned": "prompts", "alignment": "text"}
    path = done / "data/predictions/cg3d_ablations.parquet"
    strange = sum(row["label"] == left_out for row in read_manifest(done / "data/shards").split("val"))
    counts = {name: told["set"]["test"] for name, told in found["zeroshot"].items()}
    assert counts == {"validation": 5 - strange, "validation_held_out": strange, "modelnet40": 12} and strange
    for slug in VARIANTS:
        for seed in (0, 3):
            rows = read_predictions(path, dataset="validation", method=slug, seed=seed)
            for name, wanted in (("validation", False), ("validation_held_out", True)):
                right = [row.predicted == row.actual for row in rows if (row.actual == left_out) == wanted]
                told = found["zeroshot"][name][slug]["seeds"][str(seed)]
                assert told == pytest.approx(100 * np.mean(right), abs=1e-3)
    below = found["zeroshot"]["modelnet40"]
    assert "below" not in below["prompts-both"]
    for slug in ("prompts-text", "nothing-both"):
        lost = below["prompts-both"]["mean"] - below[slug]["mean"]
        assert below[slug]["below"]["mean"] == pytest.approx(lost, abs=1e-3)


def test_before_tuning_is_the_clip_itself_and_nothing_tuned_forgets_nothing(done: Path) -> None:
    pairs = _metrics(done, "cg3d_ablations")["pairs"]
    (left_out,) = _metrics(done, "cg3d_ablations")["held_out_classes"]
    clip, manifest = load_clip(done / "models/cg3d_clip"), read_manifest(done / "data/shards")
    rows = manifest.split("val")
    text = torch.nn.functional.normalize(encode_text(clip, [f"image of a {name}" for name in manifest.classes]), dim=-1)
    right: dict[str, list[bool]] = {"seen": [], "held_out": []}
    for row, views in zip(rows, read_rgb(manifest, rows), strict=True):
        features = encode_images(clip, torch.from_numpy(views[:3]).permute(0, 3, 1, 2) / 255)
        named = (torch.nn.functional.normalize(features, dim=-1) @ text.T).argmax(1)
        group = "held_out" if row["label"] == left_out else "seen"
        right[group] += [manifest.classes[place] == row["label"] for place in named]
    for group, hits in right.items():
        told = pairs[group]
        assert told["set"]["pictures"] == len(hits) == 3 * told["set"]["models"]
        assert told["before"]["image_to_text"]["mean"] == pytest.approx(100 * np.mean(hits), abs=1e-3)
        plain = told["nothing-both"]
        assert plain["likeness"] == 1 and set(plain["forgotten"]["seeds"].values()) == {0}
        assert plain["text_to_image"]["mean"] == told["before"]["text_to_image"]["mean"]
        for slug in ("prompts-both", "everything-both"):
            assert told[slug]["likeness"] < 1
            lost = told["before"]["image_to_text"]["mean"] - told[slug]["image_to_text"]["mean"]
            assert told[slug]["forgotten"]["mean"] == pytest.approx(lost, abs=1e-3)


def test_classes_left_out_are_not_trained_on(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Triplets] = []
    real = tasks.cg3d.train_triplets

    def spying(encoder: Any, clip: Any, data: Triplets, *args: Any, **named: Any) -> Any:
        seen.append(data)
        return real(encoder, clip, data, *args, **named)

    monkeypatch.setattr(tasks.cg3d, "train_triplets", spying)
    run_here(fresh, "cg3d_ablations")
    (left_out,) = _metrics(fresh, "cg3d_ablations")["held_out_classes"]
    manifest = read_manifest(fresh / "data/shards")
    whole = read_points(manifest, "train")
    rows = [n for n, row in enumerate(manifest.split("train")) if row["label"] != left_out]
    pictures = list(read_rgb(manifest, [manifest.split("train")[n] for n in rows]))
    assert len(seen) == 10 and 0 < len(rows) < len(whole.labels)
    for data in seen:
        assert np.array_equal(data.points, whole.points[rows]) and np.array_equal(data.labels, whole.labels[rows])
        shown = data.read_views(np.arange(len(rows)), np.full(len(rows), 2))
        assert np.array_equal(shown.permute(0, 2, 3, 1), [views[2] for views in pictures]), "views of the same models"


@pytest.mark.parametrize("stage", STAGES)
def test_killed_anywhere_it_goes_on_to_the_same_bytes(
    stage: str, done: Path, fresh: Path, forks: ForkServerContext
) -> None:
    number = len(_pieces(done))
    finished = random.randrange(number // 3)
    process = forks.Process(target=run_here, args=(fresh, stage))
    process.start()
    limit = time.monotonic() + PATIENCE
    while len(_pieces(fresh)) < finished and process.is_alive() and time.monotonic() < limit:
        process.join(0.002)
    process.join(random.random() * 0.1)
    process.kill()
    process.join()
    kept = _pieces(fresh)
    assert len(kept) >= finished and process.exitcode in (0, -9)
    run_here(fresh, stage)
    assert _left(fresh, stage) == _left(done, stage), f"killed with {len(kept)} trainings finished"
    assert {path: _pieces(fresh)[path] for path in kept} == kept, "nothing is made twice"


def test_nothing_left_out_asks_about_seen_classes_alone(fresh: Path) -> None:
    values = yaml.safe_load((fresh / "params.yaml").read_text())
    values["cg3d_ablations"] |= {"held_out_classes": 0, "seeds": [0]}
    (fresh / "params.yaml").write_text(yaml.safe_dump(values))
    run_here(fresh, "cg3d_ablations")
    found = _metrics(fresh, "cg3d_ablations")
    assert found["held_out_classes"] == [] and list(found["pairs"]) == ["seen"]
    assert sorted(found["zeroshot"]) == ["modelnet40", "validation"]
    assert "std" not in found["zeroshot"]["validation"]["prompts-both"]
    values["cg3d_ablations"]["held_out_classes"] = 2
    (fresh / "params.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(ValueError, match=r"cg3d_ablations\.held_out_classes: got 2 of 3 classes; allowed: 0 to 1"):
        run_here(fresh, "cg3d_ablations")


def test_without_cg3d_both_are_empty_at_once(fresh: Path) -> None:
    values = yaml.safe_load((fresh / "params.yaml").read_text())
    values["cg3d"]["run"] = False
    (fresh / "params.yaml").write_text(yaml.safe_dump(values))
    for name in ("data", "models"):
        shutil.rmtree(fresh / name)
    for stage in STAGES:
        run_here(fresh, stage)
        assert _metrics(fresh, stage) == {}
        with pytest.raises(ValueError, match="no predictions"):
            read_predictions(fresh / f"data/predictions/{stage}.parquet", dataset="modelnet40", method="cg3d_1")
