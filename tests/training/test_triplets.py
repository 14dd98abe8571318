"""Training on triplets: each step is the losses written out, and only what should learn does."""

import json
import random
from dataclasses import replace
from multiprocessing.context import ForkServerContext
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from trainee import BATCH, STEPS, listen, processes, saved_step
from triplet_trainee import NETWORK, RECIPE, VIEWS, make_clip, make_triplets, run_triplets

from c2p.models.folder import ModelError
from c2p.models.network import prepare_images
from c2p.models.point_model import create_point_encoder
from c2p.models.visual_prompts import PromptedTower
from c2p.training.checkpoint import CheckpointError, list_checkpoints, load_weights
from c2p.training.machine import Machine
from c2p.training.steps import TrainingError
from c2p.training.triplet_draws import draw_triplets, moved

ONCE = Machine(save_seconds=3600)
SHIFTS = (
    "encoder.groups.points.3.bias",
    "encoder.groups.whole.0.running_mean",
    "encoder.blocks.0.self_attn.in_proj_bias",
)
"""What batch norm or a softmax takes out again: gradients of rounding, which AdamW makes large."""


def _nce(a: Tensor, b: Tensor, temperature: float) -> float:
    """InfoNCE in loops and float64."""
    a, b = (x.detach().double() / x.detach().double().norm(dim=-1, keepdim=True) for x in (a, b))
    total = 0.0
    for n in range(len(a)):
        for one, many in ((a[n], b), (b[n], a)):
            logits = [float(one @ other) / temperature for other in many]
            total += np.log(sum(np.exp(x) for x in logits)) - logits[n]
    return total / (2 * len(a))


def test_the_losses_of_the_first_step_are_those_written_out(tmp_path: Path) -> None:
    seen: list[dict[str, float]] = []
    run_triplets(tmp_path, machine=ONCE, on_step=lambda step, steps, values: seen.append(values))
    clip, data = make_clip(), make_triplets()
    encoder = create_point_encoder(NETWORK, clip.width, seed=1).train()
    draw = draw_triplets(5, 0, samples=len(data.points), views=VIEWS, captions=3, scale=1.5, shift=0.2)
    rows = draw.order[:BATCH]
    clouds = torch.stack([data.points[n] * torch.tensor(draw.scales[n]) + torch.tensor(draw.shifts[n]) for n in rows])
    text = torch.stack([data.text[n % 4, draw.captions[n]] for n in rows])
    pictures = data.read_views(rows, draw.views[rows])
    images = PromptedTower(clip, tokens=2, seed=5)(prepare_images(pictures / 255, clip))
    features = encoder(clouds)
    expected = {
        "image": _nce(features, images, 0.1),
        "text": _nce(features, text, 0.1),
        "prompts": _nce(images, text, 0.1),
    }
    for name, value in expected.items():
        assert seen[0][name] == pytest.approx(value, rel=1e-5), name
    assert seen[0]["loss"] == pytest.approx(sum(expected.values()), rel=1e-5)
    assert seen[0]["grad_norm"] > 0


def test_augmentation_stretches_and_moves_each_cloud() -> None:
    data = make_triplets()
    draw = draw_triplets(1, 2, samples=len(data.points), views=5, captions=7, scale=1.5, shift=0.2)
    assert (draw.scales >= 1 / 1.5 - 1e-6).all() and (draw.scales <= 1.5).all() and np.abs(draw.shifts).max() <= 0.2
    assert sorted(draw.order) == list(range(len(data.points))) and set(draw.views) == set(range(5))
    rows = np.array([3, 0])
    for got, n in zip(moved(data.points[rows], draw, rows), rows, strict=True):
        for before, after in zip(data.points[n], got, strict=True):
            for axis in range(3):
                expected = before[axis].item() * draw.scales[n, axis] + draw.shifts[n, axis]
                assert after[axis].item() == pytest.approx(expected, abs=1e-6)
    still = draw_triplets(1, 2, samples=len(data.points), views=5, captions=7, scale=1.0, shift=0.0)
    assert torch.equal(moved(data.points[rows], still, rows), data.points[rows])


@pytest.mark.parametrize("tuned", ["prompts", "nothing", "everything"])
def test_only_what_is_tuned_learns(tmp_path: Path, tuned: str) -> None:
    clip = make_clip()
    before = {name: tensor.clone() for name, tensor in clip.model.state_dict().items()}
    weights, history, tower = run_triplets(tmp_path, clip=clip, machine=ONCE, tuned=tuned)
    for name, tensor in clip.model.state_dict().items():
        assert torch.equal(tensor, before[name]), f"the CLIP's own {name} changed"
    learnt = {name for name in weights if name.startswith("tower.")}
    expected = {
        "prompts": {"tower.network.prompts"},
        "nothing": set(),
        "everything": {f"tower.network.{name}" for name in clip.model.visual.state_dict()},
    }
    assert learnt == expected[tuned] and tower.learns == (tuned != "nothing")
    if tuned == "prompts":
        assert (weights["tower.network.prompts"] - PromptedTower(clip, tokens=2, seed=5).prompts).abs().max() > 1e-3
        assert torch.equal(tower.prompts, weights["tower.network.prompts"])
    if tuned == "everything":
        conv = "tower.network.conv1.weight"
        assert (weights[conv] - before["visual.conv1.weight"]).abs().max() > 1e-4
    assert (history[0]["prompts"] > 0) == (tuned != "nothing")
    start = create_point_encoder(NETWORK, clip.width, seed=1).state_dict()
    assert all(not torch.equal(weights[f"encoder.{name}"], start[name]) for name in start if "weight" in name)


def test_alternating_steps_train_one_tower_each(tmp_path: Path) -> None:
    seen: list[dict[str, float]] = []
    run_triplets(tmp_path, machine=ONCE, alternate=True, on_step=lambda step, steps, values: seen.append(values))
    for number, values in enumerate(seen):
        odd = number % 2 == 1
        assert (values["prompts"] > 0) == odd and (values["image"] == values["text"] == values["grad_norm"] == 0) == odd


@pytest.mark.parametrize("alternate", [False, True])
@pytest.mark.parametrize("tuned", ["nothing", "prompts", "everything"])
@pytest.mark.parametrize("alignment", ["image", "text"])
def test_one_alignment_leaves_the_other_out(tmp_path: Path, alignment: str, tuned: str, alternate: bool) -> None:
    """Whatever the image tower does: where it learns, its features are at hand and must not draw the 3D encoder."""
    _, history, _ = run_triplets(
        tmp_path, machine=ONCE, epochs=1, alignment=alignment, tuned=tuned, alternate=alternate
    )
    other = "text" if alignment == "image" else "image"
    assert all(row[alignment] > 0 and row[other] == 0 for row in history)


def test_an_encoder_drawn_to_texts_and_the_tower_beside_it_know_nothing_of_each_other(tmp_path: Path) -> None:
    text, both, alone = (
        run_triplets(tmp_path / name, machine=ONCE, epochs=2, alignment=alignment, tuned=tuned)[0]
        for name, alignment, tuned in (
            ("text", "text", "prompts"),
            ("both", "both", "prompts"),
            ("alone", "text", "nothing"),
        )
    )
    assert all(torch.equal(tensor, text[name]) for name, tensor in alone.items())
    assert torch.equal(both["tower.network.prompts"], text["tower.network.prompts"])


def test_clutter_resumes_to_the_same_bits(tmp_path: Path) -> None:
    whole, history, _ = run_triplets(tmp_path / "whole", epochs=2, clutter=0.7)

    def stop(step: int, steps: int, values: dict[str, float]) -> None:
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_triplets(tmp_path / "cut", epochs=2, clutter=0.7, on_step=stop)
    assert saved_step(tmp_path / "cut") == 3
    again, rows, _ = run_triplets(tmp_path / "cut", epochs=2, clutter=0.7)
    assert rows == history and all(torch.equal(tensor, again[name]) for name, tensor in whole.items())
    clean, _, _ = run_triplets(tmp_path / "clean", epochs=2)
    assert any(not torch.equal(tensor, clean[name]) for name, tensor in whole.items())


def test_the_clips_own_temperature_where_none_is_set(tmp_path: Path) -> None:
    clip = make_clip()
    own, _, _ = run_triplets(tmp_path / "own", clip=clip, machine=ONCE, temperature=0.0, epochs=1)
    scale = float(clip.model.logit_scale.exp())
    same, _, _ = run_triplets(tmp_path / "same", clip=clip, machine=ONCE, temperature=1 / scale, epochs=1)
    assert all(torch.equal(own[name], same[name]) for name in own)


def _outputs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != "state.pt"}


@pytest.mark.parametrize("size", [1, 2])
def test_killed_at_random_steps_it_ends_with_the_same_bits(forks: ForkServerContext, tmp_path: Path, size: int) -> None:
    with processes(forks, tmp_path / "whole", size=size, kind="triplets") as (_, heard):
        whole = next(list(listen(connection)) for connection in heard)
    assert len(whole) == STEPS + 1
    folder, kills, generator = tmp_path / "killed", 0, random.Random(size)
    while not (folder / "history.json").is_file():
        last = saved_step(folder) + generator.randint(2, 4)
        with processes(forks, folder, size=size, kind="triplets") as (started, heard):
            for message in listen(heard[0]):
                if message[0] == last:
                    for process in started:
                        process.kill()
                    kills += 1
                    break
            for connection in heard:
                list(listen(connection))
            for process in started:
                process.join()
    assert kills >= 3
    assert _outputs(folder) == _outputs(tmp_path / "whole")
    assert [row["epoch"] for row in json.loads((folder / "history.json").read_text())] == [1, 2, 3, 4]


def test_two_processes_with_half_the_rows_are_one_with_all(forks: ForkServerContext, tmp_path: Path) -> None:
    seen: list[tuple[float, float]] = []
    alone, _, _ = run_triplets(
        tmp_path / "one", on_step=lambda step, steps, values: seen.append((values["loss"], values["grad_norm"]))
    )
    with processes(forks, tmp_path / "two", size=2, kind="triplets") as (_, heard):
        told = [list(listen(connection)) for connection in heard]
    for messages in told:
        np.testing.assert_allclose([message[1:] for message in messages[:-1]], seen, rtol=1e-3)
    first, second = (messages[-1][1] for messages in told)
    for name, weight in first.items():
        np.testing.assert_array_equal(weight, second[name], err_msg=f"ranks differ in {name}")
        if name in SHIFTS:
            continue
        np.testing.assert_allclose(weight, alone[name].numpy(), atol=2e-4, rtol=2e-3, err_msg=name)
    kept, same = (load_weights(list_checkpoints(tmp_path / folder)[-1].path) for folder in ("one", "two"))
    for name, tensor in kept.items():
        if name not in SHIFTS:
            torch.testing.assert_close(same[name], tensor, atol=2e-4, rtol=2e-3, msg=name)


def test_checkpoints_have_statistics_of_their_own(tmp_path: Path) -> None:
    weights, _, _ = run_triplets(tmp_path / "often", machine=ONCE, epochs=2)
    kept = load_weights(list_checkpoints(tmp_path / "often")[-1].path)
    data = make_triplets()
    encoder = create_point_encoder(NETWORK, make_clip().width, seed=0)
    encoder.load_state_dict({n.removeprefix("encoder."): t for n, t in kept.items() if n.startswith("encoder.")})
    order = draw_triplets(5, 1, samples=len(data.points), views=VIEWS, captions=3, scale=1.5, shift=0.2).order
    heard: list[Tensor] = []
    encoder.groups.points[1].register_forward_pre_hook(lambda module, given: heard.append(given[0].detach()))
    encoder.train()
    for batch in range(3):
        encoder(data.points[order[BATCH * batch : BATCH * (batch + 1)]])
    wanted = torch.stack([part.transpose(0, 1).flatten(1).double().mean(1) for part in heard]).mean(0)
    name = "encoder.groups.points.1.running_mean"
    torch.testing.assert_close(kept[name].double(), wanted, rtol=1e-4, atol=1e-5)
    assert (weights[name] - kept[name]).abs().max() > 1e-3, "the training keeps its own"
    seldom, _, _ = run_triplets(tmp_path / "seldom", machine=ONCE, epochs=2, checkpoint_every=2)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in seldom.items())


def test_another_recipe_or_broken_input_is_refused(tmp_path: Path) -> None:
    run_triplets(tmp_path / "run", machine=ONCE, epochs=1)
    with pytest.raises(CheckpointError, match=r"belongs to another run \(alignment differ\)"):
        run_triplets(tmp_path / "run", machine=ONCE, epochs=1, alignment="text")
    with pytest.raises(CheckpointError, match="size differ"):
        run_triplets(tmp_path / "run", machine=ONCE, epochs=1, network=replace(NETWORK, depth=2))
    data = make_triplets()
    with pytest.raises(ValueError, match=r"cg3d\.batch: got 27; allowed: at most the 26"):
        run_triplets(tmp_path / "new", batch=27)
    with pytest.raises(ValueError, match="text: got shape"):
        run_triplets(tmp_path / "new", data=replace(data, text=data.text[..., :5]))
    broken = replace(data, points=data.points.clone())
    broken.points[7] = float("nan")
    with pytest.raises((TrainingError, ValueError), match=r"nan|finite"):
        run_triplets(tmp_path / "nan", data=broken)
    assert not (tmp_path / "new").exists() or not list((tmp_path / "new").iterdir())


def test_prompts_for_a_convolutional_tower_are_refused(tmp_path: Path) -> None:
    from trainee import make_encoder

    clip = make_clip()
    clip.model.visual = make_encoder("resnet").visual
    with pytest.raises(ModelError, match="prompts need open_clip's VisionTransformer"):
        run_triplets(tmp_path, clip=clip)


def test_the_published_values_are_in_the_profile_paper() -> None:
    from c2p.params import load

    paper = load(Path(__file__).resolve().parents[2] / "profiles/paper.yaml")
    told, network = paper.cg3d, paper.point_encoder
    assert (told.epochs, told.batch, told.lr, told.weight_decay, told.lr_min) == (100, 64, 5e-5, 0.05, 1e-6)
    assert (told.prompts, told.prompt_lr, told.clip_norm, told.views, told.alternate) == (5, 2e-3, 10.0, 5, True)
    assert (network.width, network.depth, network.heads, network.groups, network.neighbours) == (384, 12, 6, 64, 32)
    assert RECIPE.scale == told.scale == 1.5 and told.shift == 0.2
