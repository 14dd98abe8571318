"""Stage pretrain: one depth encoder a seed, with validated checkpoints."""

import logging
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from c2p.data.features import ImageFeatures, read_features, read_text
from c2p.data.files import sha256
from c2p.data.manifest import FILE, read_manifest, read_points
from c2p.data.pointset import PointSet
from c2p.evaluation.revision import code_revision
from c2p.geometry.views import view_set
from c2p.models.depth_encoder import DepthEncoder
from c2p.models.device import compute_device
from c2p.models.folder import clip_digest
from c2p.models.prompts import class_text
from c2p.models.templates import templates_of
from c2p.params import Params
from c2p.training.checkpoint import HISTORY_FILE, list_checkpoints
from c2p.training.curves import Curves, open_curves
from c2p.training.distributed import Ranks, open_ranks
from c2p.training.machine import joined, local_rank
from c2p.training.pretrain import pretrain
from c2p.training.select import validate
from tasks.closure import code_digest
from tasks.layout import Layout
from tasks.machine import curves_folder, process_count, training_machine
from tasks.progress import tell
from tasks.ranks import launch, must_launch
from tasks.shard_map import Map
from tasks.stage import Call
from tasks.store import Store, key, link_into

logger = logging.getLogger(__name__)
CODE = Path(__file__).resolve().parent.parent / "c2p"


def run(params: Params, root: Path, map_: Map, *, seed: str) -> None:
    """Pre-train seed `seed` into models/pretrain/seed-<seed>."""
    train(params, root, seed, Layout(root).pretrain / f"seed-{seed}", Call("pretrain", {"seed": seed}))


def train(params: Params, root: Path, seed: str, out: Path, call: Call) -> None:
    """Pre-train into a folder of checkpoints and their history; a killed run goes on from its last checkpoint.

    With C2P_PROCESSES above 1, torchrun starts that many processes, which run `call` and share every batch.
    """
    processes = process_count()
    if must_launch(processes):
        launch(call, processes, root=root)
        return
    device = torch.device("cuda", local_rank()) if joined() and compute_device().type == "cuda" else compute_device()
    with open_ranks(device) as ranks:
        _train(params, root, seed, out, device, ranks)


@dataclass(frozen=True)
class Inputs:
    """What the stage reads but for the teacher's network."""

    train: PointSet
    val: PointSet
    targets: ImageFeatures
    text: np.ndarray
    """(K, T, C) float32, of every prompt."""
    digests: tuple[str, str, str]
    """Of the shards' manifest, the teacher and the image features."""


def _read(layout: Layout, templates: tuple[str, ...]) -> Inputs:
    manifest, teacher = read_manifest(layout.shards), clip_digest(layout.clip)
    train, val = (read_points(manifest, split) for split in ("train", "val"))
    targets = read_features(layout.features, manifest, "train", teacher=teacher)
    digests = sha256(layout.shards / FILE), teacher, targets.digest
    return Inputs(train, val, targets, read_text(layout.features, manifest.classes, templates), digests)


def _load(layout: Layout, templates: tuple[str, ...]) -> tuple[DepthEncoder, Inputs]:
    """The encoder and the data, side by side: open_clip takes seconds to import, and reading waits for the disk."""
    with ThreadPoolExecutor(1, thread_name_prefix="inputs") as pool, _lock_in_turn():
        inputs = pool.submit(_read, layout, templates)
        return DepthEncoder.of_teacher(layout.clip), inputs.result()


@contextmanager
def _lock_in_turn() -> Iterator[None]:
    """Python's lock changes hands ten times as often: the reader wants it a thousand times, for a moment each."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(before / 10)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _train(params: Params, root: Path, seed: str, out: Path, device: torch.device, ranks: Ranks) -> None:
    layout, machine = Layout(root), training_machine()
    templates = templates_of(params.zeroshot)
    encoder, inputs = _load(layout, templates)
    rotations = torch.as_tensor(view_set(params.render.views).rotations, dtype=torch.float32)
    text = torch.from_numpy(class_text(inputs.text))
    encoder = encoder.to(device)
    recipe = [
        replace(params.pretrain, seeds=(int(seed),)),
        params.depth,
        params.render.views,
        templates,
        seed,
    ]
    piece = key("pretrain", code_digest("tasks.pretrain"), inputs.digests, recipe)
    work = Store(root).folder(piece)
    points, labels = torch.from_numpy(inputs.val.points), torch.from_numpy(inputs.val.labels)
    curves_of = curves_folder(root, f"seed-{seed}-{piece[:8]}") if ranks.first else None
    with open_curves(curves_of) as curves:
        on_step, on_checkpoint = _observers(seed, curves, ranks)

        def evaluate(current: DepthEncoder) -> dict[str, float]:
            accuracies = validate(
                current,
                points=points,
                labels=labels,
                text=text,
                rotations=rotations,
                depth=params.depth,
                precision=params.pretrain.precision,
                ranks=ranks,
            )
            on_checkpoint(accuracies)
            return accuracies

        pretrain(
            encoder,
            torch.from_numpy(inputs.train.points),
            torch.from_numpy(inputs.targets.values),
            params.pretrain,
            params.depth,
            rotations,
            seed=int(seed),
            folder=work,
            evaluate=evaluate,
            on_step=on_step,
            ranks=ranks,
            machine=machine,
            origin={
                "git": code_revision(CODE),
                **dict(zip(("data", "teacher", "features"), inputs.digests, strict=True)),
            },
        )
    if ranks.first:
        for path in [*(c.path for c in list_checkpoints(work)), work / HISTORY_FILE]:
            link_into(path, out / path.name)


def _observers(
    seed: str, curves: Curves, ranks: Ranks
) -> tuple[Callable[[int, int, dict[str, float]], None], Callable[[dict[str, float]], None]]:
    """What becomes of the values of a step and of a checkpoint, on the first rank."""
    reached = 0

    def on_step(step: int, steps: int, values: dict[str, float]) -> None:
        nonlocal reached
        reached = step
        if ranks.first:
            curves(step, values)
            tell(f"pretrain seed {seed}", step, steps)

    def on_checkpoint(accuracies: dict[str, float]) -> None:
        if ranks.first:
            curves(reached, accuracies)
            logger.info(
                "pre-training seed %s step %d: %s",
                seed,
                reached,
                ", ".join(f"{name} {value:.2f} %" for name, value in accuracies.items()),
            )

    return on_step, on_checkpoint
