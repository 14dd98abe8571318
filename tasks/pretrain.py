"""Stage pretrain: one depth encoder a seed, with validated checkpoints."""

import logging
from dataclasses import replace
from pathlib import Path

import torch

from c2p.data.features import read_features
from c2p.data.files import sha256
from c2p.data.manifest import read_manifest, read_points
from c2p.geometry.views import view_set
from c2p.models.clip import WEIGHTS_FILE, encode_text, load_clip
from c2p.models.depth_encoder import DepthEncoder
from c2p.params import Params
from c2p.training.checkpoint import HISTORY_FILE, list_checkpoints
from c2p.training.pretrain import pretrain
from c2p.training.select import validate
from tasks.closure import code_digest
from tasks.layout import Layout
from tasks.shard_map import Map
from tasks.store import Store, key, link_into

logger = logging.getLogger(__name__)


def run(params: Params, root: Path, map_: Map, *, seed: str) -> None:
    """Pre-train seed `seed` into models/pretrain/seed-<seed>; a killed run goes on from its last checkpoint."""
    layout = Layout(root)
    manifest = read_manifest(layout.shards)
    train, val = (read_points(manifest, split) for split in ("train", "val"))
    targets = read_features(layout.features, manifest, "train")
    clip = load_clip(layout.clip)
    rotations = torch.as_tensor(view_set(params.render.views).rotations, dtype=torch.float32)
    text = encode_text(clip, [params.zeroshot.template.format(name) for name in manifest.classes])
    encoder = DepthEncoder.from_clip(clip).to(_device())
    inputs = [sha256(layout.shards / "manifest.parquet"), sha256(layout.clip / WEIGHTS_FILE), targets.digest]
    recipe = [
        replace(params.pretrain, seeds=(int(seed),)),
        params.depth,
        params.render.views,
        params.zeroshot.template,
        seed,
        torch.get_num_threads(),
    ]
    work = Store(root).folder(key("pretrain", code_digest("tasks.pretrain"), inputs, recipe))

    def evaluate(current: DepthEncoder) -> dict[str, float]:
        points, labels = torch.from_numpy(val.points), torch.from_numpy(val.labels)
        return validate(current, points=points, labels=labels, text=text, rotations=rotations, depth=params.depth)

    pretrain(
        encoder,
        torch.from_numpy(train.points),
        torch.from_numpy(targets.values),
        params.pretrain,
        params.depth,
        rotations,
        seed=int(seed),
        folder=work,
        evaluate=evaluate,
    )
    out = layout.pretrain / f"seed-{seed}"
    for path in [*(c.path for c in list_checkpoints(work)), work / HISTORY_FILE]:
        link_into(path, out / path.name)


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
