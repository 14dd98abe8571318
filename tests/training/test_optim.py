"""LAMB against loops in double precision, schedules against torch's own."""

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from c2p.params import load
from c2p.training import optim
from c2p.training.optim import (
    Lamb,
    Slot,
    buckets,
    create_optimizer,
    gradient_norm,
    learning_rate,
    rate_of_step,
    set_learning_rate,
    step_together,
)

ROOT = Path(__file__).resolve().parents[2]


def _plain_lamb(weight: list[float], grads: list[list[float]], lr: float, decay: float, clamp: float) -> list[float]:
    mean, square = [0.0] * len(weight), [0.0] * len(weight)
    for grad in grads:
        mean = [0.9 * m + 0.1 * g for m, g in zip(mean, grad, strict=True)]
        square = [0.999 * s + 0.001 * g * g for s, g in zip(square, grad, strict=True)]
        update = [m / (math.sqrt(s) + 1e-6) + decay * w for m, s, w in zip(mean, square, weight, strict=True)]
        weight_norm = math.sqrt(sum(w * w for w in weight))
        update_norm = math.sqrt(sum(u * u for u in update))
        trust = min(weight_norm, clamp) / update_norm if weight_norm > 0 and update_norm > 0 else 1.0
        weight = [w - lr * trust * u for w, u in zip(weight, update, strict=True)]
    return weight


@pytest.mark.parametrize("start", ["ordinary", "large", "zero"])
@pytest.mark.parametrize("decay", [0.0, 1e-4, 0.3])
def test_lamb_is_the_plain_loop(start: str, decay: float) -> None:
    generator = np.random.default_rng(3)
    weight = generator.normal(size=6) * {"ordinary": 1.0, "large": 1e4, "zero": 0.0}[start]
    grads = generator.normal(size=(10, 6)) * 1e-2
    tensor = torch.tensor(weight.reshape(2, 3), requires_grad=True)
    optimizer = Lamb([tensor], 6e-3, weight_decay=decay)
    for grad in grads:
        tensor.grad = torch.tensor(grad.reshape(2, 3))
        optimizer.step()
    expected = _plain_lamb(weight.tolist(), grads.tolist(), 6e-3, decay, 10.0)
    np.testing.assert_allclose(tensor.detach().numpy().ravel(), expected, rtol=1e-12)


@pytest.mark.parametrize("way", ["in cache", "in small pieces", "together", "together in buckets"])
def test_lamb_takes_ten_steps_of_many_tensors_as_of_each_alone(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU's way and the GPU's, whatever pieces and buckets the tensors are stepped in."""
    generator = np.random.default_rng(4)
    starts = [generator.normal(size=shape) for shape in ((), (3,), (4, 5), (2, 3, 3, 3), (70, 600), (7,))]
    grads = [[generator.normal(size=start.shape) for start in starts] for _ in range(10)]
    tensors = [torch.tensor(start) for start in starts]
    tensors[3] = tensors[3].contiguous(memory_format=torch.channels_last)
    optimizer = Lamb([tensor.requires_grad_() for tensor in tensors], 6e-3, weight_decay=1e-4)
    if way.startswith("together"):
        size = 20 if way.endswith("buckets") else 2**24
        step = lambda slots, group: [step_together(bucket, group) for bucket in buckets(slots, size)]  # noqa: E731
        monkeypatch.setattr(optim, "step_in_cache", lambda slots, group: step(slots, group))
    elif way == "in small pieces":
        monkeypatch.setattr(optim, "PIECE", 7)
    for step_grads in grads:
        for tensor, grad in zip(tensors, step_grads, strict=True):
            tensor.grad = torch.tensor(grad)
        optimizer.step()
    for number, (tensor, start) in enumerate(zip(tensors, starts, strict=True)):
        own = [np.ravel(step_grads[number]).tolist() for step_grads in grads]
        expected = _plain_lamb(np.ravel(start).tolist(), own, 6e-3, 1e-4, 10.0)
        np.testing.assert_allclose(tensor.detach().numpy().ravel(), expected, rtol=1e-12)


def test_a_buckets_numbers_are_bounded() -> None:
    slots = [Slot(*[torch.zeros(size)] * 4) for size in (3, 4, 10, 1, 1, 5)]
    assert [[len(slot.weight) for slot in bucket] for bucket in buckets(slots, 7)] == [[3, 4], [10], [1, 1, 5]]
    assert list(buckets([], 7)) == []


def test_lambs_step_on_a_cpu_is_the_same_with_any_number_of_threads() -> None:
    def stepped(threads: int) -> torch.Tensor:
        torch.set_num_threads(threads)
        weight = torch.randn(300, 400, generator=torch.Generator().manual_seed(0)).requires_grad_()
        optimizer = Lamb([weight], 6e-3, weight_decay=1e-4)
        weight.grad = torch.sin(9 * weight.detach())
        optimizer.step()
        return weight.detach()

    before = torch.get_num_threads()
    try:
        assert torch.equal(stepped(1), stepped(3))
    finally:
        torch.set_num_threads(before)


def test_adamw_is_the_plain_loop() -> None:
    generator = np.random.default_rng(5)
    weight, grads = generator.normal(size=6), generator.normal(size=(10, 6))
    settings = replace(load(ROOT / "profiles/code.yaml").pretrain, optimizer="adamw", lr=1e-3, weight_decay=0.1)
    tensor = torch.nn.Parameter(torch.tensor(weight))
    optimizer = create_optimizer([tensor], settings)
    mean, square = np.zeros(6), np.zeros(6)
    for step, grad in enumerate(grads, 1):
        tensor.grad = torch.tensor(grad)
        optimizer.step()
        mean, square = 0.9 * mean + 0.1 * grad, 0.999 * square + 0.001 * grad**2
        corrected = (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
        weight = weight * (1 - 1e-3 * 0.1) - 1e-3 * corrected
    np.testing.assert_allclose(tensor.detach().numpy(), weight, rtol=1e-10)


def test_lamb_keeps_tensors_without_gradient_and_zero_updates() -> None:
    idle, still = torch.ones(3, requires_grad=True), torch.ones(3, requires_grad=True)
    optimizer = Lamb([idle, still], 0.1, weight_decay=0.0)
    still.grad = torch.zeros(3)
    optimizer.step()
    assert idle.tolist() == still.tolist() == [1, 1, 1]


def test_lamb_state_survives_saving() -> None:
    def run(weight: torch.Tensor, optimizer: Lamb, steps: range) -> None:
        for step in steps:
            weight.grad = torch.sin(weight.detach() * (step + 1))
            optimizer.step()

    whole = torch.linspace(-1, 1, 5, requires_grad=True)
    run(whole, Lamb([whole], 0.01), range(6))
    first = torch.linspace(-1, 1, 5, requires_grad=True)
    optimizer = Lamb([first], 0.01)
    run(first, optimizer, range(3))
    second = first.detach().clone().requires_grad_()
    resumed = Lamb([second], 0.5)
    resumed.load_state_dict(optimizer.state_dict())
    run(second, resumed, range(3, 6))
    assert torch.equal(whole, second)


@pytest.mark.parametrize(("cycle", "steps"), [(20, 20), (5, 23)])
def test_cosine_is_torchs(cycle: int, steps: int) -> None:
    weight = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([weight], 6e-3)
    theirs = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, cycle, eta_min=1e-5)
    for step in range(steps):
        ours = learning_rate(step, peak=6e-3, minimum=1e-5, cycle=cycle)
        assert ours == pytest.approx(theirs.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize(("schedule", "cycle"), [("restarts", 2 * 7), ("cosine", 5 * 7)])
def test_the_profiles_schedule_is_per_step(schedule: str, cycle: int) -> None:
    """Cosines of two epochs of seven steps each, or one over all five epochs, written out."""
    settings = replace(load(ROOT / "profiles/code.yaml").pretrain, schedule=schedule, epochs=5, restart_epochs=2)
    for step in range(5 * 7):
        phase = (step % cycle) / cycle
        expected = 1e-5 + 0.5 * (6e-3 - 1e-5) * (1 + math.cos(math.pi * phase))
        assert rate_of_step(step, 7, settings) == pytest.approx(expected, rel=1e-12)


def test_the_gradients_norm_is_that_of_all_of_them() -> None:
    weights = [torch.zeros(2, 3, requires_grad=True), torch.zeros((), requires_grad=True), torch.zeros(5)]
    weights[0].grad, weights[1].grad = torch.full((2, 3), 2.0), torch.tensor(5.0)
    assert gradient_norm(weights).item() == pytest.approx(math.sqrt(6 * 4 + 25), rel=1e-6)


def test_warm_up_rises_to_the_peak_and_then_falls() -> None:
    rates = [learning_rate(step, peak=1.0, cycle=10, warmup=4) for step in range(14)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert all(a > b for a, b in itertools.pairwise(rates[4:]))
    assert rates[9] == pytest.approx(0.5)


@pytest.mark.parametrize("schedule", ["restarts", "cosine"])
def test_pre_trainings_warm_up_is_a_share_of_its_steps(schedule: str) -> None:
    settings = replace(load(ROOT / "profiles/code.yaml").pretrain, schedule=schedule, epochs=5, warmup=0.2)
    rates = [rate_of_step(step, 10, settings) for step in range(50)]
    assert rates[:11] == pytest.approx([6e-3 * (step + 1) / 10 for step in range(10)] + [6e-3])
    low = rates[29] if schedule == "restarts" else rates[49]  # the end of the first cosine
    assert low < 0.01 * 6e-3 + 1e-5


def test_rate_reaches_every_group() -> None:
    weights = [torch.zeros(1, requires_grad=True) for _ in range(2)]
    optimizer = Lamb([{"params": [w]} for w in weights], 1.0)
    set_learning_rate(optimizer, 0.125)
    assert [group["lr"] for group in optimizer.param_groups] == [0.125, 0.125]
