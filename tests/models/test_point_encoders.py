"""Encoders of point clouds: blind to the order of points, to their company, and trainable in every weight."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d

from c2p.models.point_encoder import GroupEncoder, PointTransformer, PointTransformerSize
from c2p.models.point_groups import canonical_order, centres, gather, neighbours
from c2p.models.point_mlp import PointMlp, PointMlpSize

SMALL = PointTransformerSize(width=24, depth=2, heads=3, groups=8, neighbours=6, token_width=16)
SMALL_MLP = PointMlpSize(width=8, stages=2, blocks=1, neighbours=6)


def _clouds(batch: int = 3, count: int = 64, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return nn.functional.normalize(torch.randn(batch, count, 3, generator=generator), dim=-1)


@pytest.fixture(params=["transformer", "mlp"])
def encoder(request: pytest.FixtureRequest) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return PointTransformer(16, SMALL) if request.param == "transformer" else PointMlp(16, SMALL_MLP)


@pytest.mark.parametrize("training", [False, True])
def test_features_do_not_know_the_order_of_the_points(encoder: nn.Module, training: bool) -> None:
    encoder.train(training)
    clouds = _clouds()
    clouds[0, 10:20] = clouds[0, :10]  # points that coincide
    clouds[1, :9, 0] = 0.25  # and points with one coordinate in common, one of them as minus zero
    clouds[1, 3:6, 1] = torch.tensor([0.0, -0.0, 0.0])
    got = encoder(clouds)
    assert got.shape == (3, 16)
    for seed in range(4):
        order = torch.randperm(clouds.shape[1], generator=torch.Generator().manual_seed(seed))
        assert torch.equal(encoder(clouds[:, order]), got)
    assert not torch.allclose(encoder(clouds * torch.tensor([1.0, -1.0, 1.0])), got, atol=1e-4)


def test_features_follow_the_batch_and_do_not_know_the_company(encoder: nn.Module) -> None:
    clouds = _clouds(5)
    order = torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(encoder.train()(clouds[order]), encoder(clouds)[order], rtol=1e-4, atol=1e-5)
    encoder.eval()
    alone = torch.cat([encoder(cloud[None]) for cloud in clouds])
    torch.testing.assert_close(alone, encoder(clouds), rtol=1e-4, atol=1e-5)
    assert (alone[0] - alone[1]).abs().max() > 1e-4


def test_every_weight_gets_a_gradient(encoder: nn.Module) -> None:
    encoder.train()(_clouds()).square().sum().backward()
    for name, weight in encoder.named_parameters():
        assert weight.grad is not None and torch.isfinite(weight.grad).all(), name
    silent = [name for name, weight in encoder.named_parameters() if not weight.grad.any()]
    assert silent == []


def test_default_sizes_are_the_published_ones() -> None:
    with torch.device("meta"):
        transformer, mlp = PointTransformer(512), PointMlp(512)
    assert len(transformer.blocks) == 12 and transformer.head.weight.shape == (512, 768)
    assert transformer.blocks[0].self_attn.num_heads == 6
    assert 21e6 < sum(weight.numel() for weight in transformer.parameters()) < 23e6
    assert 12e6 < sum(weight.numel() for weight in mlp.parameters()) < 14e6


def test_canonical_order_is_the_lexicographic_one() -> None:
    clouds = (_clouds(2, 30) * 2).round() / 2 + 0.0  # many ties
    for got, cloud in zip(canonical_order(clouds), clouds, strict=True):
        assert got.tolist() == sorted(cloud.tolist())


def test_groups_are_those_of_plain_loops() -> None:
    points = canonical_order(_clouds(2, 40)).double()
    middle = gather(points, centres(points, 5))
    near = neighbours(middle, points, 4)
    for b in range(2):
        chosen = [0]
        single = np.float32(points[b].numpy())
        for _ in range(4):
            far = [min(float(((p - single[c]) ** 2).sum(dtype=np.float32)) for c in chosen) for p in single]
            chosen.append(int(np.argmax(far)))
        assert middle[b].tolist() == points[b, chosen].tolist()
        for g, centre in enumerate(middle[b].tolist()):
            order = sorted(range(40), key=lambda p: math.dist(centre, points[b, p].tolist()))
            assert sorted(near[b, g].tolist()) == sorted(order[:4])
            assert near[b, g, 0] == chosen[g]


def test_a_groups_code_is_that_of_point_berts_convolutions() -> None:
    groups = torch.randn(2, 5, 7, 3, generator=torch.Generator().manual_seed(0)).double()
    encoder = GroupEncoder(8).double().train()
    first, joined, last = encoder.points, encoder.joined, encoder.whole
    twin = groups.flatten(0, 1).transpose(1, 2)
    for layer in (first[0], first[1], nn.ReLU(), first[3]):
        twin = conv1d(twin, layer.weight[:, :, None], layer.bias) if isinstance(layer, nn.Linear) else layer(twin)
    twin = torch.cat([twin.amax(-1, keepdim=True).expand_as(twin), twin], 1)
    for layer in (joined, last[0], nn.ReLU(), last[2]):
        twin = conv1d(twin, layer.weight[:, :, None], layer.bias) if isinstance(layer, nn.Linear) else layer(twin)
    torch.testing.assert_close(encoder(groups), twin.amax(-1).reshape(2, 5, 8), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (torch.zeros(2, 64, 2), r"allowed: \(B, P, 3\)"),
        (torch.zeros(64, 3), r"allowed: \(B, P, 3\)"),
        (torch.zeros(1, 5, 3), "of .* points; allowed: 1 to"),
        (torch.full((1, 64, 3), torch.nan), "not finite"),
    ],
)
def test_encoders_refuse_in_one_line(encoder: nn.Module, points: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        encoder(points)
    assert "\n" not in str(caught.value)


def test_sizes_refuse_in_one_line() -> None:
    with pytest.raises(ValueError, match="depth 0; allowed: at least 1"):
        PointTransformerSize(depth=0)
    with pytest.raises(ValueError, match="width 10 with 3 heads; allowed: a multiple"):
        PointTransformerSize(width=10, heads=3)
    with pytest.raises(ValueError, match="stages 0; allowed: at least 1"):
        PointMlpSize(stages=0)
