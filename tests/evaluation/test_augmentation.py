"""Augmented passes: what an object looks like in one, and that each is encoded once."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from c2p.data.benchmarks import read_benchmark, write_benchmark
from c2p.evaluation import bank
from c2p.evaluation.augmentation import Augmentation, Jittered, at_distance
from c2p.evaluation.bank import Bank, open_source
from c2p.evaluation.drawings import Clip2PointDrawing, PointclipDrawing
from c2p.evaluation.features import one_thread, read_features
from c2p.evaluation.protocols import run_ablations, run_fewshot
from c2p.geometry.depth import depth_images, depth_maps, pointclip_depth
from c2p.geometry.views import view_set
from c2p.models.clip import encode_images, load_clip


def test_distances_are_uniform_and_an_objects_own() -> None:
    keys = [f"object-{n}" for n in range(2000)]
    first, second = (Augmentation(number, 0.1).distances(keys) for number in (1, 2))
    for distances in (first, second):
        assert 0.9 <= distances.min() < 0.901 and 1.099 < distances.max() < 1.1
        assert distances.mean() == pytest.approx(1, abs=0.005)
        assert distances.std() == pytest.approx(0.2 / 12**0.5, abs=0.002)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.1
    moved = np.random.default_rng(0).permutation(2000)
    assert (Augmentation(1, 0.1).distances([keys[n] for n in moved]) == first[moved]).all()
    assert (Augmentation(1, 0.0).distances(keys) == 1).all()


def test_each_object_is_drawn_from_its_own_distance(lab: Any) -> None:
    points = torch.from_numpy(read_benchmark(lab.benchmarks[0]).train.points[:5])
    rotations = torch.tensor(view_set("six").rotations, dtype=torch.float32)
    factors = np.array([0.9, 1.0, 1.05, 1.09, 0.95])
    settings = lab.settings.depth
    draw = Jittered(Clip2PointDrawing(settings), factors, (32, 32))
    got = torch.cat([draw(points[:2], rotations), draw(points[2:], rotations)])
    expected = depth_images(depth_maps(points, rotations, settings, torch.from_numpy(factors).float()))
    assert torch.allclose(got, expected, atol=1e-5)
    draw = Jittered(PointclipDrawing(32, 1.4), factors, (32, 32))
    got = draw(points, rotations)
    for n, factor in enumerate(factors):
        one = pointclip_depth(points[n : n + 1], rotations, size=32, distance=1.4 * factor)
        assert torch.equal(got[n, :, 0], one[0])
    assert at_distance(PointclipDrawing(32, 1.4), 0.5) == PointclipDrawing(32, 0.7)


@pytest.fixture
def drawn_set(lab: Any, tmp_path: Path) -> tuple[Path, np.ndarray]:
    """The first benchmark set with two random draws of every training object."""
    bench = read_benchmark(lab.benchmarks[0])
    order = np.random.default_rng(3).permuted(np.tile(np.arange(64), (9, 2, 1)), axis=2)
    draws = np.take_along_axis(bench.train.points[:, None], order[..., None], axis=2)[:, :, :64]
    draws = (draws * np.array([0.5, 0.7])[None, :, None, None]).astype(np.float32)
    return write_benchmark(tmp_path / "modelnet40.parquet", bench, draws={"train": draws}), draws


def test_a_pass_sees_the_files_draws_in_turn(lab: Any, drawn_set: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    path, draws = drawn_set
    source = open_source(path)
    clip, settings = load_clip(lab.clip), lab.settings.depth
    rotations = torch.tensor(view_set("six").rotations, dtype=torch.float32)
    rows = np.array([7, 1, 4])
    for number in (1, 2, 3):
        features = Bank(tmp_path / "cache")
        augmentation = Augmentation(number, 0.1)
        pieces = features.features(
            lab.clip,
            source,
            "train",
            Clip2PointDrawing(settings),
            "six",
            label="",
            rows=rows,
            augmentation=augmentation,
        )
        features.make(bank.serial)
        got = read_features(pieces)
        keys = [read_benchmark(path).train.keys[row] for row in rows]
        for n, (row, factor) in enumerate(zip(rows, augmentation.distances(keys), strict=True)):
            cloud = torch.from_numpy(draws[row, (number - 1) % 2])[None]
            with one_thread():
                images = depth_images(depth_maps(cloud, rotations, settings, float(factor)))[0]
                expected = encode_images(clip, images).numpy()
            assert got[n] == pytest.approx(expected, abs=1e-4)


def test_passes_are_encoded_once_for_all_seeds_shots_and_stages(
    lab: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = replace(lab.settings, adapter=replace(lab.settings.adapter, draws=2))
    encoded: list[str] = []

    def counting(function: Any, jobs: Any, *, names: Any = None) -> list[Any]:
        if function is bank.run_job:
            encoded.extend(n for job, n in zip(jobs, names, strict=True) for _ in getattr(job, "towers", (None,)))
        return [function(job) for job in jobs]

    where = {"clip_dir": lab.clip, "encoder_dir": lab.encoders, "benchmarks": lab.benchmarks}
    run = where | {"cache": tmp_path / "cache", "map_": counting}
    with caplog.at_level(logging.INFO):
        augmented = run_fewshot(settings, **run)["modelnet40"]
    # Three passes of CLIP under PointCLIP's drawing, of CLIP and of two depth encoders under ours; test objects once.
    assert len([name for name in encoded if " train" in name]) == 3 * (1 + 1 + 2)
    assert len([name for name in encoded if " test" in name]) == 1 + 1 + 2
    assert len([name for name in encoded if " pass " in name]) == 2 * (1 + 1 + 2)
    assert f"objects: {3 * 4 * 9 + 4 * 12} to encode, in 16 pieces; 0 from the cache" in caplog.text
    assert "modelnet40: 45 heads to train, 0 from the cache" in caplog.text
    encoded.clear()
    caplog.clear()
    with caplog.at_level(logging.INFO):
        fewer = replace(settings, fewshot=replace(settings.fewshot, shots=3, curve=(1,), seeds=(5, 6)))
        run_fewshot(fewer, **run)
    assert not encoded, "other seeds and shots take the same passes"
    assert f"objects: 0 to encode, in 0 pieces; {3 * 4 * 9 + 4 * 12} from the cache" in caplog.text
    ablations = run_ablations(settings, **run)["modelnet40"]
    assert ablations["dual_global"] == augmented["clip2point"]
    for name in encoded:
        assert name.split()[0].startswith(("fewshot", "zeroshot", "modelnet40", "prompts")), name
    plain = run_fewshot(lab.settings, **run)["modelnet40"]
    assert plain != augmented
