"""The manifest: one row a model, with the place of every member of its sample, so that shards read like an array."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from c2p.data.arrays import read_arrays
from c2p.data.files import write_atomic
from c2p.data.pictures import decode_image
from c2p.data.places import Place, exists, is_url, join, list_names, local_copy, read_bytes
from c2p.data.pointset import PointSet
from c2p.data.tars import index_tar, read_range

FILE = "manifest.parquet"
_BATCH = 1000
"""Rows that are Python objects at a time."""
SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("label", pa.string()),
        ("split", pa.string()),
        ("shard", pa.string()),
        ("members", pa.list_(pa.struct([("name", pa.string()), ("offset", pa.int64()), ("size", pa.int64())]))),
        ("sha256", pa.string()),
        ("captions", pa.list_(pa.string())),
        ("source", pa.string()),
        ("faces", pa.int64()),
        ("reason", pa.string()),
    ]
)
"""shard is empty and reason is not for a model that could not be used; sha256 is over the sample's member bytes."""


@dataclass(frozen=True)
class Manifest:
    """The rows of a manifest and the class names in label order."""

    folder: Place
    """Where the shards lie: a path or a URL."""
    classes: tuple[str, ...]
    rows: list[dict[str, Any]]
    """Everything of SCHEMA but the members."""
    places: pa.ChunkedArray
    """Members of each row's sample; as Python objects those of ShapeNet would take 0.6 GB."""

    def members(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        """Name, offset and size of each member of a row's sample."""
        return self.places[row["index"]].as_py() or []

    def split(self, name: str) -> list[dict[str, Any]]:
        """Rows of the usable samples of `train` or `val`, in shard order."""
        return [row for row in self.rows if row["split"] == name and row["shard"]]

    @property
    def rejected(self) -> list[dict[str, Any]]:
        """Rows of the models that could not be used."""
        return [row for row in self.rows if not row["shard"]]


def write_manifest(
    folder: Path, classes: Sequence[str], rows: Iterable[dict[str, Any]], *, commit: Callable[[], None] = lambda: None
) -> Path:
    """Write the manifest of a shard folder; the order of rows is kept.

    commit: puts the shards in their place; called when the manifest is on the disk and has not got its name yet.
    """

    def write(temporary: Path) -> None:
        schema = SCHEMA.with_metadata({"classes": "\n".join(classes)})
        with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
            for batch in _batches(rows):
                writer.write_table(pa.Table.from_pylist(batch, schema=schema))
        commit()

    return write_atomic(folder / FILE, write)


def read_manifest(folder: Place) -> Manifest:
    """Read the manifest of a shard folder, on a disk or behind a URL.

    Raises ValueError: there is none, or the file is not one. OSError: the URL can't be used.
    """
    path = join(folder, FILE)
    if not exists(path):
        raise ValueError(f"{path}: no such manifest; build the shards with `dvc repro shards`")
    try:
        table = pq.read_table(pa.BufferReader(read_bytes(path)) if is_url(path) else path)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path}: not a Parquet file ({error}); build the shards with `dvc repro -f shards`") from None
    classes = (table.schema.metadata or {}).get(b"classes", b"").decode()
    if not classes or table.schema.names != SCHEMA.names:
        raise ValueError(f"{path}: not a manifest of this version; build the shards with `dvc repro -f shards`")
    rows = table.drop_columns(["members"]).to_pylist()
    numbered = [{"index": index} | row for index, row in enumerate(rows)]
    return Manifest(folder, tuple(classes.split("\n")), numbered, table["members"])


def shard_rows(shard: Path) -> dict[str, dict[str, Any]]:
    """What the manifest says of each sample of a finished shard: members and sha256 by key.

    Raises ValueError: the shard is cut short or damaged.
    """
    rows = {}
    with shard.open("rb") as file:
        for key, members in index_tar(shard).items():
            named = [{"name": name, "offset": offset, "size": size} for name, offset, size in members]
            rows[key] = {"members": named, "sha256": _digest(file, named)}
    return rows


def verify(manifest: Manifest) -> list[str]:
    """Compare every shard with the manifest; returns what is wrong, one line each. A remote shard is copied for it."""
    wrong = []
    by_shard: dict[str, list[dict[str, Any]]] = {}
    for row in manifest.rows:
        if row["shard"]:
            by_shard.setdefault(row["shard"], []).append(row)
    for name in sorted({n for n in list_names(manifest.folder) if n.endswith(".tar")} - set(by_shard)):
        wrong.append(f"{name}: not in the manifest")
    for name, rows in sorted(by_shard.items()):
        if not exists(shard := join(manifest.folder, name)):
            wrong.append(f"{name}: missing, {len(rows)} samples lost")
            continue
        with local_copy(shard) as path:
            wrong += [line.replace(str(path), str(shard)) for line in _verify_shard(manifest, path, rows)]
    return wrong


def read_points(manifest: Manifest, split: str) -> PointSet:
    """Farthest points and labels of a split, in shard order."""
    rows = manifest.split(split)
    labels = np.array([manifest.classes.index(row["label"]) for row in rows], dtype=np.int64)
    files = {name: join(manifest.folder, name) for name in {row["shard"] for row in rows}}
    shards = [files[row["shard"]] for row in rows]
    stacked = read_arrays(shards, *_places(manifest, rows, "points.npy")) if rows else np.zeros((0, 1, 3), np.float32)
    return PointSet(tuple(row["key"] for row in rows), stacked, labels)


def read_rgb(manifest: Manifest, rows: Sequence[dict[str, Any]]) -> Iterator[np.ndarray]:
    """RGB views (V, H, W, 3) uint8 of samples, one after the other."""
    for row in rows:
        yield read_pictures(manifest, row, "rgb")


def read_pictures(manifest: Manifest, row: dict[str, Any], kind: str) -> np.ndarray:
    """Views of one sample, (V, H, W, 3) uint8; kind: `rgb` or `depth` (grey in three equal channels)."""
    names = sorted(m["name"] for m in manifest.members(row) if m["name"].startswith(f"{kind}."))
    return np.stack([decode_image(_member(manifest, row, name)) for name in names])


def read_picture(manifest: Manifest, row: dict[str, Any], kind: str, view: int) -> np.ndarray:
    """One view of one sample, (H, W, 3) uint8; view: counted from 0; kind: as read_pictures.

    Raises ValueError: the sample has no such view.
    """
    names = sorted(m["name"] for m in manifest.members(row) if m["name"].startswith(f"{kind}."))
    if not 0 <= view < len(names):
        raise ValueError(f"{row['key']}: view {view} of {len(names)}; allowed: 0 to {len(names) - 1}")
    return decode_image(_member(manifest, row, names[view]))


def summary(manifest: Manifest) -> dict[str, Any]:
    """Counts of a manifest, flat enough for `dvc metrics show`."""
    usable = Counter(row["split"] for row in manifest.rows if row["shard"])
    share = len(manifest.rejected) / max(1, len(manifest.rows))
    counts = {f"{split}_samples": usable[split] for split in ("train", "val")}
    return counts | {
        "classes": len(manifest.classes),
        "rejected": len(manifest.rejected),
        "reject_rate": round(share, 6),
    }


def _places(manifest: Manifest, rows: Sequence[dict[str, Any]], name: str) -> tuple[Sequence[int], Sequence[int]]:
    """Offset and size of one member of every sample; as Python objects a split's members would take seconds.

    Raises ValueError: a sample has no such member, or two.
    """
    members = manifest.places.take([row["index"] for row in rows]).combine_chunks()
    wanted = pc.equal(pc.struct_field(members.flatten(), "name"), name)
    owners = pc.list_parent_indices(members).filter(wanted).to_numpy(zero_copy_only=False)
    if not np.array_equal(owners, np.arange(len(rows))):
        counts = np.bincount(owners, minlength=len(rows))
        row = rows[int(np.flatnonzero(counts != 1)[0])]
        raise ValueError(
            f"{row['shard']}: sample {row['key']} has not one {name}; build the shards with `dvc repro -f shards`"
        )
    found = members.flatten().filter(wanted)
    return tuple(pc.struct_field(found, field).to_pylist() for field in ("offset", "size"))


def _member(manifest: Manifest, row: dict[str, Any], name: str) -> bytes:
    place = next(m for m in manifest.members(row) if m["name"] == name)
    return read_range(join(manifest.folder, row["shard"]), place["offset"], place["size"])


def _verify_shard(manifest: Manifest, path: Path, rows: Sequence[dict[str, Any]]) -> list[str]:
    try:
        found = shard_rows(path)
    except ValueError as error:
        return [str(error), *_lost_samples(manifest, path, rows)]
    wrong = [
        f"{path.name}: sample {row['key']} differs from the manifest"
        for row in rows
        if found.pop(row["key"], None) != {"members": manifest.members(row), "sha256": row["sha256"]}
    ]
    return wrong + [f"{path.name}: sample {key} is not in the manifest" for key in sorted(found)]


def _lost_samples(manifest: Manifest, path: Path, rows: Sequence[dict[str, Any]]) -> list[str]:
    """Of a shard whose headers can't be followed: the samples whose bytes are not there."""
    with path.open("rb") as file:
        return [
            f"{path.name}: sample {row['key']} differs from the manifest"
            for row in rows
            if _digest(file, manifest.members(row)) != row["sha256"]
        ]


def _digest(file: BinaryIO, members: Sequence[dict[str, Any]]) -> str:
    digest = hashlib.sha256()
    for member in members:
        file.seek(member["offset"])
        digest.update(file.read(member["size"]))
    return digest.hexdigest()


def _batches(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    remaining = iter(rows)
    while batch := list(islice(remaining, _BATCH)):
        yield batch
