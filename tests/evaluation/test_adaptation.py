"""Adapters: subsets, logits against loops, training that learns and repeats itself."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from c2p import params
from c2p.evaluation.adaptation import (
    AdapterJob,
    Recipe,
    all_rows,
    build_adapter,
    clip2point_recipe,
    few_shot_rows,
    learning_rate,
    pointclip_recipe,
    run_job,
    train_and_classify,
    view_mean_logits,
)

RECIPE = Recipe("adamw", epochs=30, batch=8, lr=3e-3, weight_decay=1e-4, dropout=0.075)
CLASSES, VIEWS, WIDTH = 4, 3, 16


def problem(seed: int, each: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Features around one centre a class and view; centres are the same for every seed."""
    centres = np.random.default_rng(99).normal(size=(CLASSES, VIEWS, WIDTH))
    labels = np.repeat(np.arange(CLASSES), each)
    noise = np.random.default_rng(seed).normal(size=(len(labels), VIEWS, WIDTH))
    return (centres[labels] + 0.5 * noise).astype(np.float32), labels


TEXT = np.random.default_rng(98).normal(size=(CLASSES, WIDTH)).astype(np.float32)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(sum(a * b) / math.sqrt(sum(a * a)) / math.sqrt(sum(b * b)))


def test_equation_16_and_19_are_cosines_of_the_global_feature() -> None:
    features = torch.randn(5, WIDTH, generator=torch.Generator().manual_seed(0))
    got = view_mean_logits(features, torch.from_numpy(TEXT)).numpy()
    for n in range(5):
        for k in range(CLASSES):
            assert got[n, k] == pytest.approx(cosine(features[n].numpy(), TEXT[k]), abs=1e-6)


def test_equation_4_without_searched_weights_is_the_mean_over_views() -> None:
    features = torch.randn(5, VIEWS, WIDTH, generator=torch.Generator().manual_seed(0))
    got = view_mean_logits(features, torch.from_numpy(TEXT)).numpy()
    for n in range(5):
        for k in range(CLASSES):
            expected = sum(cosine(features[n, v].numpy(), TEXT[k]) for v in range(VIEWS)) / VIEWS
            assert got[n, k] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("adapter", ["global", "inter"])
def test_dual_path_is_the_mean_of_its_paths(adapter: str) -> None:
    """Eq. 17 to 19: both paths' global features averaged before the cosine."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        dual = build_adapter(adapter, VIEWS, WIDTH, 2, 0.0).eval()
    clip, depth = torch.from_numpy(problem(0)[0]), torch.from_numpy(problem(1)[0])
    with torch.no_grad():
        expected = (dual.path_c(clip).double() + dual.path_d(depth).double()) / 2
        assert torch.allclose(dual(clip, depth).double(), expected, atol=1e-6)
        assert not torch.allclose(dual(clip, depth), dual(depth, clip)), "paths have their own weights"


def test_k_shot_takes_k_of_each_class() -> None:
    labels = np.array([0] * 9 + [1] * 5 + [2] * 7)
    keys = [f"object-{n}" for n in range(21)]
    rows = few_shot_rows(keys, labels, shots=4, seed=0)
    assert np.bincount(labels[rows]).tolist() == [4, 4, 4]
    assert len(set(rows.tolist())) == 12
    assert set(rows.tolist()) != set(few_shot_rows(keys, labels, shots=4, seed=1).tolist())


def test_small_class_gives_all_it_has_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    labels = np.array([0, 0, 0, 1])
    with caplog.at_level("WARNING"):
        rows = few_shot_rows(list("abcd"), labels, shots=2, seed=0)
    assert np.bincount(labels[rows]).tolist() == [2, 1]
    assert "class 1 has 1 training objects, fewer than 2 shots" in caplog.text


def test_subset_does_not_depend_on_the_order_of_objects_or_classes() -> None:
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(5), 8)
    keys = np.array([f"object-{n}" for n in range(40)])
    expected = keys[few_shot_rows(list(keys), labels, shots=3, seed=7)]
    moved = generator.permutation(40)
    rows = few_shot_rows(list(keys[moved]), (labels[moved] + 2) % 5, shots=3, seed=7)
    assert keys[moved][rows].tolist() == expected.tolist(), "same objects in the same order"
    assert sorted(all_rows(list(keys), seed=7).tolist()) == list(range(40))


@pytest.mark.parametrize(("adapter", "paths"), [("global", 1), ("global", 2), ("inter", 1), ("inter", 2)])
def test_training_learns_and_repeats_itself(adapter: str, paths: int) -> None:
    (train, labels), (test, wanted) = problem(0), problem(1)
    before = torch.random.get_rng_state()
    first = train_and_classify(adapter, [train] * paths, labels, [test] * paths, TEXT, RECIPE, seed=0)
    assert (torch.random.get_rng_state() == before).all(), "the global generator is left alone"
    assert (first.argmax(1) == wanted).mean() >= 0.9
    again = train_and_classify(adapter, [train] * paths, labels, [test] * paths, TEXT, RECIPE, seed=0)
    assert first.tobytes() == again.tobytes()
    other = train_and_classify(adapter, [train] * paths, labels, [test] * paths, TEXT, RECIPE, seed=1)
    assert first.tobytes() != other.tobytes()


def test_order_of_classes_does_not_matter() -> None:
    """Up to rounding, which AdamW would blow up where a gradient is zero in exact arithmetic: so plain SGD here."""
    (train, labels), (test, _) = problem(0), problem(1)
    recipe = Recipe("sgd", epochs=5, batch=8, lr=1e-2, weight_decay=0.0, dropout=0.0)
    logits = train_and_classify("global", [train], labels, [test], TEXT, recipe, seed=0)
    classes = np.array([2, 0, 3, 1])
    renamed = np.argsort(classes)[labels]
    moved = train_and_classify("global", [train], renamed, [test], TEXT[classes], recipe, seed=0)
    assert moved == pytest.approx(logits[:, classes], abs=1e-4)


def test_test_objects_have_no_influence_on_training() -> None:
    (train, labels), (test, _) = problem(0), problem(1)
    all_at_once = train_and_classify("global", [train], labels, [test], TEXT, RECIPE, seed=0)
    one = train_and_classify("global", [train], labels, [test[5:6]], TEXT, RECIPE, seed=0)
    assert one[0] == pytest.approx(all_at_once[5], abs=1e-5)


def test_pointclip_recipe_learns() -> None:
    (train, labels), (test, wanted) = problem(0), problem(1)
    recipe = pointclip_recipe(params.Pointclip(epochs=80, size=64, adapter_size=64, prompts=""), scale=20.0)
    logits = train_and_classify("inter", [train], labels, [test], TEXT, recipe, seed=0)
    assert (logits.argmax(1) == wanted).mean() >= 0.9
    assert abs(logits).max() <= 20.0 + 1e-4


def test_pointclip_rate_warms_up_and_falls() -> None:
    recipe = pointclip_recipe(params.Pointclip(epochs=10, size=64, adapter_size=64, prompts=""), scale=20.0)
    rates = [learning_rate(recipe, epoch) for epoch in range(10)]
    assert rates[0] == 1e-5
    assert rates[5] == pytest.approx(0.005)
    assert rates[1:] == sorted(rates[1:], reverse=True)
    assert rates[-1] > 0


def test_clip2point_rate_is_constant() -> None:
    settings = params.Adapter(epochs=10, batch=32, lr=1e-3, weight_decay=1e-4, dropout=0.075)
    recipe = clip2point_recipe(settings, epochs=3)
    assert recipe.epochs == 3
    assert {learning_rate(recipe, epoch) for epoch in range(3)} == {1e-3}


@pytest.mark.parametrize("count", [2, 3, 9, 17])
def test_no_batch_holds_a_single_object(count: int) -> None:
    """A batch of one object has no batch statistics; torch would raise."""
    train, labels = problem(0)
    recipe = Recipe("adamw", epochs=1, batch=2 if count < 9 else 8, lr=1e-3, weight_decay=0.0, dropout=0.0)
    train_and_classify("global", [train[:count]], labels[:count], [train[:1]], TEXT, recipe, seed=0)


def test_impossible_training_is_refused() -> None:
    train, labels = problem(0)
    with pytest.raises(ValueError, match="1 training objects"):
        train_and_classify("global", [train[:1]], labels[:1], [train], TEXT, RECIPE, seed=0)
    with pytest.raises(ValueError, match="width 16 and prompts of width 8"):
        train_and_classify("global", [train], labels, [train], TEXT[:, :8], RECIPE, seed=0)


def test_a_job_reads_pieces_and_leaves_a_finished_result(tmp_path: Path) -> None:
    (train, labels), (test, _) = problem(0), problem(1)
    places = [tmp_path / f"{name}.npy" for name in ("a", "b", "test", "text")]
    for path, values in zip(places, (train[:10], train[10:], test, TEXT), strict=True):
        np.save(path, values)
    rows = np.array([20, 3, 0, 11, 7, 16], dtype=np.int64)
    out = tmp_path / "out.npy"
    job = AdapterJob(
        "global", ((places[0], places[1]),), ((places[2],),), rows, labels[rows], places[3], RECIPE, 0, out
    )
    logits = np.load(run_job(job))
    expected = train_and_classify("global", [train[rows]], labels[rows], [test], TEXT, RECIPE, seed=0)
    assert logits.tobytes() == expected.tobytes()
    stamp = out.stat().st_mtime_ns
    run_job(job)
    assert out.stat().st_mtime_ns == stamp
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npy", "b.npy", "out.npy", "test.npy", "text.npy"]
