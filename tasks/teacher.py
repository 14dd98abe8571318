"""Stage teacher: the CLIP whose language is learnt, loaded from weights or trained on the training renders."""

import logging
from pathlib import Path

import numpy as np

from c2p.data.catalogue import weights_of
from c2p.data.download import Downloads, check_room, fetch_any, wanted
from c2p.data.files import write_json
from c2p.data.manifest import read_manifest, read_rgb
from c2p.models.architecture import find_architecture
from c2p.models.clip import create_clip, save_clip
from c2p.params import Params, Teacher
from c2p.training.captions import captions_of
from c2p.training.history import write_history
from c2p.training.teacher import train_teacher
from tasks.layout import Layout
from tasks.shard_map import Map

logger = logging.getLogger(__name__)


def run(params: Params, root: Path, map_: Map) -> None:
    """Write models/clip. With `teacher.pretrained` empty, train on training shapes only; validation is never seen."""
    layout, settings = Layout(root), params.teacher
    clip = create_clip(settings, weights=fetch_weights(settings, Downloads.of(root)))
    history: list[dict[str, float]] = []
    if not settings.pretrained:
        manifest = read_manifest(layout.shards)
        rows = manifest.split("train")
        images = np.stack(list(read_rgb(manifest, rows)))
        history = train_teacher(clip, images, [captions_of(row) for row in rows], settings)
    save_clip(clip, layout.clip)
    write_history(layout.plots("teacher"), history)
    trained = {"epochs": settings.epochs, "final_loss": round(history[-1]["loss"], 4)} if history else {"epochs": 0}
    write_json(layout.metrics("teacher"), trained)


def fetch_weights(settings: Teacher, downloads: Downloads) -> Path | None:
    """The weights that the parameters name, fetched where the catalogue has them; None: a file, or open_clip's own.

    Raises ModelError, DownloadError, LockError, OSError: one line each.
    """
    find_architecture(settings)
    collection = weights_of(settings.model, settings.pretrained)
    if collection is None:
        return None
    entries = wanted(collection, downloads)
    check_room(entries, downloads)
    return fetch_any(entries[0], downloads)
