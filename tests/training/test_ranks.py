"""Ranks and pieces: the loss, the gradients and the weights are those of one process with the whole batch."""

import os
from dataclasses import replace
from multiprocessing.context import ForkServerContext
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from trainee import BATCH, HARD, SETTINGS, STEPS, listen, make_encoder, processes, run

from c2p.models.losses import Balance, cross_loss, intra_loss
from c2p.training.batchnorm import BatchNormError, share_batchnorm
from c2p.training.distributed import ALONE, Ranks
from c2p.training.gradients import Tower, backpropagate
from c2p.training.machine import Machine


def _steps(seen: list[tuple[float, float]]):
    return lambda step, steps, values: seen.append((values["loss"], values["grad_norm"]))


def _close(one: dict[str, np.ndarray], other: dict[str, np.ndarray], tolerance: float) -> None:
    assert one.keys() == other.keys()
    for name in one:
        if name.endswith("k_proj.bias"):
            continue  # a shift of all keys is nothing to a softmax: its gradient is rounding, which LAMB makes large
        np.testing.assert_allclose(one[name], other[name], atol=tolerance, rtol=tolerance, err_msg=name)


@pytest.mark.parametrize(("kind", "tolerance"), [("vit", 2e-5), (HARD, 2e-5), ("resnet", 1e-3)])
def test_two_processes_with_half_the_rows_are_one_with_all(
    forks: ForkServerContext, tmp_path: Path, kind: str, tolerance: float
) -> None:
    """Over all steps; batch norm of eight images and LAMB make a rounding grow about threefold a step."""
    seen: list[tuple[float, float]] = []
    alone, _ = run(tmp_path / "one", kind, on_step=_steps(seen))
    with processes(forks, tmp_path / "two", size=2, kind=kind) as (_, heard):
        told = [list(listen(connection)) for connection in heard]
    for messages in told:
        losses = [message[1:] for message in messages[:-1]]
        np.testing.assert_allclose(losses[0], seen[0], rtol=1e-6)
        np.testing.assert_allclose(losses, seen, rtol=tolerance)
    assert len(seen) == STEPS
    first, second = (messages[-1][1] for messages in told)
    for name, weight in first.items():
        np.testing.assert_array_equal(weight, second[name], err_msg=f"ranks differ in {name}")
    start = {name: tensor.numpy() for name, tensor in make_encoder(kind).visual.state_dict().items()}
    _close(first, {name: tensor.numpy() for name, tensor in alone.visual.state_dict().items()}, tolerance)
    assert max(np.abs(first[name] - start[name]).max() for name in first) > 2e-3
    assert (tmp_path / "two" / "history.json").is_file()


@pytest.mark.parametrize("micro", [BATCH // 4, 3])
def test_pieces_of_a_batch_are_the_whole(tmp_path: Path, micro: int) -> None:
    seen: list[list[tuple[float, float]]] = [[], []]
    whole, _ = run(tmp_path / "whole", on_step=_steps(seen[0]))
    pieces, _ = run(tmp_path / "pieces", machine=Machine(micro_batch=micro), on_step=_steps(seen[1]))
    np.testing.assert_allclose(seen[0], seen[1], rtol=1e-4)
    states = [{name: tensor.numpy() for name, tensor in tower.visual.state_dict().items()} for tower in (whole, pieces)]
    _close(*states, 1e-4)


@pytest.mark.parametrize("cuts", [(5,), (2, 3), (1, 1, 1, 2)])
@pytest.mark.parametrize("intra", [True, False])
def test_gradients_are_those_of_the_loss_written_out(cuts: tuple[int, ...], intra: bool) -> None:
    settings = replace(SETTINGS, intra=intra, temperature=0.5)
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(2 if intra else 1, 5, 3, 4, 4, generator=generator, dtype=torch.float64)
    targets = torch.randn(5, 6, generator=generator, dtype=torch.float64)
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 6)).double()
    balance = Balance().double()
    tower = Tower(model, list(model.parameters()), torch.device("cpu"), "float32")
    terms = backpropagate(tower, balance, images.split(cuts, dim=1), targets, settings, ranks=ALONE, key=(0,))
    got = [weight.grad for weight in (*model.parameters(), *(balance.parameters() if intra else ()))]
    features = [model(image) for image in images]
    cross = cross_loss(sum(features) / len(features), targets, 0.5)
    loss = cross
    if intra:
        loss = intra_loss(*features, 0.5) / balance.sigma**2 + cross + torch.log(balance.sigma + 1)
    weights = [*model.parameters(), *(balance.parameters() if intra else ())]
    for mine, theirs in zip(got, torch.autograd.grad(loss, weights), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)
    assert terms[0].item() == pytest.approx(loss.item(), rel=1e-10)
    assert terms[2].item() == pytest.approx(cross.item(), rel=1e-10)


def test_towers_that_draw_at_random_are_keyed_by_step_and_piece() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 6), nn.Dropout(0.5))
    tower = Tower(model, list(model.parameters()), torch.device("cpu"), "float32")
    images, targets = torch.rand(2, 4, 3, 4, 4), torch.randn(4, 6)

    def loss(key: int, cut: int) -> float:
        terms = backpropagate(tower, Balance(), images.split(cut, 1), targets, SETTINGS, ranks=ALONE, key=(key,))
        return terms[0].item()

    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    first = loss(7, 2)
    assert torch.equal(torch.rand(3), expected), "the global generator is not used"
    gradient = [weight.grad.clone() for weight in model.parameters()]
    assert loss(7, 2) == first != loss(8, 2)
    loss(7, 2)
    assert all(torch.equal(weight.grad, old) for weight, old in zip(model.parameters(), gradient, strict=True))


def test_what_ranks_or_pieces_cannot_share_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"pretrain\.batch: got 8 for 3 processes; allowed: a multiple"):
        run(tmp_path, ranks=Ranks(0, 3))
    with pytest.raises(BatchNormError, match=r"C2P_MICRO_BATCH: got 2; allowed: 0 for this tower"):
        run(tmp_path, "resnet", machine=Machine(micro_batch=2))
    with pytest.raises(BatchNormError, match=r"BatchNorm3d.*C2P_PROCESSES=1"):
        share_batchnorm(nn.Sequential(nn.BatchNorm3d(3)))
    assert not os.listdir(tmp_path)
