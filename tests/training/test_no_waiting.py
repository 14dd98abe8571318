"""A step never waits for a GPU: shown without one, on tensors that have no values at all.

On torch's device `meta` whoever asks for a value fails, as does an operation on tensors of two devices. What would be
copied from the host, which waits as well, is caught on its way.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from trainee import DEPTH, ROTATIONS, SAMPLES, SETTINGS, make_data, make_encoder

from c2p import params
from c2p.models.losses import Balance
from c2p.training import lean as lean_blocks
from c2p.training import select
from c2p.training.distributed import ALONE
from c2p.training.gradients import Tower
from c2p.training.lean import lean
from c2p.training.machine import Machine
from c2p.training.optim import create_optimizer
from c2p.training.pretrain import Data, take_step

META = torch.device("meta")
MAKERS = {torch.tensor, torch.as_tensor, torch.from_numpy, Tensor.new_tensor}
"""Of tensors from numbers of the host; one for another device is copied there unseen."""


class NothingFromTheHost(TorchDispatchMode):
    """Refuses every operation on a tensor of the host, and the making of one."""

    def __enter__(self) -> Any:
        self._makers = NothingIsMade()
        self._makers.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._makers.__exit__(*error)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for value in tree_leaves((args, kwargs)):
            assert not (isinstance(value, Tensor) and value.device.type == "cpu"), f"{function}: a tensor of the host"
        return function(*args, **(kwargs or {}))


class NothingIsMade(TorchFunctionMode):
    """Refuses MAKERS."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert function not in MAKERS, f"{function}: a copy from the host"
        return function(*args, **(kwargs or {}))


class FromTheHost(TorchDispatchMode):
    """Counts what is copied from the host to the device."""

    def __init__(self) -> None:
        super().__init__()
        self.to_the_device = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        given = {value.device.type for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)}
        made = {value.device.type for value in tree_leaves(out) if isinstance(value, Tensor)}
        self.to_the_device += given == {"cpu"} and made == {"meta"}
        return out


def _step(
    device: torch.device,
    kind: str = "vit",
    *,
    settings: params.Pretrain = SETTINGS,
    depth: params.Depth = DEPTH,
    machine: Machine = Machine(),  # noqa: B008 - frozen
) -> Callable[[], Tensor]:
    encoder = make_encoder(kind).to(device).train()
    lean(encoder.visual, images=2 * settings.batch)
    points, features = (values.to(device) for values in make_data())
    data = Data(points, features, ROTATIONS.float().to(device), settings, depth, ALONE, machine, None)
    balance = Balance().to(device)
    optimizer = create_optimizer([*encoder.parameters(), *balance.parameters()], settings)
    tower = Tower(encoder, list(encoder.parameters()), device, settings.precision)
    batches = data.batches(data.draw(0, 0))
    return lambda: take_step(tower, balance, optimizer, data, next(batches), key=(0, 0))


@pytest.mark.parametrize("kind", ["vit", "resnet"])
@pytest.mark.parametrize("footprint", ["window", "disc", "surface"])
def test_a_step_asks_for_no_value(kind: str, footprint: str) -> None:
    step = _step(META, kind, depth=replace(DEPTH, footprint=footprint))
    step()  # the optimiser's state
    with NothingFromTheHost():
        values = step()
    assert values.device == META and values.shape == (5,)


@pytest.mark.parametrize("change", ["pieces", "orthographic", "plain distance", "weighted", "many tokens"])
def test_nor_does_another_way_of_training(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if change == "many tokens":
        monkeypatch.setattr(lean_blocks, "MANY_TOKENS", 0)
    depths = {"orthographic": {"projection": "orthographic", "distance": 1.0}, "weighted": {"aggregation": "weighted"}}
    step = _step(
        META,
        settings=replace(SETTINGS, intra=change != "plain distance"),
        depth=replace(DEPTH, **depths.get(change, {})),
        machine=Machine(micro_batch=4 if change == "pieces" else 0),
    )
    step()
    with NothingFromTheHost():
        step()


def test_validation_copies_the_split_once_and_waits_for_its_counts_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def accuracies(counts: Tensor) -> tuple[float, float]:
        asked.append(counts)
        return 0.0, 0.0

    monkeypatch.setattr(select, "accuracies", accuracies)
    encoder = make_encoder("vit").to(META).eval()
    given = {
        "points": make_data()[0], "labels": torch.arange(SAMPLES) % 3, "text": torch.zeros(3, encoder.width),
        "rotations": ROTATIONS.float(),
    }  # fmt: skip
    copies = []
    for images in (len(ROTATIONS), 10_000):
        monkeypatch.setattr(select, "IMAGES_PER_BATCH", images)
        with FromTheHost() as counted:
            select.validate(encoder, depth=DEPTH, **given)
        copies.append(counted.to_the_device)
    assert copies == [4, 4], "however many parts the split is classified in"
    assert [counts.shape for counts in asked] == [(2, 3)] * 2


@pytest.mark.parametrize(
    ("wait", "refused"),
    [
        (lambda x: x.sum().item(), r"item\(\) cannot be called on meta"),
        (lambda x: x.cpu(), "Cannot copy out of meta tensor"),
        (lambda x: x[x > 0], r"torch\.nonzero"),
        (lambda x: bool((x > 0).any()), r"cannot be called on meta|torch\.nonzero"),
        (lambda x: x.new_tensor([1.0, 2.0]), "a copy from the host"),
        (lambda x: torch.tensor([1.0], device=META), "a copy from the host"),
        (lambda x: torch.zeros(3).to(META), "a tensor of the host"),
        (lambda x: x[torch.zeros(2, dtype=torch.int64)], "a tensor of the host"),
        (lambda x: x + torch.ones(4), "a tensor of the host"),
    ],
)
def test_who_waits_is_found(wait: Callable[[Tensor], object], refused: str) -> None:
    with pytest.raises((RuntimeError, AssertionError), match=refused), NothingFromTheHost():
        wait(torch.zeros(4, device=META))


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("footprint", ["window", "disc"])
def test_on_a_gpu_the_driver_says_the_same(precision: Any, footprint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    monkeypatch.setattr(lean_blocks, "MANY_TOKENS", 0)
    settings, depth = replace(SETTINGS, precision=precision), replace(DEPTH, footprint=footprint)
    step = _step(torch.device("cuda", 0), settings=settings, depth=depth)
    step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        values = step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert values.isfinite().all()
