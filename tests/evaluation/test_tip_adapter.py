"""Tip-Adapter's cache against loops written from its equations, and what its choices may depend on."""

import math

import numpy as np
import pytest

from c2p.evaluation.tip_adapter import ALPHAS, BETAS, Cache, choose, tip_adapter_logits
from c2p.evaluation.zeroshot import zeroshot_logits

CLASSES, VIEWS, WIDTH = 4, 3, 8
TEXT = np.random.default_rng(5).normal(size=(CLASSES, WIDTH)).astype(np.float32)


def problem(seed: int, each: int = 4) -> tuple[np.ndarray, np.ndarray]:
    centres = np.random.default_rng(9).normal(size=(CLASSES, VIEWS, WIDTH))
    labels = np.tile(np.arange(CLASSES), each)
    noise = 0.6 * np.random.default_rng(seed).normal(size=(len(labels), VIEWS, WIDTH))
    return (centres[labels] + noise).astype(np.float32), labels


def unit(vector: list[float]) -> list[float]:
    length = math.sqrt(sum(x * x for x in vector))
    return [x / length for x in vector]


def key(features: np.ndarray) -> list[float]:
    views = [unit([float(x) for x in view]) for view in features]
    return unit([sum(column) / len(views) for column in zip(*views, strict=True)])


def test_logits_are_those_of_a_loop() -> None:
    (train, labels), (test, _) = problem(0), problem(1)
    got = tip_adapter_logits(train, labels, test, TEXT, scale=20.0, alpha=1.17, beta=5.5)
    keys = [key(features) for features in train]
    for n in (0, 3, 7):
        query = key(test[n])
        for k in range(CLASSES):
            prompt = unit([float(x) for x in TEXT[k]])
            views = [unit([float(x) for x in view]) for view in test[n]]
            known = 20.0 * sum(sum(a * b for a, b in zip(view, prompt, strict=True)) for view in views) / VIEWS
            cached = sum(
                math.exp(-5.5 * (1 - sum(a * b for a, b in zip(query, one, strict=True))))
                for one, label in zip(keys, labels, strict=True)
                if label == k
            )
            assert got[n, k] == pytest.approx(known + 1.17 * cached, rel=1e-6)


def test_without_weight_it_is_zero_shot() -> None:
    (train, labels), (test, _) = problem(0), problem(1)
    got = tip_adapter_logits(train, labels, test, TEXT, scale=20.0, alpha=0.0, beta=1.0)
    assert (got == 20.0 * zeroshot_logits(test, TEXT)).all()


def test_shots_help_where_prompts_say_nothing() -> None:
    (train, labels), (test, wanted) = problem(0), problem(1)
    known = zeroshot_logits(test, TEXT).argmax(1)
    got = tip_adapter_logits(train, labels, test, TEXT, scale=2.0, alpha=1.0, beta=1.0, share=0.25).argmax(1)
    assert (got == wanted).mean() >= 0.8 > 0.5 > (known == wanted).mean()


def test_alpha_and_beta_serve_held_out_objects_best() -> None:
    (train, labels), (apart, wanted) = problem(0), problem(1, each=6)
    cache = Cache(np.array([key(f) for f in train]), np.eye(CLASSES)[labels])
    queries, known = np.array([key(f) for f in apart]), 20.0 * zeroshot_logits(apart, TEXT)
    chosen = choose(cache, queries, known, wanted)

    def right(alpha: float, beta: float) -> int:
        return int(((known + alpha * cache.logits(queries, beta=beta)).argmax(1) == wanted).sum())

    assert right(*chosen) == max(right(alpha, beta) for alpha in ALPHAS for beta in BETAS)
    assert right(*chosen) > right(0.0, 1.0)


def test_order_of_everything_but_the_shots_does_not_matter() -> None:
    (train, labels), (test, _) = problem(0), problem(1)
    settings = {"scale": 20.0, "alpha": 1.0, "beta": 1.0, "share": 0.25}
    logits = tip_adapter_logits(train, labels, test, TEXT, **settings)
    classes, views, objects = np.array([2, 0, 3, 1]), [1, 2, 0], np.random.default_rng(0).permutation(len(test))
    renamed = np.argsort(classes)[labels]
    moved = tip_adapter_logits(train, renamed, test, TEXT[classes], **settings)
    assert moved == pytest.approx(logits[:, classes], rel=1e-9)
    moved = tip_adapter_logits(train[:, views], labels, test[:, views], TEXT, **settings)
    assert moved == pytest.approx(logits, rel=1e-9)
    moved = tip_adapter_logits(train, labels, test[objects], TEXT, **settings)
    assert moved == pytest.approx(logits[objects], rel=1e-9)
    shots = np.random.default_rng(1).permutation(len(labels))
    fixed = {"scale": 20.0, "alpha": 1.0, "beta": 4.0}
    logits = tip_adapter_logits(train, labels, test, TEXT, **fixed)
    assert tip_adapter_logits(train[shots], labels[shots], test, TEXT, **fixed) == pytest.approx(logits, rel=1e-9)


def test_one_object_classified_alone_gets_the_same_logits() -> None:
    """Nothing of the test split reaches the cache or the choice of alpha and beta."""
    (train, labels), (test, _) = problem(0), problem(1)
    settings = {"scale": 20.0, "alpha": 1.0, "beta": 1.0, "share": 0.25}
    logits = tip_adapter_logits(train, labels, test, TEXT, **settings)
    assert tip_adapter_logits(train, labels, test[3:4], TEXT, **settings)[0] == pytest.approx(logits[3], rel=1e-9)


def test_single_objects_a_class_fall_back_on_the_given_values() -> None:
    train, labels = problem(0, each=1)
    fixed = {"scale": 20.0, "alpha": 1.17, "beta": 1.0}
    tuned = tip_adapter_logits(train, labels, train, TEXT, share=0.25, **fixed)
    assert tuned.tobytes() == tip_adapter_logits(train, labels, train, TEXT, **fixed).tobytes()


def test_impossible_input_is_refused() -> None:
    train, labels = problem(0)
    fixed = {"scale": 20.0, "alpha": 1.17, "beta": 1.0}
    with pytest.raises(ValueError, match="0 training objects"):
        tip_adapter_logits(train[:0], labels[:0], train, TEXT, **fixed)
    with pytest.raises(ValueError, match="width 8 and prompts of width 5"):
        tip_adapter_logits(train, labels, train, TEXT[:, :5], **fixed)
