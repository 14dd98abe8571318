"""The experiments at a tiny size, against the same numbers computed without bank, cache and jobs."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch.nn import functional

from c2p.data.benchmarks import Benchmark, read_benchmark, write_benchmark
from c2p.evaluation import bank, trained
from c2p.evaluation.features import one_thread
from c2p.evaluation.predictions import read_predictions
from c2p.evaluation.protocols import ImageFeatures, run_ablations, run_fewshot, run_fullshot, run_zeroshot
from c2p.geometry.depth import depth_images, depth_maps, pointclip_depth
from c2p.geometry.views import view_set
from c2p.models.clip import Clip, encode_images, encode_text, load_clip

FEWSHOT = {"pointclip", "clip2point_without_pretraining", "clip2point", "linear_probe_depth", "tip_adapter_clip"}
"""Table 2's methods, and the controls that the test's parameters name."""


def arguments(lab: Any, **changes: Any) -> dict[str, Any]:
    return {
        "clip_dir": lab.clip,
        "encoder_dir": lab.encoders,
        "benchmarks": lab.benchmarks,
        "cache": lab.cache,
    } | changes


def plain_accuracy(lab: Any, clip: Clip, text: torch.Tensor, path: Path, views: str, *, pointclip: bool) -> float:
    """Zero-shot accuracy, one object at a time and one cosine at a time."""
    bench = read_benchmark(path)
    rotations = torch.tensor(view_set(views).rotations, dtype=torch.float32)
    right = 0
    for points, label in zip(bench.test.points, bench.test.labels, strict=True):
        cloud = torch.as_tensor(points)[None]
        if pointclip:
            raw = pointclip_depth(cloud, rotations, size=lab.settings.pointclip.size, distance=1.6)[0, :, None]
            images = functional.interpolate(raw, clip.image_size, mode="bilinear").expand(-1, 3, -1, -1)
        else:
            images = depth_images(depth_maps(cloud, rotations, lab.settings.depth))[0]
        sums = [0.0] * len(bench.classes)
        for feature in encode_images(clip, images, standardise=not pointclip).double():
            for k, prompt in enumerate(text.double()):
                sums[k] += float(prompt @ feature / feature.norm() / prompt.norm())
        right += sums.index(max(sums)) == label
    return 100 * right / len(bench.test)


def test_zeroshot_against_one_object_at_a_time(lab: Any) -> None:
    metrics = run_zeroshot(lab.settings, **arguments(lab))
    with one_thread():
        compare_with_plain(lab, metrics)


def compare_with_plain(lab: Any, metrics: dict[str, Any]) -> None:
    clip = load_clip(lab.clip)
    classes = read_benchmark(lab.benchmarks[0]).classes
    text = encode_text(clip, [lab.settings.zeroshot.template.format(name) for name in classes])
    benchmark, validation = lab.benchmarks
    for path, views in ((benchmark, "six"), (validation, "ten")):
        expected = plain_accuracy(lab, clip, text, path, views, pointclip=False)
        assert metrics[path.stem]["clip2point_without_pretraining"]["mean"] == pytest.approx(expected, abs=1e-3)
        assert metrics[path.stem]["set"] == {"classes": 3, "train": 9, "test": 12, "chance": 33.3333}
        assert "rgb_views" not in metrics[path.stem]
    expected = plain_accuracy(lab, load_clip(lab.encoders / "seed-4"), text, benchmark, "six", pointclip=False)
    assert metrics["modelnet40"]["clip2point"]["seeds"]["4"] == pytest.approx(expected, abs=1e-3)
    text = encode_text(clip, [f"point cloud depth map of a {name}." for name in classes])
    expected = plain_accuracy(lab, clip, text, benchmark, "six", pointclip=True)
    assert metrics["modelnet40"]["pointclip"]["mean"] == pytest.approx(expected, abs=1e-3)


def test_rgb_views_are_matched_by_key(lab: Any) -> None:
    bench = read_benchmark(lab.benchmarks[1])
    clip = load_clip(lab.clip)
    text = encode_text(clip, [lab.settings.zeroshot.template.format(c) for c in bench.classes]).numpy()
    values = np.repeat(text[bench.test.labels][:, None], 4, axis=1)
    order = np.random.default_rng(0).permutation(len(bench.test))
    features = ImageFeatures([bench.test.keys[n] for n in order], values[order].astype(np.float16))
    metrics = run_zeroshot(lab.settings, image_features=features, **arguments(lab))
    assert metrics["validation"]["rgb_views"]["mean"] == 100
    assert "rgb_views" not in metrics["modelnet40"]
    with pytest.raises(ValueError, match="1 validation models without image features, the first test-000"):
        short = ImageFeatures(list(bench.test.keys[1:]), values[1:])
        run_zeroshot(lab.settings, image_features=short, **arguments(lab))


def test_same_bytes_with_and_without_a_cache(lab: Any, tmp_path: Path) -> None:
    results = []
    for cache in (tmp_path / "one", tmp_path / "two", tmp_path / "one"):
        out = tmp_path / f"{len(results)}.parquet"
        few = run_fewshot(lab.settings, predictions=out, **arguments(lab, cache=cache))
        results.append((few, out.read_bytes()))
    assert results[0] == results[1] == results[2]
    names = [sorted(p.name for p in (tmp_path / cache).iterdir()) for cache in ("one", "two")]
    assert names[0] == names[1]


def test_fewshot_takes_encoders_in_turn(lab: Any, tmp_path: Path) -> None:
    metrics = run_fewshot(lab.settings, predictions=tmp_path / "few.parquet", **arguments(lab))["modelnet40"]
    assert set(metrics) == {"set", "curve"} | FEWSHOT
    for slug in ("pointclip", "clip2point"):
        assert list(metrics[slug]["seeds"]) == ["0", "1", "2"]
    rows = read_predictions(tmp_path / "few.parquet", dataset="modelnet40", method="clip2point", seed=2)
    right = sum(row.actual == row.predicted for row in rows)
    assert metrics["clip2point"]["seeds"]["2"] == pytest.approx(100 * right / len(rows), abs=1e-3)
    for row in rows:
        assert row.top[0] == row.predicted
        assert sum(row.shares) == pytest.approx(1, abs=1e-5), "three classes: all are kept"
    with pytest.raises(ValueError, match="no predictions of clip2point on nowhere"):
        read_predictions(tmp_path / "few.parquet", dataset="nowhere", method="clip2point")


def test_curve_of_accuracy_against_shots(lab: Any, tmp_path: Path) -> None:
    metrics = run_fewshot(lab.settings, predictions=tmp_path / "few.parquet", **arguments(lab))["modelnet40"]
    assert list(metrics["curve"]) == ["1", "2", "3"]
    for k, summaries in metrics["curve"].items():
        assert set(summaries) == FEWSHOT
        alone = replace(lab.settings, fewshot=replace(lab.settings.fewshot, shots=int(k), curve=()))
        expected = run_fewshot(alone, **arguments(lab))["modelnet40"]
        assert "curve" not in expected
        assert summaries == {slug: expected[slug] for slug in FEWSHOT}, "a point is what that many shots alone give"
    assert {slug: metrics[slug] for slug in FEWSHOT} == metrics["curve"]["2"]
    rows = pq.read_table(tmp_path / "few.parquet").to_pylist()
    assert len(rows) == 5 * 3 * 12, "methods, seeds and objects of the headline's shots alone"


def test_ablations_share_cells_with_the_tables_they_vary(lab: Any) -> None:
    ablations = run_ablations(lab.settings, **arguments(lab))["modelnet40"]
    few = run_fewshot(lab.settings, **arguments(lab))["modelnet40"]
    zero = run_zeroshot(lab.settings, **arguments(lab))["modelnet40"]
    assert ablations["dual_global"] == few["clip2point"]
    assert ablations["fewshot_minimum_r2"] == few["clip2point_without_pretraining"]
    assert ablations["zeroshot_minimum_r2"] == zero["clip2point_without_pretraining"]
    assert {f"{t}_{a}_r{r}" for t in ("zeroshot", "fewshot") for a in ("weighted", "minimum") for r in (1, 2)} < set(
        ablations
    )


def test_the_control_is_the_encoder_it_is_given(lab: Any) -> None:
    """The second seed's encoder in the place of the control's: what it gives zero-shot is that seed's accuracy."""
    given = lab.encoders / f"seed-{lab.settings.pretrain.seeds[1]}"
    found = run_ablations(lab.settings, cross_only=given, **arguments(lab))["modelnet40"]["clip2point_cross_only"]
    seeds = run_zeroshot(lab.settings, **arguments(lab))["modelnet40"]["clip2point"]["seeds"]
    assert found["mean"] == seeds[str(lab.settings.pretrain.seeds[1])]
    assert list(found["seeds"]) == [str(lab.settings.pretrain.seeds[0])] and "std" not in found
    assert "clip2point_cross_only" not in run_ablations(lab.settings, **arguments(lab))["modelnet40"]


def encoders(job: Any) -> tuple[Any, ...]:
    """Those that share a job of the bank; prompts have one."""
    return getattr(job, "towers", (None,))


def test_ablations_encode_what_the_curve_does(lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the curve has more shots than the headline, and where there is no curve."""
    monkeypatch.setattr(trained, "ENCODE_ALL_SHARE", 2.0)
    encoded: list[str] = []

    def counting(function: Any, jobs: Any, *, names: Any = None) -> list[Any]:
        if function is bank.run_job:
            encoded.extend(n for job, n in zip(jobs, names, strict=True) for _ in encoders(job) if " train" in n)
        return [function(job) for job in jobs]

    few = replace(lab.settings.fewshot, shots=1, curve=(2,), seeds=(0, 1))
    for settings in (replace(lab.settings, fewshot=few), replace(lab.settings, fewshot=replace(few, curve=()))):
        encoded.clear()
        changes = {"cache": tmp_path / str(settings.fewshot.curve), "map_": counting}
        run_fewshot(settings, **arguments(lab, **changes))
        assert len(encoded) == 1 + 1 + 2, "a piece of PointCLIP's drawing, of ours under CLIP and two depth encoders"
        encoded.clear()
        run_ablations(settings, **arguments(lab, **changes))
        assert len(encoded) == 3, "but for the three other drawings of Table 5"


def test_fullshot_uses_every_training_object(lab: Any) -> None:
    full = run_fullshot(lab.settings, **arguments(lab))["modelnet40"]
    assert set(full["clip2point"]) == {"mean", "std", "seeds", "class_mean", "ece", "interval", "inputs"}
    assert set(full) == {"set", "pointclip", "clip2point", "linear_probe_depth", "tip_adapter_clip"}
    settings = replace(
        lab.settings,
        fewshot=replace(lab.settings.fewshot, shots=3, seeds=(0, 1)),
        adapter=replace(lab.settings.adapter, epochs=lab.settings.fullshot.epochs),
    )
    few = run_fewshot(settings, **arguments(lab))["modelnet40"]
    for slug in ("clip2point", "linear_probe_depth", "tip_adapter_clip"):
        assert few[slug] == full[slug], "three shots of three objects a class are all of them"


def test_inputs_follow_weights_and_benchmark(lab: Any, tmp_path: Path) -> None:
    first = run_zeroshot(lab.settings, **arguments(lab))
    shutil.copytree(lab.encoders, tmp_path / "encoders")
    for name in ("seed-0", "seed-4"):
        shutil.copytree(lab.clip, tmp_path / "encoders" / name, dirs_exist_ok=True)
    other = run_zeroshot(lab.settings, **arguments(lab, encoder_dir=tmp_path / "encoders"))
    for path in lab.benchmarks:
        mine, theirs = first[path.stem], other[path.stem]
        assert mine["clip2point"]["inputs"] != theirs["clip2point"]["inputs"]
        assert mine["pointclip"]["inputs"] == theirs["pointclip"]["inputs"]
        assert theirs["clip2point"]["mean"] == mine["clip2point_without_pretraining"]["mean"], "CLIP as depth encoder"
    assert first["modelnet40"]["pointclip"]["inputs"] != first["validation"]["pointclip"]["inputs"]
    assert len(first["modelnet40"]["pointclip"]["inputs"]) == 12


def test_only_missing_pieces_are_made(lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bank, "PIECE", 5)
    made: list[str] = []

    def counting(function: Any, jobs: Any, *, names: Any = None) -> list[Any]:
        made.extend(n for job, n in zip(jobs, names, strict=True) for _ in encoders(job))
        return [function(job) for job in jobs]

    changes = {"cache": tmp_path / "cache", "map_": counting, "benchmarks": lab.benchmarks[:1]}
    first = run_zeroshot(lab.settings, **arguments(lab, **changes))
    assert len(made) == 3 + 5 * 3, "three prompts, five encodings of twelve objects in pieces of five"
    victim = sorted((tmp_path / "cache").glob("*.npy"))[3]
    victim.unlink()
    made.clear()
    assert run_zeroshot(lab.settings, **arguments(lab, **changes)) == first
    assert len(made) == 1
    assert victim.exists()


def test_what_a_piece_was_made_from_stands_beside_it(lab: Any, tmp_path: Path) -> None:
    run_zeroshot(lab.settings, **arguments(lab, cache=tmp_path, benchmarks=lab.benchmarks[:1]))
    found = {path.stem: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    drawn = sorted((facts["encoder"], facts["drawing"]["drawing"]) for facts in found.values())
    assert drawn == [
        *(("clip", drawing) for drawing in ("clip2point", "pointclip", "pointclip_v2")),
        *((encoder, "clip2point") for encoder in ("seed-0", "seed-4")),
    ]
    for stem, facts in found.items():
        assert len(np.load(tmp_path / f"{stem}.npy")) == len(facts["rows"]) == 12
        assert (facts["set"], facts["split"], facts["augmentation"]) == ("modelnet40.parquet", "test", None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"benchmarks": [Path("nowhere.parquet")]}, "nowhere.parquet: no such benchmark set"),
        ({"encoder_dir": Path("nowhere")}, "no open_clip_config.json"),
    ],
)
def test_missing_files_are_named(lab: Any, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run_zeroshot(lab.settings, **arguments(lab, **change))


def test_a_dataset_that_is_not_there(lab: Any) -> None:
    with pytest.raises(ValueError, match=r"modelnet40: not among the benchmark files \(validation\)"):
        run_fewshot(lab.settings, **arguments(lab, benchmarks=lab.benchmarks[1:]))


def rewritten(lab: Any, folder: Path, change: Any) -> list[Path]:
    """The few-shot set with its Benchmark changed."""
    return [write_benchmark(folder / "modelnet40.parquet", change(read_benchmark(lab.benchmarks[0])))]


def test_one_class_is_no_classification(lab: Any, tmp_path: Path) -> None:
    def alone(bench: Benchmark) -> Benchmark:
        parts = [replace(part, labels=np.zeros_like(part.labels)) for part in (bench.train, bench.test)]
        return Benchmark(bench.name, bench.classes[:1], *parts)

    files = rewritten(lab, tmp_path, alone)
    for protocol in (run_zeroshot, run_fewshot, run_fullshot, run_ablations):
        with pytest.raises(ValueError, match=r"^modelnet40: 1 class \(box\); allowed: at least 2"):
            protocol(lab.settings, **arguments(lab, benchmarks=files, cache=tmp_path / "cache"))
    assert not (tmp_path / "cache").exists(), "nothing is encoded before it is found"


def test_a_class_nothing_can_be_learnt_of(lab: Any, tmp_path: Path) -> None:
    files = rewritten(lab, tmp_path, lambda bench: replace(bench, classes=(*bench.classes, "ring")))
    for protocol in (run_fewshot, run_fullshot, run_ablations):
        with pytest.raises(ValueError, match=r"^modelnet40: 1 classes without training objects \(ring\); allowed"):
            protocol(lab.settings, **arguments(lab, benchmarks=files))
    zero = run_zeroshot(lab.settings, **arguments(lab, benchmarks=files))["modelnet40"]
    assert zero["set"]["classes"] == 4, "zero-shot needs no training objects"


def test_more_shots_than_any_class_has(lab: Any) -> None:
    for few in ({"shots": 4}, {"curve": (1, 4)}):
        settings = replace(lab.settings, fewshot=replace(lab.settings.fewshot, **few))
        with pytest.raises(ValueError, match=r"^modelnet40: 4 shots; allowed: 1 to 3, .* lower fewshot"):
            run_fewshot(settings, **arguments(lab))


def test_an_encoder_of_another_width(lab: Any, tmp_path: Path) -> None:
    shutil.copytree(lab.encoders, tmp_path / "encoders")
    config = tmp_path / "encoders" / "seed-4" / "open_clip_config.json"
    config.write_text(config.read_text().replace('"embed_dim": 128', '"embed_dim": 64'))
    for protocol in (run_zeroshot, run_fewshot):
        with pytest.raises(ValueError, match=r"seed-4: features of width 64; allowed: 128, the width of .*/clip;"):
            protocol(lab.settings, **arguments(lab, encoder_dir=tmp_path / "encoders"))
    config.write_text("{}")
    with pytest.raises(ValueError, match=r"open_clip_config.json: no model_cfg.embed_dim"):
        run_zeroshot(lab.settings, **arguments(lab, encoder_dir=tmp_path / "encoders"))
