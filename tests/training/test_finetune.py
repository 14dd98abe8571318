"""Supervised training of a 3D encoder, against the steps written out."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from triplet_trainee import NETWORK, WIDTH

from c2p.cg3d_params import Cg3dFinetune
from c2p.models.point_model import create_point_encoder
from c2p.training.finetune import classify, create_classifier, finetune, plan_steps
from c2p.training.steps import TrainingError
from c2p.training.triplet_draws import draw_triplets

SETTINGS = Cg3dFinetune(
    shares=(1.0,), epochs=3, least_steps=1, batch=4, lr=1e-3, weight_decay=0.05, seeds=(0,)
)  # fmt: skip
EXTENTS = torch.tensor([[1.0, 1.0, 1.0], [0.1, 1.0, 0.1], [1.0, 0.1, 1.0]])


def _clouds(each: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.arange(3 * each) % 3
    points = 2 * torch.rand(3 * each, 48, 3, generator=torch.Generator().manual_seed(seed)) - 1
    points *= EXTENTS[labels][:, None]
    return points / points.norm(dim=-1).amax(1)[:, None, None], labels


def _classifier(seed: int = 0) -> nn.Sequential:
    return create_classifier(create_point_encoder(NETWORK, WIDTH, seed=seed), width=WIDTH, classes=3, seed=seed)


@pytest.mark.parametrize(
    ("objects", "epochs", "least", "expected"),
    [(10, 3, 1, (3, 3)), (10, 3, 20, (7, 3)), (2, 1, 5, (5, 1)), (5, 1, 1, (1, 2)), (8, 2, 4, (2, 2))],
)
def test_steps_are_fixed_beforehand(objects: int, epochs: int, least: int, expected: tuple[int, int]) -> None:
    settings = replace(SETTINGS, epochs=epochs, least_steps=least)
    assert plan_steps(objects, settings) == expected
    assert min(len(part) for part in np.array_split(np.arange(objects), expected[1])) >= 2
    with pytest.raises(ValueError, match="1 training objects; allowed: at least 2"):
        plan_steps(1, settings)


def test_the_steps_are_those_written_out() -> None:
    points, labels = _clouds(3)
    ours, twin = _classifier(), _classifier()
    finetune(ours, points, labels, SETTINGS, seed=2, scale=1.3, shift=0.1)
    optimizer = torch.optim.AdamW(twin.parameters(), weight_decay=0.05)
    twin.train()
    step, steps, warmup = 0, 9, 1
    for epoch in range(3):
        draw = draw_triplets(2, epoch, samples=9, views=1, captions=1, scale=1.3, shift=0.1)
        for start in (0, 3, 6):
            rows = draw.order[start : start + 3].tolist()
            clouds = torch.stack(
                [points[n] * torch.tensor(draw.scales[n]) + torch.tensor(draw.shifts[n]) for n in rows]
            )
            cosine = (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2
            optimizer.param_groups[0]["lr"] = 1e-3 * ((step + 1) / warmup if step < warmup else cosine)
            logits = twin(clouds)
            loss = sum(
                -torch.log_softmax(row, 0)[labels[n]] for row, n in zip(logits, rows, strict=True)
            ) / len(rows)  # fmt: skip
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
    for (name, mine), theirs in zip(ours.named_parameters(), twin.parameters(), strict=True):
        if "groups" not in name and "in_proj_bias" not in name:  # elsewhere rounding is what AdamW makes large
            torch.testing.assert_close(mine, theirs.detach(), rtol=1e-3, atol=1e-4, msg=name)


def test_it_learns_and_the_same_seed_gives_the_same_bits() -> None:
    points, labels = _clouds(8)
    fresh, _ = _clouds(10, seed=1)
    settings = replace(SETTINGS, epochs=12, lr=5e-3)
    said = []
    for seed in (0, 0, 1):
        classifier = _classifier()
        last = finetune(classifier, points, labels, settings, seed=seed, scale=1.2, shift=0.05)
        assert math.isfinite(last) and not any(weight.requires_grad for weight in classifier.parameters())
        said.append(classify(classifier, fresh))
    assert said[0].shape == (30, 3) and said[0].dtype == np.float32
    assert (said[0].argmax(1) == np.arange(30) % 3).mean() > 0.8
    assert np.array_equal(said[0], said[1]) and not np.array_equal(said[0], said[2])


def test_a_loss_that_is_no_number_ends_it() -> None:
    points, labels = _clouds(2)
    classifier = _classifier()
    with torch.no_grad():
        classifier[1].bias.fill_(torch.nan)
    with pytest.raises(TrainingError, match=r"loss is nan after epoch 1; lower cg3d_finetune\.lr"):
        finetune(classifier, points, labels, SETTINGS, seed=0, scale=1.0, shift=0.0)
