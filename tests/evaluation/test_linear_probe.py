"""The linear probe against Newton's method written out, and what its choices may depend on."""

import numpy as np
import pytest

from c2p.evaluation import linear_probe
from c2p.evaluation.linear_probe import STRENGTHS, choose_strength, fit, pooled, probe_logits, standardised
from c2p.evaluation.selection import held_out

CLASSES, VIEWS, WIDTH = 4, 3, 6


def problem(seed: int, each: int = 8, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Features around one centre a class and view, (N, V, C), classes in turn; centres are the same for every seed."""
    centres = np.random.default_rng(9).normal(size=(CLASSES, VIEWS, WIDTH))
    labels = np.tile(np.arange(CLASSES), each)
    spread = noise * np.random.default_rng(seed).normal(size=(len(labels), VIEWS, WIDTH))
    return (centres[labels] + spread).astype(np.float32), labels


def newton(inputs: np.ndarray, labels: np.ndarray, classes: int, strength: float) -> np.ndarray:
    """The minimum by Newton's method with the whole Hessian, and halved steps while the loss would rise."""
    count, width = inputs.shape
    weights = np.zeros((width, classes))
    targets = np.eye(classes)[labels]

    def loss(w: np.ndarray) -> float:
        z = inputs @ w
        return float((np.log(np.exp(z).sum(1)) - z[np.arange(count), labels]).mean() + strength / 2 * (w * w).sum())

    for _ in range(60):
        shares = np.exp(inputs @ weights)
        shares /= shares.sum(1, keepdims=True)
        gradient = inputs.T @ (shares - targets) / count + strength * weights
        hessian = strength * np.eye(width * classes)
        for x, p in zip(inputs, shares, strict=True):
            hessian += np.kron(np.outer(x, x), np.diag(p) - np.outer(p, p)) / count
        step = np.linalg.solve(hessian, gradient.reshape(-1)).reshape(width, classes)
        size = 1.0
        while loss(weights - size * step) > loss(weights) and size > 1e-6:
            size /= 2
        weights = weights - size * step
    assert abs(gradient).max() < 1e-10
    return weights


@pytest.mark.parametrize("strength", [1.0, 1e-2, 1e-4])
def test_the_minimum_is_newtons(strength: float) -> None:
    train, labels = problem(0)
    inputs, _ = standardised(pooled(train, "mean"), pooled(train, "mean"))
    expected = newton(inputs, labels, CLASSES, strength)
    got = fit(inputs, labels, classes=CLASSES, strength=strength)
    assert inputs @ got == pytest.approx(inputs @ expected, abs=1e-6 / strength)
    start = np.random.default_rng(0).normal(size=expected.shape)
    again = fit(inputs, labels, classes=CLASSES, strength=strength, start=start)
    assert again == pytest.approx(expected, abs=1e-5 / strength), "whatever the start"


def test_a_class_without_objects_has_a_finite_minimum() -> None:
    train, labels = problem(0)
    present = labels != 2
    logits = probe_logits(
        train[present], labels[present], train, classes=CLASSES, pooling="mean", strength=1e-3, share=0.25
    )
    assert np.isfinite(logits).all()
    assert not (logits.argmax(1) == 2).any()


def test_views_are_pooled_at_length_one() -> None:
    features = problem(0)[0]
    mean, joined = pooled(features, "mean"), pooled(features, "concatenated")
    for n in (0, 5):
        unit = [[float(x) / sum(float(y) ** 2 for y in view) ** 0.5 for x in view] for view in features[n]]
        assert joined[n] == pytest.approx([x for view in unit for x in view], rel=1e-6)
        assert mean[n] == pytest.approx([sum(column) / VIEWS for column in zip(*unit, strict=True)], rel=1e-6)


def test_inputs_have_the_training_objects_mean_and_spread() -> None:
    train, test = np.random.default_rng(0).normal(3, 5, size=(40, 7)), np.random.default_rng(1).normal(size=(9, 7))
    first, second = standardised(train, test)
    assert first[:, :7].mean(0) == pytest.approx(np.zeros(7), abs=1e-12)
    assert (first[:, :7] ** 2).sum(1).mean() == pytest.approx(1)
    assert (first[:, 7] == 1).all()
    assert (second[:, 7] == 1).all()
    assert np.linalg.norm(second[0] - second[1]) / np.linalg.norm(first[0] - first[1]) == pytest.approx(
        np.linalg.norm(test[0] - test[1]) / np.linalg.norm(train[0] - train[1])
    )
    assert np.isfinite(standardised(train[:1], test)[0]).all(), "one object has no spread"


@pytest.mark.parametrize("pooling", ["mean", "concatenated"])
def test_it_learns_and_repeats_itself(pooling: str) -> None:
    (train, labels), (test, wanted) = problem(0, noise=0.4), problem(1, noise=0.4)
    settings = {"classes": CLASSES, "pooling": pooling, "strength": 1e-2, "share": 0.25}
    logits = probe_logits(train, labels, test, **settings)
    assert (logits.argmax(1) == wanted).mean() > 0.9
    assert logits.tobytes() == probe_logits(train, labels, test, **settings).tobytes()


def test_order_of_classes_views_and_test_objects_does_not_matter() -> None:
    (train, labels), (test, _) = problem(0), problem(1)
    settings = {"classes": CLASSES, "pooling": "mean", "strength": 1e-2, "share": 0.25}
    logits = probe_logits(train, labels, test, **settings)
    classes, views, objects = np.array([2, 0, 3, 1]), [1, 2, 0], np.random.default_rng(0).permutation(len(test))
    renamed = np.argsort(classes)[labels]
    assert probe_logits(train, renamed, test, **settings) == pytest.approx(logits[:, classes], abs=1e-3)
    assert probe_logits(train[:, views], labels, test[:, views], **settings) == pytest.approx(logits, abs=1e-3)
    assert probe_logits(train, labels, test[objects], **settings) == pytest.approx(logits[objects], abs=1e-9)


def test_one_object_classified_alone_gets_the_same_logits() -> None:
    """Nothing of the test split reaches the fit, the scaling or the choice of the strength."""
    (train, labels), (test, _) = problem(0), problem(1)
    settings = {"classes": CLASSES, "pooling": "mean", "strength": 1e-2, "share": 0.25}
    logits = probe_logits(train, labels, test, **settings)
    assert probe_logits(train, labels, test[3:4], **settings)[0] == pytest.approx(logits[3], abs=1e-9)


def test_the_strength_is_the_one_that_serves_held_out_objects_best() -> None:
    train, labels = problem(0, noise=3.0)
    inputs, _ = standardised(pooled(train, "mean"), pooled(train, "mean"))
    apart = held_out(labels, share=0.25)
    assert apart is not None
    right = []
    for strength in STRENGTHS:
        weights = newton(inputs[~apart], labels[~apart], CLASSES, strength)
        right.append(int((np.argmax(inputs[apart] @ weights, axis=1) == labels[apart]).sum()))
    chosen = choose_strength(inputs, labels, apart, classes=CLASSES)
    assert right[STRENGTHS.index(chosen)] == max(right)
    assert len(set(right)) > 1, "the problem tells strengths apart"


def test_single_objects_a_class_fall_back_on_the_given_strength() -> None:
    train, labels = problem(0, each=1)
    given = {"classes": CLASSES, "pooling": "mean", "strength": 0.03}
    tuned = probe_logits(train, labels, train, share=0.25, **given)
    assert tuned.tobytes() == probe_logits(train, labels, train, share=0.0, **given).tobytes()


def test_what_can_not_be_fitted_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    train, labels = problem(0)
    with pytest.raises(ValueError, match="0 training objects; allowed: at least 1"):
        probe_logits(train[:0], labels[:0], train, classes=CLASSES, pooling="mean", strength=1.0)
    monkeypatch.setattr(linear_probe, "STEPS", 2)
    with pytest.raises(ValueError, match=r"gradient .* after 2 steps at strength 1e-05; .* raise controls\.strength"):
        probe_logits(train, labels, train, classes=CLASSES, pooling="mean", strength=1e-5)
