"""The pre-training loop: what is drawn, what is learnt, and resuming bit for bit."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from c2p import params
from c2p.geometry.depth import depth_images, depth_maps
from c2p.geometry.views import view_set
from c2p.models.clip import Clip, create_clip
from c2p.models.depth_encoder import DepthEncoder
from c2p.models.losses import nt_xent
from c2p.training.checkpoint import CheckpointError, list_checkpoints, load_weights
from c2p.training.draws import draw_epoch
from c2p.training.pretrain import pretrain
from c2p.training.steps import TrainingError

TEACHER = params.Teacher(
    model="c2p-demo", pretrained="", epochs=1, batch=2, lr=1e-3, weight_decay=0.1, warmup=0.1, seed=0
)
SETTINGS = params.Pretrain(
    seeds=(0,),
    epochs=3,
    batch=4,
    optimizer="lamb",
    lr=6e-3,
    weight_decay=1e-4,
    schedule="cosine",
    restart_epochs=2,
    warmup=0.0,
    lr_min=1e-5,
    temperature=0.07,
    intra=True,
    hard_negatives=0,
    precision="float32",
    checkpoint_every=1,
    keep_last=3,
    keep_best=1,
)
DEPTH = params.Depth(
    projection="perspective",
    size=64,
    footprint="window",
    dilation=2,
    radius=0.02,
    reach=1.0,
    aggregation="minimum",
    fov=60.0,
    distance=2.0,
    jitter=0.1,
)
ROTATIONS = torch.tensor(view_set("six").rotations)
SAMPLES = 10


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.fixture(scope="module")
def clip() -> Clip:
    return create_clip(TEACHER)


@pytest.fixture(scope="module")
def data(clip: Clip) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(SAMPLES, 128, 3, generator=generator)
    points /= points.norm(dim=-1).amax(1)[:, None, None]
    return points, torch.randn(SAMPLES, len(ROTATIONS), clip.width, generator=generator)


def _run(clip: Clip, data, folder: Path, settings: params.Pretrain = SETTINGS, **options):
    encoder = DepthEncoder.from_clip(clip)
    history = pretrain(encoder, *data, settings, DEPTH, ROTATIONS, seed=5, folder=folder, **options)
    return encoder, history


def _same(one: DepthEncoder, other: DepthEncoder) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_draw_is_keyed_by_seed_and_epoch() -> None:
    draw = draw_epoch(3, 7, samples=50, views=6, jitter=0.1)
    again = draw_epoch(3, 7, samples=50, views=6, jitter=0.1)
    assert sorted(draw.order) == list(range(50))
    for name in ("order", "views", "distances"):
        np.testing.assert_array_equal(getattr(draw, name), getattr(again, name))
        for other in (
            draw_epoch(4, 7, samples=50, views=6, jitter=0.1),
            draw_epoch(3, 8, samples=50, views=6, jitter=0.1),
        ):
            assert not np.array_equal(getattr(draw, name), getattr(other, name))
    many = draw_epoch(0, 0, samples=4000, views=6, jitter=0.1)
    assert set(many.views) == set(range(6))
    assert many.distances.min() >= 0.9 and many.distances.max() < 1.1
    assert abs(many.distances.mean() - 1) < 0.002
    assert np.abs(many.distances[:, 0] - many.distances[:, 1]).max() > 0.15


def test_first_step_is_the_papers_loss_on_the_drawn_views(clip: Clip, data, tmp_path: Path) -> None:
    seen: list[dict[str, float]] = []
    _run(
        clip, data, tmp_path, on_step=lambda step, steps, values: seen.append({"step": step, "steps": steps, **values})
    )
    points, targets = data
    draw = draw_epoch(5, 0, samples=SAMPLES, views=len(ROTATIONS), jitter=0.1)
    maps: list[list[torch.Tensor]] = [[], []]
    images = []
    for sample in draw.order[:4]:
        view = draw.views[sample]
        images.append(targets[sample, view])
        for which in (0, 1):
            factor = float(draw.distances[sample, which])
            raw = depth_maps(points[sample][None], ROTATIONS[view][None], DEPTH, factor)
            maps[which].append(depth_images(raw)[0, 0])
    with torch.no_grad():  # in training mode: the tower's batch norms see both distances of the whole batch
        first, second = DepthEncoder.from_clip(clip).train()(torch.stack(maps[0] + maps[1])).split(4)
    intra = nt_xent(first, second, 0.07).item()
    cross = nt_xent((first + second) / 2, torch.stack(images), 0.07).item()
    assert seen[0]["intra"] == pytest.approx(intra, rel=1e-3)
    assert seen[0]["cross"] == pytest.approx(cross, rel=1e-3)
    assert seen[0]["loss"] == pytest.approx(intra + cross + math.log(2), rel=1e-3)
    assert [entry["step"] for entry in seen] == [1, 2, 3, 4, 5, 6] and seen[0]["steps"] == 6
    assert seen[0]["lr"] == 6e-3 and seen[3]["lr"] == pytest.approx(1e-5 + (6e-3 - 1e-5) / 2)


def test_history_checkpoints_and_evaluation(clip: Clip, data, tmp_path: Path) -> None:
    modes = []

    def evaluate(encoder: DepthEncoder) -> dict[str, float]:
        modes.append((encoder.training, torch.is_grad_enabled()))
        return {"validation_accuracy": 10.0 * len(modes)}

    settings = dataclasses.replace(SETTINGS, checkpoint_every=2)
    encoder, history = _run(clip, data, tmp_path, settings, evaluate=evaluate)
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert [row.get("validation_accuracy") for row in history] == [None, 10.0, 20.0]
    assert modes == [(False, False)] * 2 and not encoder.training
    checkpoints = list_checkpoints(tmp_path)
    assert [checkpoint.epoch for checkpoint in checkpoints] == [2, 3]
    newest = load_weights(checkpoints[-1].path)
    assert all(torch.equal(newest[name], tensor) for name, tensor in encoder.visual.state_dict().items())
    assert history[-1]["sigma"] != 1.0


@pytest.mark.parametrize("optimizer", ["lamb", "adamw"])
def test_resume_after_a_kill_is_bit_identical(clip: Clip, data, tmp_path: Path, optimizer) -> None:
    settings = dataclasses.replace(SETTINGS, optimizer=optimizer, lr=6e-3 if optimizer == "lamb" else 1e-3)
    whole, history = _run(clip, data, tmp_path / "whole", settings)

    def die(step: int, steps: int, values: dict[str, float]) -> None:
        if step == 4:
            raise Killed

    with pytest.raises(Killed):
        _run(clip, data, tmp_path / "killed", settings, on_step=die)
    steps = []
    resumed, again = _run(clip, data, tmp_path / "killed", settings, on_step=lambda step, *_: steps.append(step))
    assert steps == [3, 4, 5, 6]
    assert again == history and _same(whole, resumed)
    names = [f"epoch-{epoch:04d}.safetensors" for epoch in (1, 2, 3)] + ["history.json"]
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == [*names, "state.pt"]
    for name in names:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()


def test_a_kill_between_weights_and_state_heals(clip: Clip, data, tmp_path: Path) -> None:
    calls = []

    def die_once(encoder: DepthEncoder) -> dict[str, float]:
        calls.append(1)
        if len(calls) == 2:
            raise Killed
        return {"validation_accuracy": 50.0}

    with pytest.raises(Killed):
        _run(clip, data, tmp_path / "killed", evaluate=die_once)
    assert len(list_checkpoints(tmp_path / "killed")) == 2
    resumed, history = _run(clip, data, tmp_path / "killed", evaluate=die_once)
    whole, expected = _run(clip, data, tmp_path / "whole", evaluate=lambda _: {"validation_accuracy": 50.0})
    assert history == expected and _same(whole, resumed)


def test_a_finished_run_is_not_trained_again(clip: Clip, data, tmp_path: Path) -> None:
    first, history = _run(clip, data, tmp_path)
    steps: list[int] = []
    second, again = _run(clip, data, tmp_path, on_step=lambda step, *_: steps.append(step))
    assert not steps and again == history and _same(first, second)


def test_another_runs_folder_and_broken_state_are_refused(clip: Clip, data, tmp_path: Path) -> None:
    _run(clip, data, tmp_path)
    with pytest.raises(CheckpointError, match=r"another run \(temperature differ\)"):
        _run(clip, data, tmp_path, dataclasses.replace(SETTINGS, temperature=0.7))
    (tmp_path / "state.pt").write_bytes(b"not a state")
    with pytest.raises(CheckpointError, match="not a readable training state"):
        _run(clip, data, tmp_path)
    weights = list_checkpoints(tmp_path)[0].path
    weights.write_bytes(weights.read_bytes()[:50])
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        load_weights(weights)


def test_a_loss_that_is_not_finite_stops_with_the_step_and_keeps_the_checkpoint(
    clip: Clip, data, tmp_path: Path
) -> None:
    points, targets = data
    encoder = DepthEncoder.from_clip(clip)

    def spoil(step: int, steps: int, values: dict[str, float]) -> None:
        if step == 2:
            with torch.no_grad():
                encoder.visual.attnpool.c_proj.weight.fill_(float("nan"))

    settings = dataclasses.replace(SETTINGS, batch=5, checkpoint_every=1)
    healthy = pretrain(
        DepthEncoder.from_clip(clip), *data, dataclasses.replace(settings, epochs=1), DEPTH, ROTATIONS,
        seed=5, folder=tmp_path / "healthy",
    )  # fmt: skip
    assert math.isfinite(healthy[0]["loss"])

    def late(step: int, steps: int, values: dict[str, float]) -> None:
        spoil(step - 1, steps, values)

    with pytest.raises(TrainingError, match=r"nan at step 4 \(epoch 2\)"):
        pretrain(encoder, points, targets, settings, DEPTH, ROTATIONS, seed=5, folder=tmp_path / "run", on_step=late)
    kept = list_checkpoints(tmp_path / "run")
    assert [checkpoint.epoch for checkpoint in kept] == [1]
    assert all(tensor.isfinite().all() for tensor in load_weights(kept[0].path).values())


def test_without_intra_only_equation_10_at_the_plain_distance(clip: Clip, data, tmp_path: Path) -> None:
    seen: list[dict[str, float]] = []
    settings = dataclasses.replace(SETTINGS, intra=False, epochs=1)
    _, history = _run(clip, data, tmp_path, settings, on_step=lambda step, steps, values: seen.append(values))
    points, targets = data
    draw = draw_epoch(5, 0, samples=SAMPLES, views=len(ROTATIONS), jitter=0.1)
    rows = draw.order[:4]
    with torch.no_grad():
        raw = torch.cat([depth_maps(points[i][None], ROTATIONS[draw.views[i]][None], DEPTH) for i in rows])
        features = DepthEncoder.from_clip(clip).train()(depth_images(raw)[:, 0])
    expected = nt_xent(features, torch.stack([targets[i, draw.views[i]] for i in rows]), 0.07).item()
    assert seen[0]["loss"] == pytest.approx(expected, rel=1e-3)
    assert history[0]["intra"] == 0.0 and history[0]["sigma"] == 1.0


def test_restarts_return_to_the_peak(clip: Clip, data, tmp_path: Path) -> None:
    rates: list[float] = []
    settings = dataclasses.replace(SETTINGS, schedule="restarts", restart_epochs=1)
    _run(clip, data, tmp_path, settings, on_step=lambda step, steps, values: rates.append(values["lr"]))
    assert rates == pytest.approx([6e-3, 1e-5 + (6e-3 - 1e-5) / 2] * 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("points", r"allowed: \(N, P, 3\)"),
        ("features", "image features"),
        ("batch", "pretrain.batch: got 11"),
        ("views", "V, 3, 3"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(clip: Clip, data, tmp_path: Path, change: str, message: str) -> None:
    points, targets = data
    rotations, settings = ROTATIONS, SETTINGS
    if change == "points":
        points = points[:, :, :2]
    if change == "features":
        targets = targets[:, :, :-1]
    if change == "batch":
        settings = dataclasses.replace(SETTINGS, batch=11)
    if change == "views":
        rotations = ROTATIONS[:, :2]
    with pytest.raises(ValueError, match=message):
        pretrain(DepthEncoder.from_clip(clip), points, targets, settings, DEPTH, rotations, seed=0, folder=tmp_path)
