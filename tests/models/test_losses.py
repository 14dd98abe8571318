"""Eq. 5 to 11, and InfoNCE, against plain loops in double precision."""

import math

import numpy as np
import pytest
import torch

from c2p.models.losses import Balance, cross_loss, info_nce, intra_loss, nt_xent


def _unit(rows: np.ndarray) -> list[list[float]]:
    return [[x / math.sqrt(sum(y * y for y in row)) for x in row] for row in rows.tolist()]


def _e(a: list[float], b: list[float], temperature: float) -> float:
    return math.exp(sum(x * y for x, y in zip(a, b, strict=True)) / temperature)


def _one_way(i: int, a: list[list[float]], b: list[list[float]], temperature: float) -> float:
    """Eq. 5 and 6, or 8 and 9, as printed."""
    s = 0.0
    for k in range(len(a)):
        s += _e(a[i], a[k], temperature) + _e(a[i], b[k], temperature)
    return -math.log(_e(a[i], b[i], temperature) / (s - _e(a[i], a[i], temperature)))


def _plain(a: np.ndarray, b: np.ndarray, temperature: float) -> float:
    """Eq. 7, or 10."""
    first, second = _unit(a), _unit(b)
    terms = [_one_way(i, first, second, temperature) + _one_way(i, second, first, temperature) for i in range(len(a))]
    return sum(terms) / (2 * len(a))


@pytest.mark.parametrize("temperature", [0.7, 0.07])
@pytest.mark.parametrize(("count", "width"), [(1, 3), (2, 5), (7, 16)])
@pytest.mark.parametrize("loss", [nt_xent, intra_loss, cross_loss])
def test_contrastive_losses_are_the_papers(loss, count: int, width: int, temperature: float) -> None:
    generator = np.random.default_rng(count)
    a, b = generator.normal(size=(2, count, width)) * 3
    got = loss(torch.tensor(a), torch.tensor(b), temperature)
    assert got.item() == pytest.approx(_plain(a, b, temperature), rel=1e-10, abs=1e-10)
    single = loss(torch.tensor(a).float(), torch.tensor(b).float(), temperature)
    assert single.item() == pytest.approx(_plain(a, b, temperature), rel=1e-4, abs=1e-5)


def test_contrastive_loss_is_symmetric_and_blind_to_length_and_order() -> None:
    a, b = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    loss = nt_xent(a, b, 0.5)
    order = torch.tensor([3, 0, 5, 1, 2, 4])
    for same in (nt_xent(b, a, 0.5), nt_xent(a * 7, b * 0.2, 0.5), nt_xent(a[order], b[order], 0.5)):
        assert same.item() == pytest.approx(loss.item(), rel=1e-12)
    assert nt_xent(a, a, 0.5) < loss < nt_xent(a, a.roll(1, 0), 0.5) + nt_xent(a, b, 0.5)


def test_contrastive_loss_gradient_is_the_numeric_one() -> None:
    a, b = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x, y: nt_xent(x, y, 0.7), (a.requires_grad_(), b.requires_grad_()))


@pytest.mark.parametrize("shapes", [((2, 3), (3, 3)), ((2, 3, 1), (2, 3, 1)), ((2, 3), (2, 4))])
def test_contrastive_loss_refuses_shapes(shapes) -> None:
    with pytest.raises(ValueError, match="same"):
        nt_xent(torch.zeros(shapes[0]), torch.zeros(shapes[1]), 0.7)


@pytest.mark.parametrize("sigma", [1.0, 0.5, 2.5])
def test_balance_is_equation_11_and_sigma_learns(sigma: float) -> None:
    balance = Balance()
    assert balance.sigma.item() == 1.0
    with torch.no_grad():
        balance.sigma.fill_(sigma)
    loss = balance(torch.tensor(3.0), torch.tensor(4.0))
    assert loss.item() == pytest.approx(3 / sigma**2 + 4 + math.log(sigma + 1), rel=1e-6)
    loss.backward()
    assert balance.sigma.grad.item() == pytest.approx(-2 * 3 / sigma**3 + 1 / (sigma + 1), rel=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 0.07])
@pytest.mark.parametrize(("count", "width"), [(1, 3), (2, 5), (7, 16)])
def test_info_nce_is_that_of_plain_loops(count: int, width: int, temperature: float) -> None:
    a, b = np.random.default_rng(count).normal(size=(2, count, width)) * 3
    first, second = _unit(a), _unit(b)
    total = 0.0
    for i in range(count):
        pair = _e(first[i], second[i], temperature)
        total -= math.log(pair / sum(_e(first[i], second[k], temperature) for k in range(count)))
        total -= math.log(pair / sum(_e(first[k], second[i], temperature) for k in range(count)))
    got = info_nce(torch.tensor(a), torch.tensor(b), temperature)
    assert got.item() == pytest.approx(total / (2 * count), rel=1e-10, abs=1e-10)
    single = info_nce(torch.tensor(a).float(), torch.tensor(b).float(), temperature)
    assert single.item() == pytest.approx(total / (2 * count), rel=1e-4, abs=1e-5)


def test_info_nce_gradient_is_the_numeric_one_and_shapes_are_checked() -> None:
    a, b = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x, y: info_nce(x, y, 0.7), (a.requires_grad_(), b.requires_grad_()))
    with pytest.raises(ValueError, match="same"):
        info_nce(torch.zeros(2, 3), torch.zeros(3, 3), 0.7)
