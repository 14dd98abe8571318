"""Made shapes in the layout of ModelNet: untextured OFF files with z up, at their own size and place."""

from pathlib import Path
from typing import Literal

import numpy as np

from c2p.data.toy.families import TOY_MODELNET10, TOY_MODELNET40
from c2p.data.toy.packing import model_id, rows, write_zip
from c2p.data.toy.shape import ToyShape, make_shape

_CLASSES = {"ModelNet10": TOY_MODELNET10, "ModelNet40": TOY_MODELNET40}
_GLUED_SHARE = 0.3


def write_modelnet(path: Path, *, name: Literal["ModelNet40", "ModelNet10"], seed: int, train: int, test: int) -> None:
    """Write a zip with `<name>/<class>/{train,test}/<class>_NNNN.off`, `train` and `test` objects a class.

    A file's (x, y, z) is the world's (-y, z, -x): z up, front to -x. Some headers glue the counts to the magic
    (`OFF3514 3546 0`), as thousands of the published files do. Numbering runs on from train to test.

    Raises ValueError: a name other than the two.
    """
    if name not in _CLASSES:
        raise ValueError(f"ModelNet set: got {name!r}; allowed: {', '.join(_CLASSES)}")
    members = []
    for label, category in _CLASSES[name].items():
        stem = label.replace(" ", "_")
        for index in range(train + test):
            split = "train" if index < train else "test"
            model = model_id(seed, collection=name, category=category, split=split, index=index)
            rng = np.random.default_rng([int(model, 16), 1])
            shape = make_shape(category, int(model, 16))
            members.append((f"{name}/{stem}/{split}/{stem}_{index + 1:04d}.off", _off(shape, rng).encode()))
    write_zip(path, members)


def _off(shape: ToyShape, rng: np.random.Generator) -> str:
    world = shape.vertices * rng.uniform(10, 80) + rng.uniform(-20, 20, 3)
    file = np.stack([-world[:, 2], -world[:, 0], world[:, 1]], -1)
    separator = "" if rng.random() < _GLUED_SHARE else "\n"
    header = f"OFF{separator}{len(file)} {len(shape.faces)} 0\n"
    return header + rows("%.4f %.4f %.4f\n", file) + rows("3 %d %d %d\n", shape.faces)
