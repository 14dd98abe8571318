"""Clouds: farthest points of surface clouds and of benchmark objects."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from c2p.data.archive import MemberError
from c2p.data.models import Model, read_mesh
from c2p.data.places import Place, is_url, read_bytes
from c2p.data.splits import seed_of
from c2p.geometry.meshes import Mesh, MeshError, normalise, rotate_up
from c2p.geometry.points import centre_and_scale, farthest_points, normalise_points, sample_surface
from c2p.params import Render

GROUP = 8
"""Rows of a table of points that are read together."""


def farthest_cloud(points: np.ndarray, count: int) -> np.ndarray:
    """Farthest points of a cloud, in the unit sphere: normalise, then choose.

    points: (P, 3), P >= count. Returns (count, 3) float32, centroid of the whole cloud at the origin, largest norm
    of the whole cloud 1 (CLIP2Point section 5.1: 1,024 farthest points).
    Raises ValueError: P is less than count.
    """
    if len(points) < count:
        raise ValueError(
            f"sample.points: got {count}; allowed: up to {len(points)}, the points of a cloud (render.cloud_points)"
        )
    scaled = normalise_points(np.asarray(points, dtype=np.float32))
    return scaled[farthest_points(scaled, count)]


def farthest_clouds(clouds: np.ndarray, count: int) -> np.ndarray:
    """Farthest points of each of (N, P, 3) clouds: (N, count, 3) float32.

    Raises ValueError: P is less than count.
    """
    return np.stack([farthest_cloud(cloud, count) for cloud in clouds])


def cloud_digest(clouds: Path) -> str:
    """SHA-256 of the keys and points of a part's usable rows: all that `sample_part` depends on.

    Raises ValueError: the file is absent or damaged.
    """
    try:
        table = pq.read_table(clouds, columns=["key", "points", "reason"])
    except FileNotFoundError:
        raise ValueError(f"{clouds}: no such file; run the render stage (dvc repro render)") from None
    except (pa.ArrowInvalid, OSError) as error:
        said = " ".join(str(error).split())
        raise ValueError(f"{clouds}: damaged ({said}); make it again with `dvc repro -f render`") from None
    digest = hashlib.sha256()
    for key, cloud, reason in zip(*(table[c].to_numpy() for c in table.column_names), strict=True):
        if not reason:
            digest.update(f"{key} {len(cloud)}\n".encode() + np.ascontiguousarray(cloud).tobytes())
    return digest.hexdigest()


def sample_part(clouds: Place, count: int, out: Path) -> None:
    """Farthest points of every usable row of a part of clouds: columns key and points (count * 3 float32).

    Few rows are a group, since a shard wants few of each part.
    """
    source = pa.BufferReader(read_bytes(clouds)) if is_url(clouds) else clouds
    table = pq.read_table(source, columns=["key", "points", "reason"])
    usable = [
        (key, cloud)
        for key, cloud, reason in zip(*(table[c].to_numpy() for c in table.column_names), strict=True)
        if not reason
    ]
    sampled = [farthest_cloud(np.asarray(cloud).reshape(-1, 3), count).reshape(-1) for _, cloud in usable]
    schema = pa.schema([("key", pa.string()), ("points", pa.list_(pa.float32()))])
    rows = {"key": [key for key, _ in usable], "points": sampled}
    table = pa.table(rows, schema=schema)
    pq.write_table(table, out, compression="zstd", use_dictionary=False, row_group_size=GROUP)


def mesh_clouds(models: Sequence[Model], settings: Render, count: int) -> np.ndarray:
    """Farthest points of meshes, sampled from their surface: (N, count, 3) float32, y up.

    Raises MeshError: a mesh can't be used; the message names it.
    """
    clouds = []
    for model in models:
        mesh = upright_mesh(model, max_faces=settings.max_faces)
        surface = sample_surface(mesh, settings.cloud_points, seed_of(model.key, settings.seed))
        clouds.append(farthest_cloud(surface, count))
    return np.stack(clouds)


def centre_on_cloud(mesh: Mesh, cloud: np.ndarray) -> tuple[Mesh, np.ndarray, np.ndarray, float]:
    """A mesh in the frame in which its depth maps are drawn: its surface cloud's mean at the origin, largest norm 1.

    cloud: (P, 3) float32, of the mesh's surface. Returns (mesh, cloud, centre (3,) float64, scale), where what is
    returned is (what was given - centre) / scale.
    """
    centre, scale = centre_and_scale(cloud.astype(np.float64))
    moved = replace(mesh, vertices=(mesh.vertices - centre) / scale)
    return moved, ((cloud - centre) / scale).astype(np.float32), centre, scale


def upright_mesh(model: Model, *, max_faces: int) -> Mesh:
    """A model's mesh in the world frame: y up, centred on the vertices' mean, largest norm 1.

    Raises MeshError: it can't be used; the message names it.
    """
    try:
        mesh = read_mesh(model, max_faces=max_faces)
    except (MeshError, MemberError) as error:
        reason = str(error).removeprefix(f"{model.archive}: ")
        raise MeshError(f"{model.archive}: {model.member}: {reason}; mend the mesh or remove it") from None
    return replace(mesh, vertices=normalise(rotate_up(mesh.vertices, model.up))[0])
