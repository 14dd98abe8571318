"""Trainings on an emulated GPU end as they do on the CPU, and what they leave is read anywhere.

A kernel's rounding is not seen; a tensor that was left on the host is.
"""

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from emulated import emulated_gpu, operations, readings
from torch import Tensor
from trainee import EPOCHS, HARD, STEPS, run
from triplet_trainee import make_clip, make_triplets, run_triplets

from c2p import params
from c2p.models.clip import create_clip
from c2p.training import lean, triplets
from c2p.training.checkpoint import STATE_FILE, list_checkpoints, load_weights
from c2p.training.machine import Machine
from c2p.training.teacher import train_teacher
from tasks.shard_map import serial
from tasks.stage import Call, run_stage

TEACHER = params.Teacher(
    model="c2p-demo", pretrained="", epochs=2, batch=4, lr=1e-3, weight_decay=0.1, warmup=0.1, seed=2
)


class Killed(Exception):
    """Stands for the end of the process."""


def pre_training(folder: Path, kind: str, device: str, *, last: int = STEPS, **options: Any) -> dict[str, Tensor]:
    def on_step(step: int, *_: Any) -> None:
        if step == last < STEPS:
            raise Killed

    encoder, _ = run(folder, kind, device=device, on_step=on_step, **options)
    assert {weight.device.type for weight in encoder.parameters()} == {device}
    return {name: tensor.cpu() for name, tensor in encoder.visual.state_dict().items()}


def assert_alike(one: dict[str, Tensor], other: dict[str, Tensor], tolerance: float) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.allclose(other[name].double(), tensor.double(), rtol=tolerance, atol=tolerance), name


@pytest.mark.parametrize("kind", ["vit", "resnet", HARD])
def test_pre_training(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lean, "MANY_TOKENS", 0)
    expected = pre_training(tmp_path / "cpu", kind, "cpu")
    with emulated_gpu():
        found = pre_training(tmp_path / "gpu", kind, "cuda")
    assert_alike(expected, found, 1e-3 if kind == "resnet" else 1e-5)
    newest = list_checkpoints(tmp_path / "gpu")[-1]
    assert newest.epoch == EPOCHS
    assert_alike(load_weights(newest.path), found, 0)


@pytest.mark.parametrize("after", [2, 7])
def test_pre_training_that_goes_on(tmp_path: Path, after: int) -> None:
    """Steps are read in blocks there: of a small epoch, at its end, or where the state is saved."""
    with emulated_gpu():
        whole = pre_training(tmp_path / "whole", "vit", "cuda")
        with contextlib.suppress(Killed):
            pre_training(tmp_path / "killed", "vit", "cuda", last=after)
        state = torch.load(tmp_path / "killed" / STATE_FILE, weights_only=True)["state"]
        assert 0 < state["step"] <= after + 1 < STEPS
        assert_alike(whole, pre_training(tmp_path / "killed", "vit", "cuda"), 0)


def test_pieces_and_statistics_of_a_batch(tmp_path: Path) -> None:
    machine = Machine(micro_batch=3, save_seconds=0)
    expected = pre_training(tmp_path / "cpu", "vit", "cpu", machine=machine)
    with emulated_gpu():
        assert_alike(expected, pre_training(tmp_path / "gpu", "vit", "cuda", machine=machine), 1e-5)


@pytest.mark.parametrize("change", [{}, {"temperature": 0.0}, {"clutter": 1.0}])
def test_a_step_on_triplets_reads_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    told = []
    step = triplets._Batch.step

    def counted(*args: Any, **named: Any) -> Tensor:
        before = readings[0]
        values = step(*args, **named)
        told.append(readings[0] - before)
        return values

    monkeypatch.setattr(triplets._Batch, "step", counted)
    with emulated_gpu() as gpu:
        clip = make_clip()
        clip.model.to(gpu)
        run_triplets(tmp_path, clip=clip, machine=Machine(save_seconds=1e9), **change)
    assert told == [1] * STEPS, "the clouds, whose groups' centres are chosen on the CPU"


@pytest.mark.parametrize("change", [{}, {"tuned": "everything"}, {"clutter": 1.0}, {"alternate": True}])
def test_triplets(tmp_path: Path, change: dict[str, Any]) -> None:
    _, expected, _ = run_triplets(tmp_path / "cpu", **change)
    with emulated_gpu() as gpu:
        clip = make_clip()
        clip.model.to(gpu)
        weights, found, _ = run_triplets(tmp_path / "gpu", clip=clip, data=make_triplets(), **change)
        assert {tensor.device.type for tensor in weights.values()} == {"cuda"}
    for row, other in zip(expected, found, strict=True):  # not the weights: AdamW makes steps of a norm's rounding
        for name in ("loss", "image", "text", "prompts", "grad_norm"):
            assert other[name] == pytest.approx(row[name], rel=1e-3, abs=1e-6), name


def test_the_stages(project: Path, tmp_path: Path) -> None:
    histories = []
    for name in ("cpu", "gpu"):
        root = shutil.copytree(project, tmp_path / name)
        with emulated_gpu() if name == "gpu" else contextlib.nullcontext():
            before = operations[0]
            for stage, item in (("pretrain", {"seed": "0"}), ("pretrain", {"seed": "1"}), ("select", {})):
                run_stage(Call(stage, item), root=root, map_=serial)
            assert (operations[0] > before) is (name == "gpu")
        chosen = json.loads((root / "metrics/select.json").read_text())
        assert {"seed_0", "seed_1"} <= set(chosen)
        histories.append(json.loads((root / "models/pretrain/seed-1/history.json").read_text()))
        assert list((root / "models/depth_encoder/seed-1").glob("*.safetensors"))
    for row, other in zip(*histories, strict=True):
        assert other["loss"] == pytest.approx(row["loss"], rel=1e-2)


def test_a_teacher() -> None:
    images = np.random.default_rng(0).integers(256, size=(8, 2, 80, 80, 3), dtype=np.uint8)
    captions = [[f"a {name}"] for name in ("box", "cup", "bed", "car", "mug", "jar", "gun", "fan")]
    told = []
    for device in ("cpu", "cuda"):
        with emulated_gpu():
            clip = create_clip(TEACHER)
            clip.model.to(device)
            told.append(train_teacher(clip, images, captions, TEACHER))
            assert {weight.device.type for weight in clip.model.parameters()} == {device}
    assert [row["loss"] for row in told[1]] == pytest.approx([row["loss"] for row in told[0]], rel=1e-2)
