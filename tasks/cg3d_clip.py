"""Stage cg3d_clip: the CLIP whose language the 3D encoders learn; the teacher, or a small one taught by it."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from c2p.cg3d_params import Cg3dStudent
from c2p.data.features import read_features
from c2p.data.files import sha256, write_json
from c2p.data.manifest import FILE, Manifest, read_manifest, read_rgb
from c2p.models.device import compute_device
from c2p.models.folder import clip_digest, open_clip_folder
from c2p.models.network import Clip
from c2p.models.prompts import class_text, encode_prompts
from c2p.models.templates import templates_of
from c2p.params import Params
from tasks.closure import code_digest
from tasks.layout import Layout
from tasks.progress import tell
from tasks.shard_map import Map
from tasks.store import Store, key, link_into

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)


def run(params: Params, root: Path, map_: Map) -> None:
    """Write models/cg3d_clip; the metrics tell how well it names the validation split's RGB views.

    A student sees training views only. A killed training goes on after its last epoch.
    """
    layout = Layout(root)
    layout.cg3d_clip.mkdir(parents=True, exist_ok=True)
    if not params.cg3d.run:
        write_json(layout.metrics("cg3d_clip"), {})
        return
    from c2p.models.clip import load_clip, save_clip

    told: dict[str, float] = {}
    if params.cg3d.clip == "teacher":
        for path in sorted(open_clip_folder(layout.clip).iterdir()):
            if path.is_file():
                link_into(path, layout.cg3d_clip / path.name)
        clip = load_clip(layout.cg3d_clip)
        clip.model.to(compute_device())
    else:
        clip, told = _student(params.cg3d_student, root)
        save_clip(clip, layout.cg3d_clip)
    told |= _validated(clip, read_manifest(layout.shards), templates_of(params.zeroshot))
    rounded = {name: float(f"{value:.6g}") for name, value in told.items()}
    write_json(layout.metrics("cg3d_clip"), {"clip": params.cg3d.clip, **rounded})


def _student(settings: Cg3dStudent, root: Path) -> tuple[Clip, dict[str, float]]:
    """A trained student, and what its last epoch was like."""
    from c2p.models.clip import load_clip
    from c2p.training.student import create_student, train_student

    layout, teacher = Layout(root), load_clip(Layout(root).clip)
    manifest, digest = read_manifest(layout.shards), clip_digest(layout.clip)
    targets = read_features(layout.features, manifest, "train", teacher=digest)
    teacher.model.to(device := compute_device())
    student = create_student(teacher, settings)
    digests = sha256(layout.shards / FILE), digest, targets.digest
    piece = key("cg3d_clip", code_digest("tasks.cg3d_clip"), digests, settings, torch.get_num_threads(), device.type)
    history = train_student(
        student,
        _pictures(manifest, settings.size),
        torch.from_numpy(targets.values).flatten(0, 1),
        settings,
        folder=Store(root).folder(piece),
        on_step=lambda step, steps: tell("student", step, steps),
    )
    return student, {"epochs": settings.epochs, "final_loss": history[-1]["loss"]}


def _pictures(manifest: Manifest, size: int) -> "Tensor":
    """All training views in the student's size, sample by sample: (N * V, 3, size, size) uint8."""
    from torch.nn import functional

    parts = []
    for views in read_rgb(manifest, manifest.split("train")):
        part = torch.from_numpy(views).permute(0, 3, 1, 2)
        parts.append(
            part
            if part.shape[-1] == size
            else functional.interpolate(part, (size, size), mode="bicubic", antialias=True)
        )
    return torch.cat(parts)


def _validated(clip: Clip, manifest: Manifest, templates: tuple[str, ...]) -> dict[str, float]:
    """Zero-shot accuracy on RGB views of the validation split, percent: of all views together, and of one."""
    from c2p.models.clip import encode_images

    rows = manifest.split("val")
    text = class_text(encode_prompts(clip, manifest.classes, templates))
    right = np.zeros(2)
    for row, views in zip(rows, read_rgb(manifest, rows), strict=True):
        pictures = torch.from_numpy(views).permute(0, 3, 1, 2).float() / 255
        features = torch.nn.functional.normalize(encode_images(clip, pictures), dim=-1).cpu().numpy()
        cosines, wanted = features @ text.T, manifest.classes.index(row["label"])
        right += [cosines.sum(0).argmax() == wanted, (cosines.argmax(1) == wanted).mean()]
    return dict(zip(("validation_all_views", "validation_one_view"), 100 * right / max(1, len(rows)), strict=True))
