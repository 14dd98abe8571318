"""Adapters: subsets, logits against loops, training that learns and repeats itself."""

import math
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from c2p import params
from c2p.evaluation.adaptation import (
    AdapterJob,
    Recipe,
    build_adapter,
    clip2point_recipe,
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
    settings = params.Adapter(10, 32, 1e-3, 1e-4, dropout=0.075, selection="last", heldout_share=0.25, draws=0)
    recipe = clip2point_recipe(settings, epochs=3)
    assert recipe.epochs == 3
    assert {learning_rate(recipe, epoch) for epoch in range(3)} == {1e-3}


@pytest.mark.parametrize("count", [2, 3, 9, 17])
def test_no_batch_holds_a_single_object(count: int) -> None:
    """A batch of one object has no batch statistics; torch would raise."""
    train, labels = problem(0)
    recipe = Recipe("adamw", epochs=1, batch=2 if count < 9 else 8, lr=1e-3, weight_decay=0.0, dropout=0.0)
    train_and_classify("global", [train[:count]], labels[:count], [train[:1]], TEXT, recipe, seed=0)


def plain_training(
    model: torch.nn.Module, passes: list[np.ndarray], labels: np.ndarray, held: list[int], recipe: Recipe, seed: int
) -> list[tuple[int, dict[str, torch.Tensor]]]:
    """Both recipes written out in double precision, a single path without dropout.

    AdamW: Loshchilov and Hutter 2019, algorithm 2; else momentum with decay in the gradient. Returns after every epoch
    how many held-out objects are right, and the weights.
    """
    text = torch.from_numpy(TEXT).double()
    taken = [n for n in range(len(labels)) if n not in held]
    weights = list(model.parameters())
    first, second = [torch.zeros_like(w) for w in weights], [torch.zeros_like(w) for w in weights]
    step, epochs = 0, []
    for epoch in range(recipe.epochs):
        lr = recipe.lr
        if recipe.warmup_lr:
            lr = recipe.lr * (1 + math.cos(math.pi * epoch / recipe.epochs)) / 2 if epoch else recipe.warmup_lr
        features = torch.from_numpy(passes[epoch % len(passes)]).double()
        order = [taken[n] for n in np.random.default_rng((seed, epoch)).permutation(len(taken))]
        model.train()
        for rows in np.array_split(order, min(-(-len(taken) // recipe.batch), len(taken) // 2)):
            step += 1
            seen = model(features[list(rows)])
            cosines = seen @ text.T / seen.norm(dim=1)[:, None] / text.norm(dim=1)
            powers = (recipe.scale * cosines).exp()
            logs = (powers / powers.sum(1, keepdim=True)).log()
            smooth = recipe.smoothing / CLASSES
            wanted = [[smooth + (1 - recipe.smoothing) * (k == labels[n]) for k in range(CLASSES)] for n in rows]
            loss = -(logs * torch.tensor(wanted)).sum(1).mean()
            gradients = torch.autograd.grad(loss, weights)
            with torch.no_grad():
                for w, g, m, v in zip(weights, gradients, first, second, strict=True):
                    if recipe.optimizer == "sgd":
                        m.mul_(0.9).add_(g + recipe.weight_decay * w)
                        w -= lr * m
                        continue
                    w -= lr * recipe.weight_decay * w
                    m.mul_(0.9).add_(0.1 * g)
                    v.mul_(0.999).add_(0.001 * g * g)
                    w -= lr * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)
        model.eval()
        right = 0
        for n in held:
            seen = model(torch.from_numpy(passes[0][n : n + 1]).double())[0].detach().numpy()
            values = [cosine(seen, prompt) for prompt in TEXT]
            right += values.index(max(values)) == labels[n]
        epochs.append((right, deepcopy(model.state_dict())))
    return epochs


ADAMW = Recipe("adamw", epochs=5, batch=8, lr=1e-3, weight_decay=1e-1, dropout=0.0)
SGD = Recipe("sgd", 5, 8, lr=0.02, weight_decay=5e-3, dropout=0.0, smoothing=0.2, scale=3.0, warmup_lr=1e-3)
CONSTANT = replace(SGD, epochs=6, warmup_lr=0.0)


@pytest.mark.parametrize(
    ("recipe", "share", "further"),
    [(ADAMW, 0.0, 0), (SGD, 0.0, 0), (SGD, 0.0, 2), (SGD, 0.34, 0), (CONSTANT, 0.34, 1)],
)
def test_training_against_its_rules_written_out(recipe: Recipe, share: float, further: int) -> None:
    """Order of the batches, passes in turn, optimiser, and the epoch that is kept.

    AdamW makes whole steps of what is rounding (a bias before a batch norm has no gradient): it is held less tightly.
    """
    (train, labels), (test, _) = problem(0), problem(1)
    shuffled = np.random.default_rng(5).permutation(len(labels))
    train, labels = train[shuffled], labels[shuffled]
    others = [np.flatnonzero(labels == (label + 1) % CLASSES)[0] for label in labels]
    passes = [train, train[others], train + np.float32(0.1)][: further + 1]
    got = train_and_classify(
        "global",
        [train],
        labels,
        [test],
        TEXT,
        recipe,
        seed=2,
        augmented=[partial(list, [p]) for p in passes[1:]],
        share=share,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model = build_adapter("global", VIEWS, WIDTH, 1, 0.0).double()
    apart: list[int] = []
    for label in range(CLASSES):
        apart += [n for n in range(len(labels)) if labels[n] == label][: int(6 * share)]
    epochs = plain_training(model, passes, labels, sorted(apart), recipe, seed=2)
    chosen = max(range(recipe.epochs), key=lambda e: (epochs[e][0], e)) if apart else recipe.epochs - 1
    assert (chosen < recipe.epochs - 1) == bool(apart and further), "a pass that teaches wrong names comes last"
    model.load_state_dict(epochs[chosen][1])
    with torch.no_grad():
        expected = view_mean_logits(model(torch.from_numpy(test).double()), torch.from_numpy(TEXT).double())
    assert got == pytest.approx(recipe.scale * expected.numpy(), abs=1e-2 if recipe is ADAMW else 2e-4)


def test_best_epoch_is_the_last_of_equals_and_said(caplog: pytest.LogCaptureFixture) -> None:
    """With a rate so small that nothing is learnt every epoch is as good; with one so large that it gets lost, not."""
    (train, labels), (test, _) = problem(0), problem(1)
    still = Recipe("sgd", epochs=4, batch=8, lr=1e-12, weight_decay=0.0, dropout=0.0)
    with caplog.at_level("INFO"):
        train_and_classify("global", [train], labels, [test], TEXT, still, seed=0, share=0.5)
    assert caplog.messages[-1].startswith("epoch 4 of 4: ")
    assert caplog.messages[-1].endswith(" of 12 held out objects right")


def test_objects_held_out_do_not_train() -> None:
    """Garbage in the held-out objects (the first of each class) changes nothing but the choice of the epoch."""
    (train, labels), (test, _) = problem(0), problem(1)
    recipe = Recipe("adamw", epochs=1, batch=8, lr=1e-2, weight_decay=0.0, dropout=0.075)
    broken = train.copy()
    broken[[0, 6, 12, 18]] = 100.0
    expected, got = (
        train_and_classify("global", [t], labels, [test], TEXT, recipe, seed=0, share=0.2) for t in (train, broken)
    )
    assert got.tobytes() == expected.tobytes(), "one epoch: nothing to choose"


def test_nothing_to_hold_out_is_said(caplog: pytest.LogCaptureFixture) -> None:
    (train, labels), (test, _) = problem(0), problem(1)
    rows = [0, 1, 6, 7, 12, 13, 18]
    arguments = ("global", [train[rows]], labels[rows], [test], TEXT, RECIPE)
    with caplog.at_level("WARNING"):
        got = train_and_classify(*arguments, seed=0, share=0.5)
    assert caplog.messages == ["a class with a single training object has none to hold out: the last epoch is taken"]
    assert got.tobytes() == train_and_classify(*arguments, seed=0).tobytes()


def test_impossible_training_is_refused() -> None:
    train, labels = problem(0)
    with pytest.raises(ValueError, match="1 training objects"):
        train_and_classify("global", [train[:1]], labels[:1], [train], TEXT, RECIPE, seed=0)
    with pytest.raises(ValueError, match="1 training objects"):
        train_and_classify("global", [train[:2]], labels[:2], [train], TEXT, RECIPE, seed=0, share=0.5)
    with pytest.raises(ValueError, match="width 8 and prompts of width 16"):
        train_and_classify("global", [train, train[..., :8]], labels, [train] * 2, TEXT, RECIPE, seed=0)
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
