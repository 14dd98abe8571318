"""The registry, and the methods' numbers against the same steps taken one by one without bank and jobs."""

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch.nn import functional

from c2p import params
from c2p.data.benchmarks import Benchmark, read_benchmark, write_benchmark
from c2p.evaluation import methods
from c2p.evaluation.controls import control_logits
from c2p.evaluation.features import one_thread
from c2p.evaluation.methods import Method
from c2p.evaluation.predictions import read_predictions
from c2p.evaluation.prompts import POINTCLIP_V2_TEMPLATES
from c2p.evaluation.protocols import run_fewshot, run_zeroshot
from c2p.evaluation.subsets import few_shot_rows
from c2p.evaluation.view_weights import search_view_weights, weighted_logits
from c2p.evaluation.zeroshot import cosines, softmax, zeroshot_logits
from c2p.geometry.depth import depth_images, depth_maps, pointclip_depth
from c2p.geometry.views import view_set
from c2p.geometry.voxels import voxel_images
from c2p.models.clip import encode_images, encode_text, load_clip

CLASSES = ("box", "pole", "plate")
CONTROLS = tuple(get_args(params.Control))


def arguments(lab: Any, **changes: Any) -> dict[str, Any]:
    given = {"clip_dir": lab.clip, "encoder_dir": lab.encoders, "benchmarks": lab.benchmarks[:1], "cache": lab.cache}
    return given | changes


def with_controls(lab: Any, *names: str) -> params.Params:
    settings: params.Params = lab.settings
    return replace(
        settings,
        controls=replace(settings.controls, methods=names),
        fewshot=replace(settings.fewshot, shots=2, curve=(), seeds=(1,)),
    )


def features(lab: Any, encoder: Path, points: np.ndarray, drawing: str, views: str) -> np.ndarray:
    """(N, V, C) drawn and encoded object by object."""
    clip, rotations = load_clip(encoder), torch.tensor(view_set(views).rotations, dtype=torch.float32)
    rows = []
    for cloud in torch.from_numpy(points):
        if drawing == "pointclip_v2":
            grey = voxel_images(cloud[None], rotations)[0, :, None]
            images = functional.interpolate(grey, clip.image_size, mode="bilinear", align_corners=True)
        elif drawing == "pointclip":
            grey = pointclip_depth(cloud[None], rotations, size=lab.settings.pointclip.size, distance=1.6)[0, :, None]
            images = functional.interpolate(grey, clip.image_size, mode="bilinear", align_corners=False)
        else:
            images = depth_images(depth_maps(cloud[None], rotations, lab.settings.depth))[0]
        rows.append(encode_images(clip, images.expand(-1, 3, -1, -1), standardise=drawing == "clip2point").numpy())
    return np.stack(rows)


def prompts(lab: Any, *templates: str) -> np.ndarray:
    clip = load_clip(lab.clip)
    rows = [encode_text(clip, [text.format(name) for text in templates]).double().sum(0) for name in CLASSES]
    return np.stack([(row / row.norm()).numpy() for row in rows])


def test_a_slug_means_one_method_without_and_one_with_training_objects() -> None:
    rows = [(method.slug, method.learns) for method in methods.METHODS]
    assert len(set(rows)) == len(rows)
    for method in methods.METHODS:
        assert methods.pick(method.slug, learns=method.learns) is method
    assert methods.pick("linear_probe_clip", learns=False) is None
    assert methods.pick("pointclip_searched_on_test", learns=True) is None
    with pytest.raises(ValueError, match=r"method: got 'clip3point'; allowed: pointclip, pointclip_v2, .*tip_adapter"):
        methods.pick("clip3point", learns=True)


def test_every_combination_of_paths_and_adapters_can_be_reached() -> None:
    reached = {(method.paths, method.head) for method in methods.METHODS if method.drawing == "clip2point"}
    for paths in (("clip",), ("depth",), ("clip", "depth"), ("clip", "clip")):
        assert {(paths, "global"), (paths, "inter")} <= reached
    for paths in (("clip",), ("depth",)):
        assert {(paths, "none"), (paths, "linear"), (paths, "cache")} <= reached


def test_parameters_name_the_controls_there_are() -> None:
    assert set(CONTROLS) == {method.slug for method in (*methods.CONTROLS, methods.SEARCHED_ON_TEST)}
    marked = [method for method in methods.METHODS if method.searched_on_test]
    assert marked == [methods.SEARCHED_ON_TEST]
    assert "searched on the test set, not comparable" in marked[0].label


def test_views_of_each_kind(lab: Any) -> None:
    def views(method: Method, dataset: str = "modelnet40") -> str:
        return method.views(lab.settings, dataset)

    assert (views(methods.WITH), views(methods.POINTCLIP_V2), views(methods.ADAPTED[0])) == ("six", "tilted", "ten")
    assert views(methods.WITH, "validation") == "ten"
    assert views(methods.find(methods.CONTROLS, "pointclip_searched_on_shots")) == "six"
    assert views(methods.find(methods.CONTROLS, "linear_probe_depth")) == "ten"
    assert views(methods.find(methods.CONTROLS, "pointclip_v2")) == "tilted"


def test_zero_shot_methods_step_by_step(lab: Any, tmp_path: Path) -> None:
    out = tmp_path / "zero.parquet"
    settings = with_controls(lab, *CONTROLS)
    metrics = run_zeroshot(settings, predictions=out, **arguments(lab))["modelnet40"]
    assert set(metrics) == {"set", *(m.slug for m in methods.ZEROSHOT), "pointclip_searched_on_test"}
    test = read_benchmark(lab.benchmarks[0]).test
    with one_thread():
        seen = features(lab, lab.clip, test.points, "pointclip_v2", "tilted")
        expected = scale(lab) * zeroshot_logits(seen, prompts(lab, *POINTCLIP_V2_TEMPLATES))
        same_shares(out, "pointclip_v2", None, expected)
        flat = cosines(features(lab, lab.clip, test.points, "pointclip", "six"), prompts(lab, PLAIN))
        weights = search_view_weights(flat, test.labels, scale=scale(lab))
    same_shares(out, "pointclip_searched_on_test", None, scale(lab) * weighted_logits(flat, weights))
    searched = metrics["pointclip_searched_on_test"]
    assert searched["searched_on"] == "test"
    assert searched["view_weights"] == pytest.approx(weights, abs=1e-6)
    assert searched["mean"] >= metrics["pointclip"]["mean"]


PLAIN = "point cloud depth map of a {}."


def scale(lab: Any) -> float:
    return float(load_clip(lab.clip).model.logit_scale.exp())


def same_shares(path: Path, method: str, seed: int | None, logits: np.ndarray) -> None:
    """Every object's classes and their probabilities are those of softmax of the logits.

    To 1e-5: a linear probe's optimiser carries on what features in batches of another size round differently.
    """
    rows = read_predictions(path, dataset="modelnet40", method=method, seed=seed)
    expected = softmax(logits)
    for row, shares in zip(rows, expected, strict=True):
        got = dict(zip(row.top, row.shares, strict=True))
        assert [got[name] for name in CLASSES] == pytest.approx(shares.tolist(), abs=1e-5), method
    assert np.ptp(expected, axis=0).max() > 5e-5, "objects are told apart"


def test_controls_step_by_step(lab: Any, tmp_path: Path) -> None:
    out = tmp_path / "few.parquet"
    settings = with_controls(lab, *CONTROLS)
    metrics = run_fewshot(settings, predictions=out, **arguments(lab))["modelnet40"]
    assert set(metrics) == {"set", *(m.slug for m in methods.ADAPTED), *(m.slug for m in methods.CONTROLS)}
    bench, seed = read_benchmark(lab.benchmarks[0]), 1
    rows = few_shot_rows(bench.train.keys, bench.train.labels, shots=2, seed=seed)
    labels = bench.train.labels[rows]
    for slug, drawing, views, head in (
        ("pointclip_searched_on_shots", "pointclip", "six", "views"),
        ("linear_probe_clip", "clip2point", "ten", "linear"),
        ("linear_probe_depth", "clip2point", "ten", "linear"),
        ("tip_adapter_depth", "clip2point", "ten", "cache"),
    ):
        encoder = lab.encoders / "seed-0" if slug.endswith("depth") else lab.clip
        text = prompts(lab, PLAIN if drawing == "pointclip" else lab.settings.zeroshot.template)
        with one_thread():
            seen = [features(lab, encoder, p, drawing, views) for p in (bench.train.points[rows], bench.test.points)]
            logits = control_logits(head, seen[0], labels, seen[1], text, settings=settings.controls, scale=scale(lab))
        same_shares(out, slug, seed, logits * (scale(lab) if head == "views" else 1))


def test_test_labels_reach_no_method_but_the_one_that_says_so(lab: Any, tmp_path: Path) -> None:
    """With the test objects' labels in another order, every method says the same of every object."""
    bench = read_benchmark(lab.benchmarks[0])
    moved = replace(bench.test, labels=np.random.default_rng(3).permutation(bench.test.labels))
    other = write_benchmark(tmp_path / "modelnet40.parquet", Benchmark(bench.name, bench.classes, bench.train, moved))
    settings = with_controls(lab, *CONTROLS)
    weights = []
    said: list[dict[str, list[list[float]]]] = []
    for number, path in enumerate((lab.benchmarks[0], other)):
        changes = arguments(lab, benchmarks=[path], cache=tmp_path / f"cache-{number}")
        found: dict[str, list[list[float]]] = {}
        for run, rows in ((run_zeroshot, methods.ZEROSHOT), (run_fewshot, (*methods.ADAPTED, *methods.CONTROLS))):
            out = tmp_path / f"{run.__name__}-{number}.parquet"
            metrics = run(settings, predictions=out, **changes)["modelnet40"]
            if run is run_zeroshot:
                weights.append(metrics["pointclip_searched_on_test"]["view_weights"])
            for method in rows:
                shares = read_predictions(out, dataset="modelnet40", method=method.slug)
                found[f"{run.__name__} {method.slug}"] = [[*row.shares, *map(len, row.top)] for row in shares]
        said.append(found)
    assert said[0] == said[1]
    assert weights[0] != weights[1], "searched on the test set"
