"""R@1 both ways, likeness, differences and the classes left out, each against loops."""

import hashlib

import numpy as np
import pytest

from c2p.evaluation.differences import difference, spread
from c2p.evaluation.forgetting import classes_left_out, image_to_text, likeness, text_to_image
from c2p.evaluation.scores import interval

MODELS, VIEWS, WIDTH, CLASSES, CAPTIONS = 11, 3, 6, 4, 2


def _made(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(CLASSES, size=MODELS)
    captions = generator.normal(size=(CLASSES, CAPTIONS, WIDTH)).astype(np.float32)
    features = captions[labels, :1] + generator.normal(size=(MODELS, VIEWS, WIDTH)).astype(np.float32)
    return features.astype(np.float32), labels, captions


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a.astype(float) @ b.astype(float) / np.linalg.norm(a.astype(float)) / np.linalg.norm(b.astype(float)))


def test_a_picture_is_named_by_the_nearest_text_of_all_classes() -> None:
    features, labels, captions = _made()
    text = captions.mean(1)
    expected = []
    for model, label in zip(features, labels, strict=True):
        named = [max(range(CLASSES), key=lambda k, view=view: _cosine(view, text[k])) for view in model]
        expected.append(sum(name == label for name in named) / VIEWS)
    shares = image_to_text(features, labels, text)
    np.testing.assert_allclose(shares, expected)
    assert 0 < shares.mean() < 1, "else nothing was tested"
    assert np.array_equal(image_to_text(7 * features, labels, text / 3), shares), "lengths are no matter"


def test_a_caption_finds_the_nearest_picture_of_all() -> None:
    features, labels, captions = _made(1)
    expected = np.zeros((CLASSES, CAPTIONS), bool)
    for k in range(CLASSES):
        for t in range(CAPTIONS):
            places = [(_cosine(features[n, v], captions[k, t]), n) for n in range(MODELS) for v in range(VIEWS)]
            expected[k, t] = labels[max(places)[1]] == k
    found = text_to_image(features, labels, captions)
    assert np.array_equal(found, expected) and 0 < found.mean() < 1


def test_a_tower_that_pulls_all_to_one_class_has_forgotten_the_others() -> None:
    features, labels, captions = _made()
    pulled = np.broadcast_to(captions[0, 0], features.shape)
    shares = image_to_text(pulled, labels, captions[:, 0])
    assert np.array_equal(shares, labels == 0)
    lost = difference({0: np.ones(MODELS)}, {0: shares})
    assert lost["mean"] == pytest.approx(100 * (labels != 0).mean(), abs=1e-3)


def test_likeness_is_the_mean_cosine() -> None:
    (before, _, _), (after, _, _) = _made(0), _made(2)
    expected = np.mean([_cosine(before[n, v], after[n, v]) for n in range(MODELS) for v in range(VIEWS)])
    assert likeness(before, after) == pytest.approx(expected, abs=1e-6)
    assert likeness(before, 3 * before) == pytest.approx(1, abs=1e-6)


def test_classes_left_out_depend_on_names_alone() -> None:
    names = ["chair", "lamp", "mug", "table", "sofa"]
    ranked = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    for count in range(4):
        assert classes_left_out(names, count) == classes_left_out(names[::-1], count) == tuple(sorted(ranked[:count]))
    for count in (-1, 4):
        with pytest.raises(ValueError, match=rf"held_out_classes: got {count} of 5 classes; allowed: 0 to 3"):
            classes_left_out(names, count)
    with pytest.raises(ValueError, match=r"got 1 of 1 classes; allowed: 0 to 0"):
        classes_left_out(["chair"], 1)


def test_a_difference_is_paired() -> None:
    generator = np.random.default_rng(0)
    first = {seed: generator.random(40) < 0.7 for seed in (0, 3)}
    second = {seed: hits & (generator.random(40) < 0.9) for seed, hits in first.items()}
    told = difference(first, second)
    each = {seed: 100 * (first[seed].mean() - second[seed].mean()) for seed in first}
    assert told["mean"] == pytest.approx(np.mean(list(each.values())), abs=1e-4)
    assert told["seeds"] == {str(seed): pytest.approx(value, abs=1e-4) for seed, value in each.items()}
    assert told["std"] == pytest.approx(np.std(list(each.values()), ddof=1), abs=1e-4)
    low, high = told["interval"]
    assert low <= told["mean"] <= high and low >= 0, "the second is never right where the first is wrong"
    one, other = interval(list(first.values())), interval(list(second.values()))
    assert high - low < (one[1] - one[0]) + (other[1] - other[0]), "narrower than unpaired"
    assert difference(first, first) | {"interval": [0.0, 0.0], "mean": 0.0, "std": 0.0} == difference(first, first)


def test_one_seed_has_no_deviation() -> None:
    assert spread({4: 12.34567}) == {"mean": 12.3457, "seeds": {"4": 12.3457}}
