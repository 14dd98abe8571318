"""Zero-shot classification against loops written from the equations."""

import math

import numpy as np
import pytest

from c2p.evaluation.zeroshot import cosines, image_probabilities, softmax, zeroshot_logits


@pytest.fixture
def features() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(7, 3, 5)).astype(np.float32)


@pytest.fixture
def text() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(4, 5)).astype(np.float32)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    dot = sum(float(x) * float(y) for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(float(x) ** 2 for x in a)) / math.sqrt(sum(float(y) ** 2 for y in b))


def test_equation_1(features: np.ndarray, text: np.ndarray) -> None:
    got = image_probabilities(features[:, 0], text, scale=10.0)
    for n in range(7):
        powers = [math.exp(10.0 * cosine(features[n, 0], text[k])) for k in range(4)]
        for k in range(4):
            assert got[n, k] == pytest.approx(powers[k] / sum(powers), rel=1e-12)


def test_equation_15_chooses_the_same_class_as_printed(features: np.ndarray, text: np.ndarray) -> None:
    got = zeroshot_logits(features, text)
    for n in range(7):
        sums = [sum(cosine(features[n, v], text[k]) for v in range(3)) for k in range(4)]
        assert got[n] * 3 == pytest.approx(sums, rel=1e-12)
        printed = [math.exp(s) / sum(math.exp(t) for t in sums) / 3 for s in sums]
        assert int(np.argmax(got[n])) == printed.index(max(printed))
        assert softmax(got[n] * 3) / 3 == pytest.approx(printed, rel=1e-12)


def test_order_of_views_objects_and_classes_does_not_matter(features: np.ndarray, text: np.ndarray) -> None:
    logits = zeroshot_logits(features, text)
    assert zeroshot_logits(features[:, [2, 0, 1]], text) == pytest.approx(logits, rel=1e-12)
    objects, classes = [3, 1, 6, 0, 2, 5, 4], [2, 0, 3, 1]
    assert (zeroshot_logits(features[objects], text[classes]) == logits[objects][:, classes]).all()


def test_length_of_features_does_not_matter(features: np.ndarray, text: np.ndarray) -> None:
    lengths = np.random.default_rng(2).uniform(0.1, 9, size=(7, 3, 1)).astype(np.float32)
    assert zeroshot_logits(features * lengths, text * 4) == pytest.approx(zeroshot_logits(features, text), abs=1e-6)


def test_widths_must_agree(features: np.ndarray) -> None:
    with pytest.raises(ValueError, match="width 5 and prompts of width 6"):
        cosines(features, np.ones((2, 6), np.float32))
