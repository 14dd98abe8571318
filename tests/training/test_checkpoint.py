"""What is kept of a run, when it is saved, and what a state holds."""

import contextlib
import itertools
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from trainee import DEPTH, EPOCHS, EVERY_STEP, ROTATIONS, SETTINGS, STEPS, make_data, make_encoder, run, saved_step

from c2p.geometry.depth import depth_images, depth_maps
from c2p.models.depth_encoder import load_visual
from c2p.training import checkpoint, outlook
from c2p.training import pretrain as training
from c2p.training.checkpoint import Keeper, kept_epochs, list_checkpoints, load_weights, room_beside
from c2p.training.draws import draw_epoch
from c2p.training.history import ACCURACY
from c2p.training.machine import Machine
from c2p.training.meter import training_flops
from c2p.training.pretrain import pretrain


class Killed(Exception):
    """Stands for the end of the process."""


def _epochs(folder: Path) -> list[int]:
    return [checkpoint.epoch for checkpoint in list_checkpoints(folder)]


def _plain_kept(accuracies: list[float | None], every: int, last: int, best: int) -> set[int]:
    epochs = [e for e in range(1, len(accuracies) + 1) if e % every == 0 or e == len(accuracies)]
    kept = set(sorted(epochs)[::-1][:last])
    rest = {e: accuracies[e - 1] for e in epochs if accuracies[e - 1] is not None}
    for _ in range(min(best, len(rest))):
        top = max(value for value in rest.values())
        winner = max(e for e, value in rest.items() if value == top)
        kept.add(winner)
        del rest[winner]
    return kept


@pytest.mark.parametrize(("every", "last", "best"), list(itertools.product((1, 2, 3), (1, 2, 9), (1, 2))))
def test_kept_are_the_newest_and_the_best(every: int, last: int, best: int) -> None:
    settings = replace(SETTINGS, checkpoint_every=every, keep_last=last, keep_best=best)
    accuracies = [50.0, 70.0, 60.0, 70.0, 10.0, 65.0, 20.0]
    for newest in range(1, 8):
        known = [a if e % every == 0 or e == newest else None for e, a in enumerate(accuracies[:newest], 1)]
        history = [{"epoch": float(e)} | ({} if a is None else {ACCURACY: a}) for e, a in enumerate(known, 1)]
        assert kept_epochs(history, settings) == _plain_kept(known, every, last, best)


def test_the_folder_holds_what_is_kept_and_the_state_follows_the_files(tmp_path: Path) -> None:
    accuracies = iter([30.0, 50.0, 50.0, 40.0])
    points, targets = make_data()
    pretrain(
        make_encoder("vit"), points, targets, replace(SETTINGS, keep_last=1), DEPTH, ROTATIONS,
        seed=5, folder=tmp_path, evaluate=lambda encoder: {ACCURACY: next(accuracies)},
    )  # fmt: skip
    assert _epochs(tmp_path) == [3, 4]
    assert [row[ACCURACY] for row in json.loads((tmp_path / "history.json").read_text())] == [30, 50, 50, 40]


@pytest.mark.parametrize("killed", [1, 4, STEPS // EPOCHS, STEPS - 1])
def test_stopped_at_a_step_it_goes_on_from_there(tmp_path: Path, killed: int) -> None:
    whole, history = run(tmp_path / "whole")

    def die(step: int, steps: int, values: dict[str, float]) -> None:
        if step == killed + 1:
            raise Killed

    with pytest.raises(Killed):
        run(tmp_path / "killed", on_step=die)
    assert saved_step(tmp_path / "killed") == killed
    steps: list[int] = []
    resumed, again = run(tmp_path / "killed", on_step=lambda step, *_: steps.append(step))
    assert steps == list(range(killed + 1, STEPS + 1)) and again == history
    pairs = zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize(("seconds", "expected"), [(40, 8), (60, 6), (70, 7), (1000, 0)])
def test_between_checkpoints_it_is_saved_by_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: int, expected: int
) -> None:
    """Ten seconds a step by a clock of our own; killed after the ninth."""
    clock = [0.0]
    monkeypatch.setattr(checkpoint, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    def tick(step: int, steps: int, values: dict[str, float]) -> None:
        clock[0] += 10
        if step == 10:
            raise Killed

    settings = replace(SETTINGS, checkpoint_every=EPOCHS)
    with pytest.raises(Killed):
        run(tmp_path, settings=settings, machine=Machine(save_seconds=seconds), on_step=tick)
    assert saved_step(tmp_path) == expected and list_checkpoints(tmp_path) == []


def test_a_state_says_what_it_rests_on(tmp_path: Path) -> None:
    run(tmp_path, origin={"git": "0123", "data": "4567"})
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    state, described = saved["state"], json.loads(saved["run"])
    assert state["origin"] == {"git": "0123", "data": "4567"} and state["step"] == STEPS
    assert described["seed"] == 5 and described["depth"]["size"] == 32 and described["lr"] == 1e-3
    assert {"encoder", "balance", "optimizer", "history", "sums"} <= set(state)


def test_what_an_image_costs_is_measured_once_a_run_and_anew_with_another_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []

    def count(*arguments: Any) -> int:
        measured.append(arguments)
        return training_flops(*arguments)

    monkeypatch.setattr(outlook, "training_flops", count)

    def until(steps: int) -> None:
        def tick(step: int, *_: Any) -> None:
            if step > steps:
                raise Killed

        with contextlib.suppress(Killed):
            run(tmp_path, machine=EVERY_STEP, on_step=tick)

    until(2)
    until(5)
    assert len(measured) == 1 and saved_step(tmp_path) >= 3
    monkeypatch.setattr(torch, "__version__", "another")
    until(8)
    assert len(measured) == 2


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_writes_are_in_order_and_copies(tmp_path: Path, device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    weight = torch.zeros(1000, device=device)
    with Keeper(tmp_path, {"seed": 1}) as keeper:
        for epoch in range(1, 6):
            weight.fill_(epoch)
            keeper.save_weights(epoch, {"w": weight})
            weight.fill_(-1)
            keeper.save_state({"step": epoch, "w": weight}, keep={epoch})
    assert _epochs(tmp_path) == [5]
    assert load_weights(list_checkpoints(tmp_path)[0].path)["w"].eq(5).all()
    state = torch.load(tmp_path / "state.pt", weights_only=True)["state"]
    assert state["step"] == 5 and state["w"].eq(-1).all() and state["w"].device.type == "cpu"


def test_room_is_what_is_left_at_the_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    """20 GB free and 100 taken from the driver, of which 70 were in use at most: 50 can go to copies."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (20, 141))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 100)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: 70)
    assert room_beside(torch.device("cuda", 0)) == 50


@pytest.mark.gpu
def test_a_device_without_room_for_copies_gives_them_away_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    monkeypatch.setattr(checkpoint, "room_beside", lambda _: 0)
    weights = {"w": torch.ones(7, device="cuda"), "nested": {"v": [torch.ones(2, device="cuda")]}}
    with Keeper(tmp_path, {}) as keeper:
        keeper.save_state(weights)
        weights["w"].fill_(2)
    state = torch.load(tmp_path / "state.pt", weights_only=True)["state"]
    assert state["w"].eq(1).all() and state["nested"]["v"][0].eq(1).all()


def test_a_write_that_fails_is_told_at_the_end(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.write_text("no folder")
    with pytest.raises(OSError), Keeper(folder, {}) as keeper:
        keeper.save_state({"step": 1})
    begin = time.monotonic()
    with pytest.raises(ZeroDivisionError), Keeper(folder, {}) as keeper:
        keeper.save_state({"step": 1})
        raise ZeroDivisionError
    assert time.monotonic() - begin < 60 and os.path.isfile(folder)


def test_batch_norms_of_a_checkpoint_have_the_statistics_of_its_weights_over_the_epochs_first_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "STATISTICS_BATCHES", 2)
    encoder, _ = run(tmp_path, kind="resnet")
    points, _ = make_data()
    draw = draw_epoch(5, EPOCHS - 1, samples=len(points), views=len(ROTATIONS), jitter=DEPTH.jitter)
    weights = load_weights(tmp_path / f"epoch-{EPOCHS:04d}.safetensors")
    fresh, heard = make_encoder("resnet"), []
    load_visual(fresh, weights)
    fresh.train().visual.bn1.register_forward_pre_hook(lambda module, given: heard.append(given[0].double()))
    for rows in draw.order[: 2 * SETTINGS.batch].reshape(2, -1):
        maps = [
            depth_images(depth_maps(points[row][None], ROTATIONS[draw.views[row]][None], DEPTH, float(factor)))[0, 0]
            for which in (0, 1)
            for row, factor in ((row, draw.distances[row, which]) for row in rows)
        ]
        with torch.no_grad():
            fresh(torch.stack(maps))
    expected = {
        "running_mean": [part.mean((0, 2, 3)) for part in heard],
        "running_var": [part.transpose(0, 1).flatten(1).var(1) for part in heard],
    }
    for name, values in expected.items():
        torch.testing.assert_close(weights[f"bn1.{name}"].double(), torch.stack(values).mean(0), rtol=1e-4, atol=1e-6)
    assert torch.equal(encoder.visual.state_dict()["bn1.running_mean"], weights["bn1.running_mean"])
