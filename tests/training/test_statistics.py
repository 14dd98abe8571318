"""Statistics of batch norms taken anew, against means written out."""

import pytest
import torch
from torch import Tensor, nn
from triplet_trainee import NETWORK, WIDTH

from c2p.models.point_model import create_point_encoder
from c2p.training.statistics import settle_statistics, settled


def _network() -> nn.Module:
    return create_point_encoder(NETWORK, WIDTH, seed=0)


def _batches() -> list[Tensor]:
    clouds = torch.randn(120, 48, 3, generator=torch.Generator().manual_seed(0))
    return list((clouds * torch.linspace(0.2, 1, 120)[:, None, None]).split(40))


def test_statistics_are_those_of_the_clouds_and_of_nothing_before() -> None:
    network, heard = _network(), []
    norm = network.groups.points[1]
    norm.register_forward_pre_hook(lambda module, given: heard.append(given[0].detach()))
    norm.running_mean.fill_(99)
    before = {name: weight.clone() for name, weight in network.named_parameters()}
    settle_statistics(network, _batches())
    assert len(heard) == 3 and not network.training and norm.momentum == 0.1
    rows = [part.transpose(0, 1).flatten(1).double() for part in heard]
    torch.testing.assert_close(
        norm.running_mean.double(), torch.stack([row.mean(1) for row in rows]).mean(0), rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(
        norm.running_var.double(), torch.stack([row.var(1) for row in rows]).mean(0), rtol=1e-4, atol=1e-5
    )
    assert all(torch.equal(weight, before[name]) for name, weight in network.named_parameters())


@pytest.mark.parametrize("fails", [False, True])
def test_what_was_there_before_comes_back_to_the_bit(fails: bool) -> None:
    network = _network().train()
    for batch in _batches():
        network(batch)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    inside: dict[str, Tensor] = {}
    try:
        with settled(network, _batches()):
            inside |= {name: tensor.clone() for name, tensor in network.state_dict().items()}
            assert not network.training
            if fails:
                raise InterruptedError
    except InterruptedError:
        assert fails
    changed = {name for name, tensor in before.items() if not torch.equal(tensor, inside[name])}
    assert changed == {f"groups.{norm}.running_{what}" for norm in ("points.1", "whole.0") for what in ("mean", "var")}
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_nothing_is_dropped_and_nothing_drawn_meanwhile() -> None:
    network = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(6))
    values, before = torch.randn(40, 6, generator=torch.Generator().manual_seed(0)), torch.random.get_rng_state()
    settle_statistics(network, [values])
    torch.testing.assert_close(network[1].running_mean, values.mean(0))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_without_batch_norms_no_batch_is_made() -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3)).train()
    settle_statistics(network, (1 / 0 for _ in range(2)))  # type: ignore[misc]
    assert not network.training
