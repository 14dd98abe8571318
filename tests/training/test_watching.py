"""What a training tells whoever watches: TensorBoard's curves, progress, rates, memory, and the checkpoint's event."""

import contextlib
import gc
import itertools
import json
import logging
import subprocess
import sys
import time
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from trainee import BATCH, STEPS, make_encoder, run

from c2p.training import outlook
from c2p.training.curves import open_curves
from c2p.training.machine import Machine
from c2p.training.memory import Memory, kept_bytes, predict_memory
from c2p.training.meter import Meter, matmul_rate, training_flops
from tasks.events import checkpoint_created
from tasks.progress import heard_by, tell

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")


def _curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    return {name: [(e.step, e.value) for e in events.Scalars(name)] for name in events.Tags()["scalars"]}


def test_curves_are_every_value_of_every_step(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    seen: list[dict[str, float]] = []
    with open_curves(tmp_path / "curves") as curves:
        run(tmp_path / "run", on_step=lambda step, steps, values: (seen.append(values), curves(step, values)))
    curves_seen = _curves(tmp_path / "curves")
    names = {"loss", "intra", "cross", "sigma", "temperature", "lr", "grad_norm"}
    assert names | {"samples_per_s", "images_per_s", "matmul_share"} == set(curves_seen)
    for name in names:
        steps, values = zip(*curves_seen[name], strict=True)
        assert list(steps) == list(range(1, STEPS + 1))
        assert values == pytest.approx([row[name] for row in seen], rel=1e-6)
    assert all(0 < row["matmul_share"] < 1 and row["images_per_s"] == 2 * row["samples_per_s"] for row in seen)


def test_curves_go_on_after_a_kill_without_the_steps_it_lost(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    for steps, factor in ((range(1, 8), 1.0), (range(5, 10), 2.0)):
        with open_curves(tmp_path) as curves:
            for step in steps:
                curves(step, {"loss": factor * step})
        time.sleep(1.1)  # event files are named by the second
    got = _curves(tmp_path)["loss"]
    assert got == [(step, float(step)) for step in range(1, 5)] + [(step, 2.0 * step) for step in range(5, 10)]


def test_no_folder_no_curves_and_no_import() -> None:
    code = (
        "import sys; from c2p.training.curves import open_curves\n"
        "with open_curves(None) as curves: curves(1, {'a': 1.0})\n"
        "assert 'tensorboard' not in sys.modules and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_progress_is_heard_inside_the_block_only() -> None:
    heard: list[tuple[str, int, int]] = []
    tell("before", 1, 2)
    with heard_by(lambda *told: heard.append(told)):
        tell("inside", 1, 2)
    tell("after", 1, 2)
    assert heard == [("inside", 1, 2)]


def test_flops_are_counted_there_and_back() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 10, bias=False), nn.ReLU(), nn.Linear(10, 5, bias=False))
    image = torch.rand(1, 3, 4, 4)
    forward = 2 * (48 * 10 + 10 * 5)
    backward = 2 * (48 * 10 + 10 * 5) + 2 * 10 * 5  # every weight's gradient; the second layer's input's
    assert training_flops(model, list(model.parameters()), image) == forward + backward
    assert all(weight.grad is None for weight in model.parameters())


def test_a_tower_counts_about_three_times_its_forward_pass() -> None:
    encoder = make_encoder("vit").eval()
    tokens, width = 17, 64
    layer = 2 * tokens * (4 * width * width + 2 * width * 4 * width)  # attention's products are fused and not counted
    forward = 2 * layer + 2 * 16 * 3 * 8 * 8 * width + 2 * width * 32
    flops = training_flops(encoder, list(encoder.parameters()), torch.rand(1, 3, 32, 32))
    assert 2.6 * forward < flops < 3.4 * forward


def test_rates_are_over_the_last_readings(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    meter = Meter(samples=10, images=20, flops=300.0, peak=1000.0)
    for seconds in (0.5, 1.5):
        clock[0] += seconds
        meter.count(2)
    clock[0] += 100
    meter.skip()
    values = meter.values()
    assert values["samples_per_s"] == pytest.approx(20) and values["images_per_s"] == pytest.approx(40)
    assert values["matmul_share"] == pytest.approx(0.6)
    assert meter.text() == "20 samples/s, 60 % of the device's matrix products"


def test_the_matmul_rate_is_one_that_this_machine_can_have() -> None:
    rate = matmul_rate(CPU, torch.float32)
    begin = time.perf_counter()
    a = torch.rand(512, 512)
    for _ in range(5):
        a @ a
    assert rate > 0.2 * 5 * 2 * 512**3 / (time.perf_counter() - begin)


def test_memory_is_the_formula() -> None:
    points, features = torch.zeros(100, 64, 3), torch.zeros(100, 10, 32, dtype=torch.float16)
    memory = predict_memory(points, features, weights=1000, images=16, size=32, image_bytes=777, copies=50)
    assert memory == Memory(12 * 6400, 2 * 32000, 8050, 16000, 16 * 32 * 32 * 4 * 6, 16 * 777)
    assert memory.total == sum((76800, 64000, 8050, 16000, 393216, 12432))
    large = predict_memory(points, features, weights=10**8, images=16, size=32, image_bytes=777, copies=0)
    assert large.optimizer == 8 * 10**8 + 8 * 2**24
    assert str(Memory(2**30, 0, 2**29, 0, 0, 0)).startswith("1.50 GiB (points 1.00, features 0.00, weights 0.50,")


def test_an_image_keeps_activations_and_all_together_copies_of_weights() -> None:
    class Tower(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(48, 16, bias=False), nn.Linear(16, 4, bias=False)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.second(torch.sin(self.first(images.flatten(1))))

    # the first layer keeps the image, sine its input, the second layer sine's output; 4 bytes a number
    tower, image = Tower(), torch.rand(1, 3, 4, 4)
    assert kept_bytes(tower, image) == (4 * (48 + 16 + 16), 0)
    with torch.autocast("cpu", torch.bfloat16):
        activations, copies = kept_bytes(tower, image)
    assert copies == 2 * 16 * 4, "the second layer's: no gradient goes back to the image"
    assert 2 * (48 + 16 + 16) <= activations <= 4 * (48 + 16 + 16)


def test_what_was_kept_is_freed() -> None:
    made: list[weakref.ref[torch.Tensor]] = []

    class Tower(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(48, 4)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            powers = self.layer(images.flatten(1)).exp()  # kept for its own way back
            made.append(weakref.ref(powers))
            return powers

    assert kept_bytes(Tower(), torch.rand(1, 3, 4, 4))[0] == 4 * (48 + 4)
    gc.collect()
    assert len(made) == 2 and all(tensor() is None for tensor in made)


@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_the_allocator_counts_about_what_was_predicted(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predicted: list[Memory] = []

    def predict(*arguments: Any, **named: Any) -> Memory:
        predicted.append(predict_memory(*arguments, **named))
        return predicted[0]

    monkeypatch.setattr(outlook, "predict_memory", predict)
    monkeypatch.setattr(outlook, "matmul_rate", lambda *_: 1e9)  # its matrices are larger than this training

    def tick(step: int, *_: Any) -> None:  # a checkpoint's copies would count as well: on a GPU they lie elsewhere
        if step == 2:
            raise InterruptedError

    counting = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
    with counting as profiled, contextlib.suppress(InterruptedError):
        run(tmp_path, kind, machine=Machine(), on_step=tick)
    changes = [(e.start_ns(), e.nbytes()) for e in profiled.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = list(itertools.accumulate(change for _, change in sorted(changes)))
    assert 0.5 * predicted[0].total < max(held) < 1.1 * predicted[0].total


def test_the_prediction_is_printed_and_values_reach_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "c2p"):
        run(tmp_path)
    said = [record.getMessage() for record in caplog.records]
    assert any(line.startswith("predicted memory on cpu: ") for line in said)
    assert any(f"step {STEPS}/{STEPS} loss" in line and "samples/s" in line for line in said)
    row = json.loads((tmp_path / "history.json").read_text())[0]
    assert set(row) == {
        "epoch", "loss", "intra", "cross", "grad_norm", "sigma", "temperature", "lr", "validation_accuracy",
    }  # fmt: skip
    assert BATCH == 8


def test_the_event_says_which_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefect's own event, caught before it travels: no server is needed."""
    from prefect.events.clients import AssertingEventsClient
    from prefect.events.worker import EventsWorker

    sent: list[Any] = []
    post = SimpleNamespace(client_type=AssertingEventsClient, send=sent.append)
    monkeypatch.setattr(EventsWorker, "instance", lambda: post)
    path = tmp_path / "models/depth_encoder/seed-3/open_clip_model.safetensors"
    checkpoint_created(path, root=tmp_path, digest="ab", seed=3, epoch=7, accuracy=54.32109, selected=True)
    (event,) = sent
    assert event.event == "c2p.checkpoint.created"
    assert event.resource.id == "c2p.checkpoint.seed-3" and event.resource["c2p.root"] == str(tmp_path)
    assert event.payload == {
        "path": "models/depth_encoder/seed-3/open_clip_model.safetensors",
        "sha256": "ab", "seed": 3, "epoch": 7, "validation_accuracy": 54.3211, "selected": True,
    }  # fmt: skip


@pytest.mark.parametrize("address", ["", "http://127.0.0.1:9/api"])
def test_without_a_server_the_event_is_nothing(address: str) -> None:
    """Neither without an address, where Prefect isn't even imported, nor with one that nobody answers at."""
    code = (
        "import sys; from pathlib import Path; from tasks.events import checkpoint_created as emit\n"
        "emit(Path('/r/a'), root=Path('/r'), digest='', seed=0, epoch=1, accuracy=1.0, selected=True)\n"
        "print('prefect' in sys.modules)"
    )
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": "/nonexistent", "DO_NOT_TRACK": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd="/", env=environment | ({"PREFECT_API_URL": address} if address else {}),
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0 and done.stdout.strip() == str(bool(address)), done.stderr
