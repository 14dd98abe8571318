"""Validation accuracy against a loop, and the choice of checkpoint."""

import math

import pytest
import torch

from c2p import params
from c2p.geometry.depth import depth_images, depth_maps
from c2p.geometry.views import view_set
from c2p.models.clip import create_clip
from c2p.models.depth_encoder import DepthEncoder
from c2p.training.select import ACCURACY, CLASS_MEAN, best_epoch, select_checkpoint, validate

TEACHER = params.Teacher(
    model="c2p-demo", pretrained="", epochs=1, batch=2, lr=1e-3, weight_decay=0.1, warmup=0.1, seed=0
)
DEPTH = params.Depth(
    projection="orthographic",
    size=64,
    footprint="disc",
    dilation=2,
    radius=0.05,
    reach=1.0,
    aggregation="minimum",
    fov=60.0,
    distance=1.0,
    jitter=0.1,
)


def test_validation_sums_the_views_cosines() -> None:
    encoder = DepthEncoder(create_clip(TEACHER)).eval()
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(12, 64, 3, generator=generator) * torch.rand(12, 1, 3, generator=generator) - 0.3
    rotations = torch.tensor(view_set("ten").rotations)
    labels = torch.randint(3, (12,), generator=generator)
    text = torch.nn.functional.normalize(torch.randn(3, encoder.width, generator=generator), dim=-1)
    got = validate(encoder, points=points, labels=labels, text=text, rotations=rotations, depth=DEPTH)
    correct, close = 0, 0
    classes: dict[int, list[bool]] = {}
    for cloud, label in zip(points, labels.tolist(), strict=True):
        scores = [0.0, 0.0, 0.0]
        for rotation in rotations:
            with torch.no_grad():
                feature = encoder(depth_images(depth_maps(cloud[None], rotation[None], DEPTH))[0])[0].double()
            for k in range(3):
                scores[k] += (feature @ text[k].double()).item() / math.sqrt((feature @ feature).item())
        correct += scores.index(max(scores)) == label
        classes.setdefault(label, []).append(scores.index(max(scores)) == label)
        close += sorted(scores)[2] - sorted(scores)[1] < 1e-5
    assert close == 0
    shares = [sum(answers) / len(answers) for answers in classes.values()]
    assert len({len(answers) for answers in classes.values()}) > 1, "unequal classes, else both accuracies are one"
    assert got == {
        ACCURACY: pytest.approx(100 * correct / 12),
        CLASS_MEAN: pytest.approx(100 * sum(shares) / len(shares)),
    }


def test_best_epoch_is_the_most_accurate_and_the_longest_trained_of_equals() -> None:
    rows = [(1, None), (2, 40.0), (3, 55.0), (4, None), (5, 55.0), (6, 50.0)]
    history = [{"epoch": float(e), "loss": 1.0} | ({} if a is None else {ACCURACY: a}) for e, a in rows]
    assert best_epoch(history) == (5, 55.0)
    with pytest.raises(ValueError, match="no validated checkpoint"):
        best_epoch([{"epoch": 1.0, "loss": 1.0}])


def test_selection_takes_the_best_seed_and_the_first_of_equals() -> None:
    histories = {
        7: [{"epoch": 2.0, ACCURACY: 60.0}, {"epoch": 4.0, ACCURACY: 30.0}],
        1: [{"epoch": 2.0, ACCURACY: 10.0}, {"epoch": 4.0, ACCURACY: 70.0}],
        3: [{"epoch": 2.0, ACCURACY: 70.0}, {"epoch": 4.0, ACCURACY: 69.0}],
    }
    selection = select_checkpoint(histories)
    assert selection.seed == 1
    assert selection.epochs == {7: 2, 1: 4, 3: 2}
    assert selection.accuracies == {7: 60.0, 1: 70.0, 3: 70.0}
    with pytest.raises(ValueError, match="got none"):
        select_checkpoint({})
