"""A small vision transformer that is taught a teacher's image features, beside the same text tower.

For a teacher whose image tower takes no visual prompts: the student speaks the teacher's language and takes them.
Letters: M pictures, B batch, H W pixels, C feature width.
"""

import copy
import dataclasses
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from torch import Tensor
from torch.nn import functional

from c2p.cg3d_params import Cg3dStudent
from c2p.models.clip import Clip, prepare_images
from c2p.models.construction import random_weights
from c2p.training.checkpoint import load_state, save_state
from c2p.training.history import History
from c2p.training.optim import learning_rate, set_learning_rate
from c2p.training.steps import LOG_EVERY, TrainingError

log = logging.getLogger(__name__)

HEAD_WIDTH = 32
"""Width of an attention head."""
WARMUP = 0.1
"""Share of the steps over which the rate rises from 0."""
WEIGHT_DECAY = 0.05


def create_student(teacher: Clip, settings: Cg3dStudent) -> Clip:
    """The teacher's text tower beside a vision transformer with random weights, on the teacher's device."""
    quick = bool(teacher.config.get("quick_gelu"))
    with random_weights(settings.seed):
        visual = open_clip.transformer.VisionTransformer(
            image_size=settings.size,
            patch_size=settings.patch,
            width=settings.width,
            layers=settings.layers,
            heads=settings.width // HEAD_WIDTH,
            mlp_ratio=4.0,
            output_dim=teacher.width,
            act_layer=open_clip.transformer.QuickGELU if quick else torch.nn.GELU,
        )
    vision = {
        "image_size": settings.size,
        "layers": settings.layers,
        "width": settings.width,
        "head_width": HEAD_WIDTH,
        "patch_size": settings.patch,
    }
    model = copy.deepcopy(teacher.model)
    model.visual = visual.to(teacher.device).requires_grad_(False).eval()
    config = teacher.config | {"vision_cfg": vision}
    return dataclasses.replace(teacher, model=model, config=config, image_size=(settings.size, settings.size))


def train_student(
    student: Clip,
    pictures: Tensor,
    targets: Tensor,
    settings: Cg3dStudent,
    *,
    folder: Path,
    on_step: Callable[[int, int], None] = lambda step, steps: None,
) -> History:
    """Draw the image tower's features, in place, to those of the teacher: the squared distance of unit vectors.

    pictures: (M, 3, H, W) uint8 of the student's size; targets: (M, C) float, the teacher's features of them. folder:
    receives the training's state after every epoch; where it holds that of the same run, training goes on from there.
    on_step: called with (step from 1, steps). Returns one row an epoch: epoch, loss, lr.

    Raises ValueError: fewer pictures than a batch. CheckpointError: `folder` holds another run. TrainingError: the loss
    is no longer finite.
    """
    if len(pictures) < settings.batch:
        raise ValueError(f"cg3d_student.batch: got {settings.batch}; allowed: at most the {len(pictures)} pictures")
    visual, device = student.model.visual.requires_grad_(True).train(), student.device
    targets = functional.normalize(targets.float(), dim=-1)
    per_epoch = len(pictures) // settings.batch
    steps = per_epoch * settings.epochs
    warmup = min(round(WARMUP * steps), steps - 1)
    optimizer = torch.optim.AdamW(visual.parameters(), settings.lr, weight_decay=WEIGHT_DECAY, fused=True)
    run: dict[str, Any] = {**dataclasses.asdict(settings), "pictures": list(pictures.shape)}
    history: History = []
    if (state := load_state(folder, run=run, device=device)) is not None:
        visual.load_state_dict(state["visual"])
        optimizer.load_state_dict(state["optimizer"])
        history = state["history"]
        log.info("student goes on after epoch %d of %d", len(history), settings.epochs)
    for epoch in range(len(history), settings.epochs):
        order = np.random.default_rng([settings.seed, epoch]).permutation(len(pictures))
        mean = 0.0
        for index in range(per_epoch):
            step = epoch * per_epoch + index
            rows = order[index * settings.batch : (index + 1) * settings.batch]
            rate = learning_rate(step, peak=settings.lr, cycle=steps - warmup, warmup=warmup)
            set_learning_rate(optimizer, rate)
            shown = prepare_images(pictures[rows].to(device).float() / 255, student)
            features = functional.normalize(visual(shown), dim=-1)
            loss = (features - targets[rows].to(device)).square().sum(-1).mean()
            value = float(loss.item())
            if not math.isfinite(value):
                raise TrainingError(f"student: loss is {value} at step {step + 1}; lower cg3d_student.lr")
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            mean += value / per_epoch
            on_step(step + 1, steps)
            if (step + 1) % LOG_EVERY == 0 or step + 1 == steps:
                log.info("student step %d/%d loss %.3f lr %.2g", step + 1, steps, value, rate)
        history.append({"epoch": float(epoch + 1), "loss": mean, "lr": rate})
        state = {"history": history, "visual": visual.state_dict(), "optimizer": optimizer.state_dict()}
        save_state(folder, state, run=run)
    visual.eval().requires_grad_(False)
    return history
