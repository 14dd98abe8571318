"""Stage teacher: the CLIP whose language is learnt, loaded from weights or trained on the training renders."""

import logging
from pathlib import Path

import numpy as np
import torch
from huggingface_hub import try_to_load_from_cache

from c2p.data.catalogue import RemoteFile, weights_of
from c2p.data.download import Downloads, check_room, fetch_any, wanted
from c2p.data.files import sha256, write_json
from c2p.data.manifest import FILE, read_manifest, read_rgb
from c2p.models.architecture import HUB, find_architecture
from c2p.models.clip import create_clip, save_clip
from c2p.models.device import compute_device
from c2p.models.hub import fetch_folder
from c2p.params import Params, Teacher
from c2p.training.captions import captions_of
from c2p.training.history import History, write_history
from c2p.training.teacher import train_teacher
from tasks.closure import code_digest
from tasks.layout import Layout
from tasks.progress import tell
from tasks.shard_map import Map
from tasks.store import Store, key

logger = logging.getLogger(__name__)
TAG_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
"""What open_clip's tags mean where they name a repository alone, in the order to try them."""


def run(params: Params, root: Path, map_: Map) -> None:
    """Write models/clip. With `teacher.pretrained` empty, train on training shapes only; validation is never seen.

    A killed training goes on where its last saved state was.
    """
    layout, settings = Layout(root), params.teacher
    clip = create_clip(settings, weights=fetch_weights(settings, Downloads.of(root)))
    history: History = []
    if not settings.pretrained:
        clip.model.to(device := compute_device())
        manifest = read_manifest(layout.shards)
        rows = manifest.split("train")
        piece = key(
            "teacher", code_digest("tasks.teacher"), sha256(layout.shards / FILE), settings, torch.get_num_threads()
        )
        images = np.stack(list(read_rgb(manifest, rows)))
        history = train_teacher(
            clip,
            images,
            [captions_of(row) for row in rows],
            settings,
            folder=Store(root).folder(key(piece, device.type)),
            on_step=lambda step, steps, values: tell("teacher", step, steps),
        )
    save_clip(clip, layout.clip)
    write_history(layout.plots("teacher"), history)
    trained = {"epochs": settings.epochs, "final_loss": round(history[-1]["loss"], 4)} if history else {"epochs": 0}
    write_json(layout.metrics("teacher"), trained)


def fetch_weights(settings: Teacher, downloads: Downloads) -> Path | None:
    """The weights that the parameters name: a tag's file, the folder of a hub repository; None: nothing to fetch.

    What the hub's own client has in its cache is taken from there.
    Raises ModelError, DownloadError, LockError, OSError: one line each.
    """
    if settings.pretrained.startswith(HUB):
        return fetch_folder(settings.pretrained.removeprefix(HUB))
    tag = find_architecture(settings).tag
    if not tag:
        return None
    collection = weights_of(settings.model, settings.pretrained)
    choices = wanted(collection, downloads)[0] if collection else _offers(settings, tag)
    if not choices:
        return None
    repository, name = choices[0].hub, choices[0].hub_name or choices[0].name
    cached = try_to_load_from_cache(repository, name) if repository else None
    if isinstance(cached, str):
        logger.info("teacher: weights from the hub's cache, %s", cached)
        return Path(cached)
    check_room([choices], downloads)
    return fetch_any(choices, downloads)


def _offers(settings: Teacher, tag: dict[str, str]) -> tuple[RemoteFile, ...]:
    """Where the weights of a tag that the catalogue does not list are offered, as open_clip's entry says."""
    folder = f"clip-{settings.model}-{settings.pretrained}".lower()
    if tag.get("hf_hub"):
        repository, _, name = tag["hf_hub"].rpartition("/")
        names = (name,) if name else TAG_FILES
        return tuple(RemoteFile(folder, name, hub=repository) for name in names)
    url = tag.get("url", "")
    digest = url.split("/")[-2] if "openaipublic" in url else ""
    return (RemoteFile(folder, url.rpartition("/")[2], (url,), sha256=digest),) if url else ()
