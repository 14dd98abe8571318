"""Made shapes in the layout of the hub's ShapeNetCore.v2: one zip a synset, split lists and captions."""

import csv
import io
from pathlib import Path

import numpy as np
from PIL import Image

from c2p.data.files import write_text
from c2p.data.toy.families import TOY_SHAPENET
from c2p.data.toy.finishes import ToyMaterial
from c2p.data.toy.packing import model_id, rows, write_zip
from c2p.data.toy.shape import ToyShape, make_shape
from c2p.data.vocabulary import SHAPENET, SHAPENET_SYNSETS

_SPLITS = ("train", "val")


def write_shapenet(folder: Path, *, seed: int, train: int, validation: int) -> None:
    """Write `train` and `validation` shapes a category.

    Into `folder`: `<synset>.zip` holding `<synset>/<model>/models/model_normalized.{obj,mtl}` and
    `<synset>/<model>/images/texture<N>.{jpg,png}`; `train.txt` and `val.txt` with a line `<synset>-<model>` a model;
    `captions.csv` with a row `key,caption` a caption.
    """
    names = dict(zip(SHAPENET, SHAPENET_SYNSETS, strict=True))
    keys: dict[str, list[str]] = {split: [] for split in _SPLITS}
    captions: list[tuple[str, str]] = []
    for name, category in TOY_SHAPENET.items():
        synset = names[name]
        members: list[tuple[str, bytes]] = []
        for split, count in zip(_SPLITS, (train, validation), strict=True):
            for index in range(count):
                model = model_id(seed, collection="shapenet", category=category, split=split, index=index)
                shape = make_shape(category, int(model, 16))
                key = f"{synset}-{model}"
                keys[split].append(key)
                captions += [(key, caption) for caption in shape.captions]
                members += [(f"{synset}/{model}/{path}", data) for path, data in model_files(shape)]
        write_zip(folder / f"{synset}.zip", members)
    for split in _SPLITS:
        write_text(folder / f"{split}.txt", "".join(f"{key}\n" for key in sorted(keys[split])))
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(("key", "caption"))
    captions.sort(key=lambda row: row[0])
    writer.writerows(captions)
    write_text(folder / "captions.csv", table.getvalue())


def model_files(shape: ToyShape) -> list[tuple[str, bytes]]:
    """Return the files of a model by their path in its folder: OBJ, MTL and textures."""
    textures = [(f"images/texture{i}.{extension}", data) for i, (extension, data) in _textures(shape).items()]
    return [
        ("models/model_normalized.obj", _obj(shape).encode()),
        ("models/model_normalized.mtl", _mtl(shape).encode()),
        *textures,
    ]


def _textures(shape: ToyShape) -> dict[int, tuple[str, bytes]]:
    """Encoded textures by material index: patterns as PNG, which keeps their edges, photographs' like as JPEG."""
    encoded = {}
    for index, material in enumerate(shape.materials):
        if material.texture is None:
            continue
        data = io.BytesIO()
        extension = _extension(material)
        picture = Image.fromarray(material.texture)
        if extension == "png":
            picture.save(data, format="PNG", compress_level=6)
        else:
            picture.save(data, format="JPEG", quality=85)
        encoded[index] = (extension, data.getvalue())
    return encoded


def _extension(material: ToyMaterial) -> str:
    return "jpg" if material.name.startswith("plain") else "png"


def _mtl(shape: ToyShape) -> str:
    blocks = []
    for index, material in enumerate(shape.materials):
        red, green, blue = material.diffuse
        block = (
            f"newmtl {material.name}_{index}\nKd {red:.4f} {green:.4f} {blue:.4f}\nKa 0 0 0\nKs 0.2 0.2 0.2\nillum 2\n"
        )
        if material.texture is not None:
            block += f"map_Kd ../images/texture{index}.{_extension(material)}\n"
        blocks.append(block)
    return "\n".join(blocks)


def _obj(shape: ToyShape) -> str:
    """One group of faces a material; texture coordinates where the material has a texture."""
    parts = ["mtllib model_normalized.mtl\n", rows("v %.6f %.6f %.6f\n", shape.vertices)]
    groups = []
    next_uv = 1
    for index, material in enumerate(shape.materials):
        chosen = shape.face_material == index
        corners = shape.faces[chosen].reshape(-1) + 1
        groups.append(f"usemtl {material.name}_{index}\n")
        if material.texture is None:
            groups.append(rows("f %d %d %d\n", corners.reshape(-1, 3)))
            continue
        uv, inverse = np.unique(np.round(shape.uv[chosen].reshape(-1, 2), 4), axis=0, return_inverse=True)
        parts.append(rows("vt %.4f %.4f\n", uv))
        pairs = np.stack([corners, inverse.reshape(-1) + next_uv], -1)
        groups.append(rows("f %d/%d %d/%d %d/%d\n", pairs.reshape(-1, 6)))
        next_uv += len(uv)
    return "".join(parts + groups)
