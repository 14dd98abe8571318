"""The emulated GPU refuses what CUDA refuses and computes what the CPU computes."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from emulated import emulated_gpu
from torch import Tensor, nn
from torch.nn import functional

TESTS = Path(__file__).resolve().parent
ON_IT = {
    "features and CG3D": ("data/test_features_stage.py", "training/test_stage_cg3d.py", "geometry/test_surface.py",
                          "geometry/test_depth.py", "evaluation/test_cg3d_evaluation.py"),
    "encoders": ("evaluation/test_encoder.py", "evaluation/test_shape_commands.py", "evaluation/test_scene_command.py",
                 "evaluation/test_point_models.py", "models/test_hub_weights.py"),
}  # fmt: skip
"""Files of tests that choose a device by themselves, and pass there too."""
LEFT_OUT = ("features_are_the_teachers", "folder_gives_it_back", "pictures_go_through")
"""Tests that ask for the CPU's very bits: attention takes another way on a GPU."""


@pytest.fixture
def gpu() -> Iterator[torch.device]:
    with emulated_gpu() as device:
        yield device


@pytest.mark.parametrize(
    "mistake",
    [
        lambda x: x + torch.ones(3, 4),
        lambda x: torch.ones(3, 4) @ x.T,
        lambda x: torch.cat([x, torch.ones(1, 4)]),
        lambda x: nn.Linear(4, 2)(x),
        lambda x: nn.Linear(4, 2).to(x.device)(torch.ones(3, 4)),
        lambda x: torch.ones(3)[torch.zeros(2, dtype=torch.int64, device=x.device)],
        lambda x: x.scatter(0, torch.zeros(1, 4, dtype=torch.int64), 1.0),
        lambda x: functional.one_hot(torch.tensor([1]), 4) * x,
        lambda x: x.numpy(),
        lambda x: np.asarray(x),
        lambda x: torch.rand(2, device=x.device, generator=torch.Generator()),
        lambda x: torch.rand(2, generator=torch.Generator(x.device)),
    ],
)
def test_what_cuda_refuses_is_refused(gpu: torch.device, mistake: Callable[[Tensor], object]) -> None:
    x = torch.ones(3, 4, device=gpu)
    with pytest.raises((RuntimeError, TypeError), match=r"on the same device|to numpy|for generator"):
        mistake(x)


@pytest.mark.parametrize(
    "allowed",
    [
        lambda x: x + torch.tensor(2.0),
        lambda x: x[torch.tensor([2, 0])],
        lambda x: x.cpu() + torch.ones(3, 4),
        lambda x: torch.ones(3, 4).to(x) * x,
        lambda x: torch.zeros(3, 4, device=x.device).copy_(torch.ones(3, 4)),
        lambda x: torch.tensor([[1.0], [2.0], [3.0]], device=x.device) * x,
        lambda x: torch.as_tensor(np.ones((3, 4)), device=x.device) * x,
        lambda x: torch.rand(3, 4, device=x.device, generator=torch.Generator(x.device).manual_seed(1)) + x,
        lambda x: x.new_full((2,), 3.0) * x[:2, 0],
        lambda x: torch.tensor(x.tolist()) + x.sum().item(),
    ],
)
def test_the_rest_is_what_the_cpu_computes(allowed: Callable[[Tensor], Tensor]) -> None:
    x = torch.arange(12.0).view(3, 4)
    with emulated_gpu() as gpu:
        found = allowed(x.to(gpu)).cpu()
    assert type(found) is Tensor and torch.equal(found, allowed(x))


def test_training_gives_the_cpus_bits() -> None:
    weights = []
    for device in ("cpu", "cuda"):
        with emulated_gpu():
            torch.manual_seed(0)
            network = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.GELU(), nn.Linear(8, 2)).to(device)
            optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, fused=True)
            x = torch.randn(16, 4).to(device)
            assert x.is_cuda is (device == "cuda") and {p.device.type for p in network.parameters()} == {device}
            for _ in range(3):
                optimizer.zero_grad()
                network(x).square().mean().backward()
                optimizer.step()
            x[1:3, 0] = 5.0
            assert x[2, 0].item() == 5.0
            weights.append({name: value.cpu() for name, value in network.state_dict().items()})
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_nothing_is_left_of_it() -> None:
    before = torch.cuda.is_available(), torch.Generator, torch.load
    with emulated_gpu():
        assert torch.cuda.is_available()
    assert (torch.cuda.is_available(), torch.Generator, torch.load) == before
    assert type(torch.ones(2) + 1) is Tensor


@pytest.mark.slow
@pytest.mark.parametrize("what", ON_IT)
def test_what_works_on_a_cpu_works_there(what: str, tmp_path: Path) -> None:
    """All of a training or an evaluation, with a device that must be told from the host."""
    chosen = ["-k", " and ".join(f"not {name}" for name in LEFT_OUT), *(str(TESTS / name) for name in ON_IT[what])]
    options = ["--emulated-gpu", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'inner'}", "--tb=short", "-n", "0"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *chosen],
        cwd=TESTS.parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    counts = dict(re.findall(r"^(\S+): (\d+) operations on the emulated GPU$", done.stdout, re.MULTILINE))
    assert {Path(name).name for name in ON_IT[what]} == {name for name, count in counts.items() if int(count) > 100}
