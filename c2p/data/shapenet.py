"""ShapeNetCore.v2: one zip a synset, as the hub delivers it, and Point-BERT's split lists."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from c2p.data.archive import open_archive
from c2p.data.models import Model
from c2p.data.places import Place, name_of
from c2p.data.vocabulary import SHAPENET, SHAPENET_SYNSETS, is_broken_shapenet

logger = logging.getLogger(__name__)
MESH_MEMBER = "models/model_normalized.obj"
_KEY = re.compile(r"[0-9A-Za-z_-]+")


def list_models(folder: Path, elsewhere: Sequence[Place] = ()) -> tuple[list[Model], tuple[str, ...]]:
    """Models of the synset archives in a folder that its split lists name, and the class names in synset order.

    The folder holds `<synset>.zip` archives (`<synset>/<model>/models/model_normalized.obj`, materials beside it,
    textures in `<synset>/<model>/images`) and the lists train.txt and val.txt (`<synset>-<model>` a line, `.npy`
    tolerated); archives may also lie `elsewhere`. Listed models that the archives lack, and the models the published
    code drops as broken, are left out.
    Raises ValueError: no archive, an unknown synset, no list, a class without training models.
    """
    places = {name_of(place): place for place in [*elsewhere, *folder.glob("*.zip")]}
    archives = [places[name] for name in sorted(places)]
    if not archives:
        raise ValueError(f"{folder}: no synset archives (<synset>.zip); run the download stage (dvc repro download)")
    splits = {key: name for name in ("train", "val") for key in read_list(folder / f"{name}.txt")}
    names = dict(zip(SHAPENET_SYNSETS, SHAPENET, strict=True))
    models = []
    for path in archives:
        synset = name_of(path).removesuffix(".zip")
        if synset not in names:
            raise ValueError(f"{path}: not a ShapeNetCore synset; allowed: the {len(names)} of ShapeNetCore.v2")
        models += [m for m in _models_of(path, synset, names[synset], splits) if not is_broken_shapenet(m.key)]
    if len(models) < len(splits):
        logger.info(
            "%d of %d listed models are used; the others are broken or not in the archives", len(models), len(splits)
        )
    present = tuple(names[name_of(path).removesuffix(".zip")] for path in archives)
    for name in present:
        if not any(m.label == name and m.split == "train" for m in models):
            raise ValueError(f"{folder}: class {name} has no training model; add models or remove its archive")
    return models, present


def read_list(path: Path) -> list[str]:
    """Keys of a split list, `<synset>-<model>`."""
    try:
        lines = path.read_text(encoding="utf-8").split()
    except FileNotFoundError:
        raise ValueError(f"{path}: no such split list; run the download stage (dvc repro download)") from None
    return [line.removesuffix(".npy") for line in lines]


def _models_of(path: Place, synset: str, label: str, splits: dict[str, str]) -> list[Model]:
    found = []
    for member in open_archive(path).names:
        parts = member.split("/", 2)
        if len(parts) != 3 or parts[2] != MESH_MEMBER or parts[0] != synset:
            continue
        key = f"{parts[0]}-{parts[1]}"
        if key in splits:
            if not _KEY.fullmatch(key):  # WebDataset splits the names of members at dots
                raise ValueError(f"{path}: model {parts[1]!r}; allowed in names: letters, digits, - and _")
            found.append(Model(key, label, splits[key], str(path), member, f"{parts[0]}/{parts[1]}", "y"))
    return found
