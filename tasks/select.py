"""Stage select: the best checkpoint of every seed by the validation split, as models that open_clip loads."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from c2p.data.files import sha256, write_json
from c2p.models.card import Chosen, model_card
from c2p.models.clip import WEIGHTS_FILE, Clip, load_clip
from c2p.models.depth_encoder import DepthEncoder, load_visual, save_depth_encoder
from c2p.models.preprocessing import write_preprocessing
from c2p.params import Params
from c2p.training.checkpoint import HISTORY_FILE, list_checkpoints, load_weights
from c2p.training.history import ACCURACY, History, write_history
from c2p.training.select import CLASS_MEAN, select_checkpoint
from tasks.events import checkpoint_created
from tasks.layout import Layout
from tasks.shard_map import Map

logger = logging.getLogger(__name__)


def run(params: Params, root: Path, map_: Map) -> None:
    """Write models/depth_encoder (the best seed) and models/depth_encoder/seed-<s> for every seed.

    Beside the weights lies how shapes are drawn for them. The metrics tell what was chosen, and where each seed's
    training ended; the plots, every epoch.
    """
    layout = Layout(root)
    seeds = params.pretrain.seeds
    histories = {seed: read_history(layout.pretrain / f"seed-{seed}") for seed in seeds}
    selection = select_checkpoint(histories)
    clip = load_clip(layout.clip)
    chosen = {seed: _row(histories[seed], selection.epochs[seed]) for seed in seeds}
    told = {seed: Chosen(selection.epochs[seed], row[ACCURACY], row[CLASS_MEAN]) for seed, row in chosen.items()}
    for seed in seeds:
        outs = [layout.encoder / f"seed-{seed}", *([layout.encoder] if seed == selection.seed else [])]
        save_chosen(params, clip, layout.pretrain / f"seed-{seed}", outs, seed=seed, told=told)
    rows = [{"seed": seed} | row for seed, history in histories.items() for row in history]
    write_history(layout.plots("pretrain"), rows)
    accuracies = {seed: {name: chosen[seed][name] for name in (ACCURACY, CLASS_MEAN)} for seed in seeds}
    write_json(
        layout.metrics("select"),
        {"best_seed": selection.seed}
        | {f"seed_{seed}": {"epoch": selection.epochs[seed], **_rounded(accuracies[seed])} for seed in seeds},
    )
    write_json(layout.metrics("pretrain"), {f"seed_{seed}": _rounded(histories[seed][-1]) for seed in seeds})
    for seed in seeds:
        weights = layout.encoder / f"seed-{seed}" / WEIGHTS_FILE
        checkpoint_created(
            weights,
            root=root,
            digest=sha256(weights),
            seed=seed,
            epoch=selection.epochs[seed],
            accuracy=selection.accuracies[seed],
            selected=seed == selection.seed,
        )


def save_chosen(
    params: Params, clip: Clip, folder: Path, outs: Sequence[Path], *, seed: int, told: Mapping[int, Chosen]
) -> None:
    """Save the chosen checkpoint of a folder as a model, with its card, in every one of the outs.

    told: what was chosen of every seed.
    """
    encoder = DepthEncoder.from_clip(clip)
    path = next(c.path for c in list_checkpoints(folder) if c.epoch == told[seed].epoch)
    load_visual(encoder, load_weights(path))
    card = model_card(
        params, seed=seed, chosen=told, width=clip.width, image_size=clip.image_size[0], mean=clip.mean, std=clip.std
    )
    for out in outs:
        save_depth_encoder(encoder, clip, out, card)
        write_preprocessing(params, out)


def read_history(folder: Path) -> History:
    """The history beside a folder's checkpoints.

    Raises ValueError: there is none.
    """
    path = folder / HISTORY_FILE
    if not path.is_file():
        raise ValueError(f"{path}: no such history; pre-train that seed with `dvc repro pretrain`")
    history: History = json.loads(path.read_text(encoding="utf-8"))
    return history


def _row(history: History, epoch: int) -> dict[str, float]:
    return next(row for row in history if row["epoch"] == epoch)


def _rounded(values: dict[str, float]) -> dict[str, float]:
    """Six significant digits: what metrics show."""
    return {name: float(f"{value:.6g}") for name, value in values.items()}
