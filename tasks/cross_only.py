"""Stage cross_only: a depth encoder pre-trained without the intra-modality loss, for the text's control.

The recipe is that of `pretrain` but for the loss, with the first seed; the checkpoint is chosen as in `select`.
"""

from dataclasses import replace
from pathlib import Path

from c2p.models.card import Chosen
from c2p.models.clip import load_clip
from c2p.params import Params
from c2p.training.history import ACCURACY
from c2p.training.machine import joined
from c2p.training.select import CLASS_MEAN, select_checkpoint
from tasks.layout import Layout
from tasks.pretrain import train
from tasks.select import read_history, save_chosen
from tasks.shard_map import Map
from tasks.stage import Call


def run(params: Params, root: Path, map_: Map) -> None:
    """Write models/cross_only: the chosen encoder, and its checkpoints and history below `checkpoints`.

    An empty folder where ablations.cross_only is false.
    """
    layout, seed = Layout(root), params.pretrain.seeds[0]
    layout.cross_only.mkdir(parents=True, exist_ok=True)
    if not params.ablations.cross_only:
        return
    alone = replace(params, pretrain=replace(params.pretrain, intra=False, seeds=(seed,)))
    checkpoints = layout.cross_only / "checkpoints"
    train(alone, root, str(seed), checkpoints, Call("cross_only"))
    if joined():  # one of several processes; the one that started them goes on
        return
    history = read_history(checkpoints)
    epoch = select_checkpoint({seed: history}).epochs[seed]
    row = next(row for row in history if row["epoch"] == epoch)
    told = {seed: Chosen(epoch, row[ACCURACY], row[CLASS_MEAN])}
    save_chosen(alone, load_clip(layout.clip), checkpoints, [layout.cross_only], seed=seed, told=told)
