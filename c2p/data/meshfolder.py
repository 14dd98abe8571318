"""Labelled meshes in an archive laid out `<class>/{train,test}/<name>.<extension>`: ModelNet, or anybody's own."""

import re
from collections import Counter
from itertools import pairwise

from c2p.data.archive import open_archive
from c2p.data.models import Model, UpAxis
from c2p.data.places import Place

EXTENSIONS = ("off", "obj", "glb", "ply", "stl")
SPLITS = ("train", "test")


def list_models(
    path: Place, *, up: UpAxis, classes: tuple[str, ...] | None = None
) -> tuple[list[Model], tuple[str, ...]]:
    """Models of an archive and its class names, in the order of `classes` if given, else sorted.

    The last three parts of a member's name count: class, split, file. Underscores in folder names read as spaces.
    With `classes` (an official label order) other folders are an error.
    Raises ValueError: no meshes, a class that `classes` lacks, a class without training or without test meshes.
    """
    models = [m for name in open_archive(path).names if (m := _model(path, name, up)) is not None]
    if not models:
        raise ValueError(f"{path}: no meshes found; allowed: <class>/{{train,test}}/<name>.{{{','.join(EXTENSIONS)}}}")
    present = {m.label for m in models}
    order = tuple(sorted(present)) if classes is None else tuple(c for c in classes if c in present)
    if unknown := sorted(present - set(order)):
        raise ValueError(f"{path}: class {unknown[0]!r} is unknown; allowed: {', '.join(classes or ())}")
    counts = Counter((m.label, m.split) for m in models)
    for label in order:
        for split in SPLITS:
            if counts[label, split] == 0:
                raise ValueError(
                    f"{path}: class {label!r} has no {split} mesh; add one to {label}/{split}/ or remove the class"
                )
    return _unique(path, models), order


def _model(path: Place, member: str, up: UpAxis) -> Model | None:
    parts = member.split("/")
    extension = member.rsplit(".", 1)[-1].lower()
    if len(parts) < 3 or parts[-2] not in SPLITS or extension not in EXTENSIONS:
        return None
    label, split, file = parts[-3:]
    key = re.sub(r"[^0-9A-Za-z_-]", "_", f"{label}-{split}-{file.rsplit('.', 1)[0]}")
    return Model(key, label.replace("_", " "), split, str(path), member, "/".join(parts[:-1]), up)


def _unique(path: Place, models: list[Model]) -> list[Model]:
    ordered = sorted(models, key=lambda m: (m.key, m.member))
    for model, following in pairwise(ordered):
        if model.key == following.key:
            raise ValueError(
                f"{path}: two meshes share the key {model.key}; rename one of {model.member} and {following.member} "
                "(class, split and file name count, without ending, and _ for all but letters, digits and -)"
            )
    return ordered
