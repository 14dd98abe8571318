"""Stage cg3d: one 3D encoder a seed, trained on triplets of cloud, RGB view and caption, the best epoch chosen."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from c2p.cg3d_params import Cg3d
from c2p.data.files import sha256
from c2p.data.manifest import FILE, read_manifest, read_points
from c2p.data.pointset import PointSet
from c2p.data.views import ViewReader
from c2p.evaluation.revision import code_revision
from c2p.geometry.views import view_set
from c2p.models.device import compute_device
from c2p.models.folder import clip_digest
from c2p.models.point_model import PROMPTS, PointModel, create_point_encoder, load_point_weights, save_point_model
from c2p.models.preprocessing import write_preprocessing
from c2p.models.prompts import class_text, encode_prompts
from c2p.models.templates import expanded, templates_of
from c2p.params import Params
from c2p.training.checkpoint import HISTORY_FILE, list_checkpoints, load_weights
from c2p.training.clutter import clutter_of, cluttered
from c2p.training.curves import open_curves
from c2p.training.distributed import Ranks, open_ranks
from c2p.training.history import ACCURACY
from c2p.training.image_towers import ImageTower
from c2p.training.machine import joined, local_rank
from c2p.training.point_validation import validate_points
from c2p.training.select import best_epoch
from c2p.training.triplets import Triplets, train_triplets
from tasks.closure import code_digest
from tasks.layout import Layout
from tasks.machine import curves_folder, process_count, training_machine
from tasks.progress import tell
from tasks.ranks import launch, must_launch
from tasks.shard_map import Map, worker_count
from tasks.stage import Call
from tasks.store import Store, key, link_into

logger = logging.getLogger(__name__)
CLUTTERED = "validation_cluttered"
"""Accuracy on validation clouds that all are cluttered, percent; nothing is chosen by it."""
VALIDATION_KEY = (0,)
"""Of their clutter: the same at every checkpoint and for every seed."""
CODE = Path(__file__).resolve().parent.parent / "c2p"


def run(params: Params, root: Path, map_: Map, *, seed: str) -> None:
    """Write models/cg3d/seed-<seed>: the chosen encoder, and its checkpoints and history below `checkpoints`.

    An empty folder where cg3d.run is false. With C2P_PROCESSES above 1, torchrun starts that many processes, which
    share every batch. A killed run goes on from its last checkpoint.
    """
    out = Layout(root).cg3d / f"seed-{seed}"
    out.mkdir(parents=True, exist_ok=True)
    if not params.cg3d.run:
        return
    processes = process_count()
    if must_launch(processes):
        launch(Call("cg3d", {"seed": seed}), processes, root=root)
        return
    device = torch.device("cuda", local_rank()) if joined() and compute_device().type == "cuda" else compute_device()
    with open_ranks(device) as ranks:
        train(params, params.cg3d, root, int(seed), device=device, ranks=ranks, out=out)


def train(
    params: Params,
    settings: Cg3d,
    root: Path,
    seed: int,
    *,
    device: torch.device,
    ranks: Ranks,
    out: Path | None,
    left_out: tuple[str, ...] = (),
) -> tuple[PointModel, ImageTower]:
    """Train a 3D encoder by a recipe; returns the chosen one and the image tower as training left it.

    out: folder for the chosen encoder, its checkpoints and history; None: they stay in the store alone. left_out:
    classes whose models are not trained on; those of the validation split count as ever.
    """
    from c2p.models.clip import load_clip

    layout, rendered = Layout(root), len(view_set(params.render.views))
    if settings.views > rendered:
        raise ValueError(f"cg3d.views: got {settings.views}; allowed: 1 to {rendered}, those of render.views")
    clip = load_clip(layout.cg3d_clip)
    clip.model.to(device)
    manifest = read_manifest(layout.shards)
    train_set, val = (read_points(manifest, split) for split in ("train", "val"))
    rows = manifest.split("train")
    taken = np.array([row["label"] not in left_out for row in rows])
    reader = ViewReader(
        manifest, [row for row, wanted in zip(rows, taken, strict=True) if wanted], threads=worker_count()
    )
    captions = encode_prompts(clip, manifest.classes, expanded(settings.templates))
    text = torch.from_numpy(class_text(encode_prompts(clip, manifest.classes, templates_of(params.zeroshot))))
    data = Triplets(
        torch.from_numpy(train_set.points[taken]),
        reader,
        settings.views,
        torch.from_numpy(train_set.labels[taken]),
        torch.from_numpy(captions),
    )
    digests = sha256(layout.shards / FILE), clip_digest(layout.cg3d_clip)
    recipe = [replace(settings, seeds=(seed,)), params.point_encoder, templates_of(params.zeroshot)]
    piece = key("cg3d", code_digest("tasks.cg3d"), digests, recipe, left_out, device.type)
    work = Store(root).folder(piece)
    encoder = create_point_encoder(params.point_encoder, clip.width, seed=seed)
    curves_of = curves_folder(root, f"cg3d-{seed}-{piece[:8]}") if ranks.first else None
    with open_curves(curves_of) as curves:

        def on_step(step: int, steps: int, values: dict[str, float]) -> None:
            if ranks.first:
                curves(step, values)
                tell(f"cg3d seed {seed}", step, steps)

        history, tower = train_triplets(
            encoder,
            clip,
            data,
            settings,
            seed=seed,
            folder=work,
            evaluate=lambda current: _validate(current, val, text, settings, ranks),
            on_step=on_step,
            ranks=ranks,
            machine=training_machine(),
            origin={"git": code_revision(CODE), **dict(zip(("data", "clip"), digests, strict=True))},
        )
    epoch, accuracy = best_epoch(history)
    logger.info("CG3D seed %d: epoch %d with %.2f %% of the validation split", seed, epoch, accuracy)
    path = next(c.path for c in list_checkpoints(work) if c.epoch == epoch)
    model = _chosen(params, path, clip.width, digests[1])
    if out is not None and ranks.first:
        save_point_model(model, out)
        write_preprocessing(params, out)
        for path in [*(c.path for c in list_checkpoints(work)), work / HISTORY_FILE]:
            link_into(path, out / "checkpoints" / path.name)
    return model, tower


def _chosen(params: Params, path: Path, width: int, clip: str) -> PointModel:
    """The 3D encoder of a checkpoint."""
    weights = load_weights(path)
    prompts = weights.pop(PROMPTS, None)
    encoder = create_point_encoder(params.point_encoder, width, seed=0)
    load_point_weights(encoder, {name.removeprefix("encoder."): tensor for name, tensor in weights.items()})
    return PointModel(encoder.eval().requires_grad_(False), params.point_encoder, width, clip, prompts)


def _validate(encoder: nn.Module, val: PointSet, text: torch.Tensor, settings: Cg3d, ranks: Ranks) -> dict[str, float]:
    """Accuracy on the validation clouds and, where training clutters its own, on the same ones cluttered."""

    def validated(points: np.ndarray) -> dict[str, float]:
        clouds, labels = torch.from_numpy(points), torch.from_numpy(val.labels)
        return validate_points(
            encoder, points=clouds, labels=labels, text=text, precision=settings.precision, ranks=ranks
        )

    found = validated(val.points)
    if settings.clutter:
        every = replace(clutter_of(settings), share=1.0)
        clouds = cluttered(val.points, np.arange(len(val)), every, key=VALIDATION_KEY)
        found[CLUTTERED] = validated(clouds)[ACCURACY]
    if ranks.first:
        logger.info("CG3D validation: %s", ", ".join(f"{name} {value:.2f} %" for name, value in found.items()))
    return found
