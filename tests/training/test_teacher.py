"""Training of the demo's CLIP: loss, augmentation, determinism, and that it learns what it is shown."""

import dataclasses
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from c2p import params
from c2p.models.clip import create_clip, encode_images, encode_text
from c2p.training.checkpoint import STATE_FILE, CheckpointError
from c2p.training.steps import TrainingError
from c2p.training.teacher import augment, contrastive_loss, draw_epoch, train_teacher

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = params.Teacher(
    model="c2p-demo", pretrained="", epochs=10, batch=8, lr=1e-3, weight_decay=0.1, warmup=0.1, seed=2
)
COLOURS = {"red": (200, 30, 30), "green": (30, 190, 40), "blue": (30, 40, 210), "yellow": (220, 220, 20)}


def _pictures(count: int, seed: int) -> tuple[np.ndarray, list[str]]:
    """White pictures with a coloured square, two views each."""
    generator = np.random.default_rng(seed)
    images = np.full((count, 2, 80, 80, 3), 255, np.uint8)
    names = [list(COLOURS)[i % 4] for i in range(count)]
    for i, name in enumerate(names):
        for view in range(2):
            top, left = generator.integers(10, 30, 2)
            images[i, view, top : top + 36, left : left + 36] = COLOURS[name]
    return images, names


@pytest.mark.parametrize("captions", [(0, 1, 2, 3), (0, 1, 0, 0), (5, 5, 7, 7)])
def test_loss_is_the_symmetric_cross_entropy_and_equal_captions_share(captions: tuple[int, ...]) -> None:
    a, b = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    total = 0.0
    for one, other in ((a.tolist(), b.tolist()), (b.tolist(), a.tolist())):
        for i in range(4):
            cosines = []
            for k in range(4):
                dot = sum(x * y for x, y in zip(one[i], other[k], strict=True))
                cosines.append(dot / math.sqrt(sum(x * x for x in one[i]) * sum(y * y for y in other[k])))
            whole = sum(math.exp(3 * c) for c in cosines)
            positives = [k for k in range(4) if captions[k] == captions[i]]
            total -= sum(math.log(math.exp(3 * cosines[k]) / whole) for k in positives) / len(positives)
    tokens = torch.tensor([[1, caption, 9] for caption in captions])
    loss = contrastive_loss(a, b, torch.tensor(math.log(3.0)), tokens)
    assert loss.item() == pytest.approx(total / 8, rel=1e-6)


def test_draw_is_keyed_and_in_bounds() -> None:
    captions = [1, 4, 2] * 100
    draw, again = (draw_epoch(1, 2, views=6, captions=captions) for _ in range(2))
    for field in dataclasses.fields(draw):
        np.testing.assert_array_equal(getattr(draw, field.name), getattr(again, field.name))
        assert not np.array_equal(
            getattr(draw, field.name), getattr(draw_epoch(1, 3, views=6, captions=captions), field.name)
        )
    assert sorted(draw.order) == list(range(300))
    assert (draw.captions < captions).all() and draw.captions.max() == 3 and set(draw.views) == set(range(6))


def test_augmentation_mirrors_moves_and_brightens() -> None:
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.5
    draw = draw_epoch(0, 0, views=1, captions=[1, 1])
    plain = dataclasses.replace(
        draw,
        flips=np.array([False, True]),
        shifts=np.zeros((2, 2), np.float32),
        scales=np.ones(2, np.float32),
        brightness=np.array([1.0, 1.5], np.float32),
    )
    got = augment(images, plain, np.array([0, 1]))
    torch.testing.assert_close(got[0], images[0])
    torch.testing.assert_close(got[1], images[1].flip(-1) * 1.5)
    torch.testing.assert_close(augment(images, plain, np.array([1, 0]))[1], images[1])
    moved = dataclasses.replace(plain, shifts=np.array([[0.25, 0], [0, 0]], np.float32))
    shifted = augment(images, moved, np.array([0, 1]))[0]
    torch.testing.assert_close(shifted[:, :, :7], images[0, :, :, 1:])
    torch.testing.assert_close(shifted[:, :, 7], torch.ones(3, 8))


def test_training_is_deterministic_and_leaves_the_global_generator() -> None:
    images, names = _pictures(8, 0)
    settings = dataclasses.replace(SETTINGS, epochs=2, batch=4)
    clips, steps = [], []
    torch.manual_seed(7)
    expected = torch.rand(2)
    torch.manual_seed(7)
    for _ in range(2):
        clip = create_clip(settings)
        history = train_teacher(
            clip,
            images,
            [[name] for name in names],
            settings,
            on_step=lambda step, total, values: steps.append((step, total)),
        )
        clips.append((clip, history))
    assert torch.equal(torch.rand(2), expected)
    (first, one), (second, two) = clips
    assert one == two and [row["epoch"] for row in one] == [1, 2]
    assert steps[:4] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    pairs = zip(first.model.state_dict().values(), second.model.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not first.model.training and not any(weight.requires_grad for weight in first.model.parameters())


class Stopped(Exception):
    pass


def _stop() -> None:
    raise Stopped


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _train(
    folder: Path | None,
    *,
    stop: int = 0,
    how: Callable[[], None] = _stop,
    save_every_s: float = 0.0,
    epochs: int = 4,
) -> torch.nn.Module:
    images, names = _pictures(8, 0)
    settings = dataclasses.replace(SETTINGS, epochs=epochs, batch=4)
    clip = create_clip(settings)

    def on_step(step: int, steps: int, values: dict[str, float]) -> None:
        if step == stop:
            how()

    captions = [[name, f"a {name} thing"] for name in names]
    train_teacher(clip, images, captions, settings, folder=folder, save_every_s=save_every_s, on_step=on_step)
    return clip.model


def _same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_stopped_at_any_step_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole = _train(None)
    for stop in (1, 2, 3, 5, 8):
        with pytest.raises(Stopped):
            _train(tmp_path / str(stop), stop=stop)
        if stop == 3:
            with pytest.raises(Stopped):
                _train(tmp_path / str(stop), stop=6)
        assert _same(_train(tmp_path / str(stop)), whole), stop
    steps: list[int] = []
    images, names = _pictures(8, 0)
    settings = dataclasses.replace(SETTINGS, epochs=4, batch=4)
    again = create_clip(settings)
    history = train_teacher(
        again,
        images,
        [[name, f"a {name} thing"] for name in names],
        settings,
        folder=tmp_path / "8",
        on_step=lambda step, total, values: steps.append(step),
    )
    assert steps == [] and len(history) == 4 and _same(again.model, whole), "a finished training is not repeated"


def test_a_killed_training_goes_on(tmp_path: Path) -> None:
    """kill -9 in the middle of an epoch; what lies in the folder leads to the same bits."""
    code = "import sys, test_teacher as t; t.torch.set_num_threads(1); "
    code += "t._train(t.Path(sys.argv[1]), stop=6, how=t._kill)"
    here, paths = Path(__file__).resolve().parent, os.pathsep.join(["", *sys.path])
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{paths}"}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=here, env=environment, check=False)
    assert done.returncode == -signal.SIGKILL and [path.name for path in tmp_path.iterdir()] == [STATE_FILE]
    assert _same(_train(tmp_path), _train(None))


def test_state_is_saved_by_the_clock_and_belongs_to_its_run(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        _train(tmp_path, stop=7, save_every_s=3600)
    assert not list(tmp_path.iterdir())
    _train(tmp_path, save_every_s=3600)
    assert [path.name for path in tmp_path.iterdir()] == [STATE_FILE], "the end is saved"
    with pytest.raises(CheckpointError, match=r"another run \(epochs differ\)"):
        _train(tmp_path, epochs=5)
    (tmp_path / STATE_FILE).write_bytes(b"PK\3\4")
    with pytest.raises(CheckpointError, match="not a readable training state") as caught:
        _train(tmp_path)
    assert "\n" not in str(caught.value)


def test_it_learns_to_name_colours_it_has_not_seen_in_that_place() -> None:
    images, names = _pictures(32, 1)
    clip = create_clip(SETTINGS)
    captions = [[f"a {name} square", f"a square that is {name}"] for name in names]
    history = train_teacher(clip, images, captions, SETTINGS)
    assert history[-1]["loss"] < history[0]["loss"]
    test, wanted = _pictures(40, 2)
    features = encode_images(clip, torch.tensor(test[:, 0]).permute(0, 3, 1, 2) / 255)
    text = encode_text(clip, [f"a {name} square" for name in COLOURS])
    answers = (features @ text.T).argmax(1).tolist()
    right = sum(list(COLOURS)[a] == name for a, name in zip(answers, wanted, strict=True))
    assert right >= 36


@pytest.mark.parametrize(
    ("images", "captions", "message"),
    [
        (np.zeros((8, 2, 8, 8, 3), np.float32), [["a"]] * 8, "uint8"),
        (np.zeros((8, 8, 8, 3), np.uint8), [["a"]] * 8, r"\(N, V, H, W, 3\)"),
        (np.zeros((8, 2, 8, 8, 3), np.uint8), [["a"]] * 7, "got 7 for 8 models"),
        (np.zeros((8, 2, 8, 8, 3), np.uint8), [["a"]] * 7 + [[]], "1 models have none"),
        (np.zeros((7, 2, 8, 8, 3), np.uint8), [["a"]] * 7, "teacher.batch: got 8"),
    ],
)
def test_data_that_does_not_fit_is_refused(images, captions, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train_teacher(create_clip(SETTINGS), images, captions, SETTINGS)


def test_a_loss_that_is_not_finite_names_the_step() -> None:
    images, names = _pictures(8, 0)
    clip = create_clip(SETTINGS)
    with torch.no_grad():
        clip.model.visual.attnpool.c_proj.weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match="nan at step 1"):
        train_teacher(clip, images, [[name] for name in names], SETTINGS)
