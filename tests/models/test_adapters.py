"""Eq. 16 to 19 and PointCLIP's adapter against plain loops in double precision."""

import math

import numpy as np
import pytest
import torch

from c2p.evaluation.adaptation import view_mean_logits
from c2p.models.adapters import DualPath, GlobalViewAdapter, InterViewAdapter, cosine_logits

VIEWS, WIDTH = 3, 4


def _arrays(module: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.detach().numpy() for name, tensor in module.state_dict().items()}


def _linear(x: list[float], weights: dict[str, np.ndarray], name: str) -> list[float]:
    matrix, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    return [sum(matrix[o][i] * x[i] for i in range(len(x))) + bias[o] for o in range(len(bias))]


def _norm(x: list[float], mean: list[float], variance: list[float], weights, name: str) -> list[float]:
    scale, shift = weights[f"{name}.weight"], weights[f"{name}.bias"]
    return [(x[c] - mean[c]) / math.sqrt(variance[c] + 1e-5) * scale[c] + shift[c] for c in range(len(x))]


def _statistics(rows: list[list[float]]) -> tuple[list[float], list[float]]:
    columns = list(zip(*rows, strict=True))
    means = [sum(c) / len(c) for c in columns]
    return means, [sum((x - m) ** 2 for x in c) / len(c) for c, m in zip(columns, means, strict=True)]


def _running(weights, name: str):
    return weights[f"{name}.running_mean"], weights[f"{name}.running_var"]


def _global_feature(features: np.ndarray, weights, *, training: bool) -> list[list[float]]:
    """Weighted views, normalised over all views of the batch, concatenated, linear, normalised, ReLU."""
    weighted = [[[v * weights["feature.view_weights"][j] for v in view] for j, view in enumerate(o)] for o in features]
    flat = [view for views in weighted for view in views]
    mean, variance = _statistics(flat) if training else _running(weights, "feature.view_norm")
    normed = [[_norm(v, mean, variance, weights, "feature.view_norm") for v in views] for views in weighted]
    joined = [[x for view in views for x in view] for views in normed]
    hidden = [_linear(x, weights, "feature.concatenated") for x in joined]
    mean, variance = _statistics(hidden) if training else _running(weights, "feature.norm")
    return [[max(0.0, x) for x in _norm(row, mean, variance, weights, "feature.norm")] for row in hidden]


def _fill(module: torch.nn.Module, seed: int) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in module.double().state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.randn(tensor.shape, generator=generator, dtype=torch.float64))
        if name.endswith("running_var"):
            tensor.abs_().add_(0.1)
    return module


def _features(seed: int, batch: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(batch, VIEWS, WIDTH))


@pytest.mark.parametrize("training", [True, False])
def test_global_view_adapter(training: bool) -> None:
    adapter = _fill(GlobalViewAdapter(VIEWS, WIDTH, 0.0), 3).train(training)
    weights, features = _arrays(adapter), _features(1)
    expected = [_linear(x, weights, "output") for x in _global_feature(features, weights, training=training)]
    np.testing.assert_allclose(adapter(torch.tensor(features)).detach().numpy(), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("training", [True, False])
def test_inter_view_adapter(training: bool) -> None:
    adapter = _fill(InterViewAdapter(VIEWS, WIDTH, 0.0), 4).train(training)
    weights, features = _arrays(adapter), _features(2)
    expected = np.zeros_like(features)
    for b, feature in enumerate(_global_feature(features, weights, training=training)):
        hidden = [max(0.0, x) for x in _linear(feature, weights, "inner")]
        expanded = [max(0.0, x) for x in _linear(hidden, weights, "expanded")]
        for v in range(VIEWS):
            for c in range(WIDTH):
                expected[b, v, c] = 0.6 * expanded[v * WIDTH + c] + 0.4 * features[b, v, c]
    np.testing.assert_allclose(adapter(torch.tensor(features)).detach().numpy(), expected, rtol=1e-9, atol=1e-9)


def test_dual_path_is_the_mean_of_both_paths() -> None:
    paths = [_fill(GlobalViewAdapter(VIEWS, WIDTH, 0.0), seed).eval() for seed in (5, 6)]
    dual = DualPath(*paths).eval()
    features = [torch.tensor(_features(seed)) for seed in (7, 8)]
    got = dual(*features)
    for b in range(5):
        one, other = (path(x)[b].tolist() for path, x in zip(paths, features, strict=True))
        assert got[b].tolist() == pytest.approx([(x + y) / 2 for x, y in zip(one, other, strict=True)])
    assert not torch.allclose(got, dual(features[1], features[0]))


def _cosine(x: list[float], y: list[float]) -> float:
    return sum(p * q for p, q in zip(x, y, strict=True)) / math.sqrt(sum(p * p for p in x) * sum(q * q for q in y))


def test_equations_17_to_19_from_features_to_logits() -> None:
    """Both paths, their mean, and its cosines, with nothing of the modules but their weights."""
    paths = [_fill(GlobalViewAdapter(VIEWS, WIDTH, 0.0), seed).eval() for seed in (5, 6)]
    features, text = [_features(seed) for seed in (7, 8)], np.random.default_rng(9).normal(size=(6, WIDTH))
    got = view_mean_logits(DualPath(*paths).eval()(*map(torch.tensor, features)), torch.tensor(text))
    outputs = []
    for path, x in zip(paths, features, strict=True):
        weights = _arrays(path)
        outputs.append([_linear(row, weights, "output") for row in _global_feature(x, weights, training=False)])
    for b, (one, other) in enumerate(zip(*outputs, strict=True)):
        mean = [(x + y) / 2 for x, y in zip(one, other, strict=True)]
        assert got[b].tolist() == pytest.approx([_cosine(mean, row) for row in text.tolist()], rel=1e-9)


def test_equations_2_to_4_from_features_to_logits() -> None:
    """PointCLIP's adapted views and the mean of their cosines, with nothing of the module but its weights."""
    adapter = _fill(InterViewAdapter(VIEWS, WIDTH, 0.0), 4).eval()
    weights, features, text = _arrays(adapter), _features(2), np.random.default_rng(9).normal(size=(6, WIDTH))
    got = view_mean_logits(adapter(torch.tensor(features)), torch.tensor(text))
    for b, feature in enumerate(_global_feature(features, weights, training=False)):
        hidden = [max(0.0, x) for x in _linear(feature, weights, "inner")]
        expanded = [max(0.0, x) for x in _linear(hidden, weights, "expanded")]
        for k, prompt in enumerate(text.tolist()):
            total = 0.0
            for v in range(VIEWS):
                own = expanded[v * WIDTH : (v + 1) * WIDTH]
                view = [0.6 * x + 0.4 * float(y) for x, y in zip(own, features[b, v], strict=True)]
                total += _cosine(view, prompt)
            assert got[b, k].item() == pytest.approx(total / VIEWS, rel=1e-9)


def test_logits_are_cosines() -> None:
    generator = np.random.default_rng(9)
    features, text = generator.normal(size=(4, WIDTH)), generator.normal(size=(6, WIDTH))
    got = cosine_logits(torch.tensor(features), torch.tensor(text))
    for b, x in enumerate(features.tolist()):
        for k, y in enumerate(text.tolist()):
            dot = sum(p * q for p, q in zip(x, y, strict=True))
            assert got[b, k].item() == pytest.approx(dot / math.sqrt(sum(p * p for p in x) * sum(q * q for q in y)))


def test_adapters_start_as_published_and_use_dropout_in_training_only() -> None:
    for kind in (GlobalViewAdapter, InterViewAdapter):
        adapter = kind(10, 8, 0.5)
        assert adapter.feature.view_weights.tolist() == [0.5] * 10
        assert adapter.feature.concatenated.weight.shape == (8, 80)
        features = torch.randn(4, 10, 8, generator=torch.Generator().manual_seed(0))
        assert not torch.equal(adapter(features), adapter(features))
        adapter.eval()
        assert torch.equal(adapter(features), adapter(features))
