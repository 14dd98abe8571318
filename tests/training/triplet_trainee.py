"""A training on triplets so small that processes can be killed over it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from torch import Tensor, nn
from trainee import BATCH, EPOCHS, EVERY_STEP, SAMPLES

from c2p.cg3d_params import Cg3d, PointEncoder
from c2p.models.construction import random_weights
from c2p.models.network import Clip
from c2p.models.point_model import create_point_encoder
from c2p.training.history import ACCURACY, History
from c2p.training.image_towers import ImageTower
from c2p.training.triplets import Triplets, train_triplets

CLASSES, TEMPLATES, VIEWS, WIDTH = 4, 3, 2, 32
NETWORK = PointEncoder(kind="transformer", width=16, depth=1, neighbours=4, heads=2, groups=6, token_width=8, blocks=1)
RECIPE = Cg3d(
    run=True,
    seeds=(0,),
    clip="teacher",
    tuned="prompts",
    prompts=2,
    alignment="both",
    alternate=False,
    templates=("a {}",),
    views=VIEWS,
    epochs=EPOCHS,
    batch=BATCH,
    lr=1e-3,
    weight_decay=0.05,
    prompt_lr=1e-2,
    lr_min=1e-6,
    warmup=0.1,
    clip_norm=10.0,
    temperature=0.1,
    scale=1.5,
    shift=0.2,
    clutter=0.0,
    clutter_cut=0.5,
    clutter_added=0.5,
    precision="float32",
    checkpoint_every=1,
    keep_last=1,
    keep_best=1,
)


def make_clip() -> Clip:
    """A CLIP with a vision transformer, and the same random weights every time."""
    vision = {"image_size": 16, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
    text = {"context_length": 4, "vocab_size": 8, "width": 32, "heads": 1, "layers": 1}
    with random_weights(3):
        model = open_clip.CLIP(WIDTH, vision, text).eval().requires_grad_(False)
    return Clip(model, None, {"embed_dim": WIDTH}, (16, 16), (0.48,) * 3, (0.27,) * 3, "bicubic", WIDTH)


def make_triplets() -> Triplets:
    """Clouds, views and captions of four classes, none to be told from the others."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(SAMPLES, 24, 3, generator=generator)
    points /= points.norm(dim=-1).amax(1)[:, None, None]
    views = torch.randint(256, (SAMPLES, VIEWS, 3, 16, 16), generator=generator, dtype=torch.uint8)
    text = nn.functional.normalize(torch.randn(CLASSES, TEMPLATES, WIDTH, generator=generator), dim=-1)

    def read(samples: np.ndarray, chosen: np.ndarray) -> Tensor:
        return views[samples, chosen]

    return Triplets(points, read, VIEWS, torch.arange(SAMPLES) % CLASSES, text)


def run_triplets(
    folder: Path, *, clip: Clip | None = None, data: Triplets | None = None, network: PointEncoder = NETWORK,
    machine: Any = EVERY_STEP, ranks: Any = None, on_step: Any = None, **changes: Any,
) -> tuple[dict[str, Tensor], History, ImageTower]:  # fmt: skip
    """The training in this process: weights of encoder and image tower, history, and the tower."""
    clip = clip or make_clip()
    encoder = create_point_encoder(network, WIDTH, seed=1)

    def evaluate(current: nn.Module) -> dict[str, float]:
        return {ACCURACY: 100 * sum(tensor.double().sum().item() for tensor in current.state_dict().values()) % 1}

    options = {} if ranks is None else {"ranks": ranks}
    history, tower = train_triplets(
        encoder, clip, data or make_triplets(), replace(RECIPE, **changes),
        seed=5, folder=folder, machine=machine, evaluate=evaluate, on_step=on_step, **options,
    )  # fmt: skip
    weights = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    return weights | {f"tower.{name}": tensor for name, tensor in tower.state_dict().items()}, history, tower
