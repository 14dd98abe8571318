"""Parts: what rendering leaves of a few hundred models, a tar of RGB views and a Parquet table of surface clouds."""

import hashlib
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from c2p.data.archive import MemberError, open_archive
from c2p.data.clouds import centre_on_cloud
from c2p.data.models import Model, read_mesh
from c2p.data.pictures import encode_png
from c2p.data.places import name_of
from c2p.data.scene import describe
from c2p.data.splits import seed_of
from c2p.data.tars import add_member
from c2p.geometry.meshes import MeshError, normalise, rotate_up
from c2p.geometry.points import sample_surface
from c2p.geometry.views import view_set
from c2p.params import Render
from c2p.rendering import render_views

CLOUD_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("label", pa.string()),
        ("split", pa.string()),
        ("source", pa.string()),
        ("sha256", pa.string()),
        ("faces", pa.int64()),
        ("centre", pa.list_(pa.float64(), 3)),
        ("scale", pa.float64()),
        ("points", pa.list_(pa.float32())),
        ("reason", pa.string()),
    ]
)
"""A row a model: points are (P, 3) float32 flattened, y up, in the frame of the views (render.centre: the mean of the
vertices or of these points at the origin, their largest norm 1); centre and scale lead back to the file's frame; sha256
is the mesh file's; reason is empty for a model that was used. The table's metadata hold `scene`: what the pictures were
taken with (c2p.data.scene), as JSON."""


@dataclass(frozen=True)
class RenderedModel:
    """A model's views, encoded, and its row of the cloud table."""

    views: tuple[bytes, ...]
    row: dict[str, Any]


def render_model(model: Model, settings: Render, rotations: np.ndarray) -> RenderedModel:
    """Read, normalise, render and sample one model; an unusable mesh becomes a row with a reason and no views.

    Raises ArchiveError or OSError: the archive itself can't be read, which says nothing about the mesh.
    """
    row: dict[str, Any] = dict.fromkeys(CLOUD_SCHEMA.names)
    row |= {"key": model.key, "label": model.label, "split": model.split, "reason": ""}
    row |= {"source": f"{name_of(model.archive)}:{model.member}", "points": [], "sha256": ""}
    archive = open_archive(model.archive)
    try:
        data = archive.read(model.member)
        row["sha256"] = hashlib.sha256(data).hexdigest()
        mesh = read_mesh(model, max_faces=settings.max_faces, data=data)
    except (MeshError, MemberError) as error:
        place = f"{model.archive}: "  # differs from machine to machine, and `source` names the archive
        return RenderedModel((), row | {"reason": str(error).removeprefix(place)})
    vertices, centre, scale = normalise(rotate_up(mesh.vertices, model.up))
    mesh = replace(mesh, vertices=vertices)
    cloud = sample_surface(mesh, settings.cloud_points, seed_of(model.key, settings.seed))
    if settings.centre == "surface":
        mesh, cloud, shift, factor = centre_on_cloud(mesh, cloud)
        centre, scale = centre + scale * shift, scale * factor
    rendered = render_views(mesh, rotations, settings)
    row["points"] = cloud.reshape(-1)
    row |= {"faces": len(mesh.faces), "centre": [float(c) for c in centre], "scale": float(scale)}
    return RenderedModel(tuple(encode_png(view) for view in rendered.rgb), row)


def render_part(models: Sequence[Model], settings: Render, tar: Path, clouds: Path) -> None:
    """Render a part's models into `tar` (`<key>.rgb.NN.png`) and `clouds` (CLOUD_SCHEMA), in the order given."""
    rotations = view_set(settings.views).rotations
    rows = []
    with tarfile.open(tar, "w", format=tarfile.GNU_FORMAT) as file:
        for model in models:
            rendered = render_model(model, settings, rotations)
            for index, data in enumerate(rendered.views):
                add_member(file, f"{model.key}.rgb.{index:02d}.png", data)
            rows.append(rendered.row)
    schema = CLOUD_SCHEMA.with_metadata({"scene": json.dumps(describe(settings), sort_keys=True)})
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), clouds, compression="zstd")


def read_scene(metadata: dict[bytes, bytes] | None, path: Path) -> dict[str, Any]:
    """What the pictures of a part were taken with, from the metadata of its clouds at `path`.

    Raises ValueError: they don't say.
    """
    if b"scene" not in (metadata or {}):
        raise ValueError(f"{path}: made by an earlier version of c2p; make it again with `dvc repro -f render`")
    return dict(json.loads((metadata or {})[b"scene"]))
