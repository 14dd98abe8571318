"""Finding shapes by a text, another shape or a picture: features of a collection, kept by content.

N shapes, C feature width.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from c2p.data.archive import printable
from c2p.data.files import sha256, write_atomic
from c2p.data.models import UpAxis
from c2p.data.shapereading import Read, Reading, read_clouds
from c2p.data.shapes import ShapeError, content_digest, shape_files
from c2p.models.folder import clip_digest
from c2p.models.point_folder import is_point_folder, point_digest
from c2p.models.preprocessing import Preprocessing

KEY = b"c2p.index"
CODE = (
    "c2p.data.cloudformats",
    "c2p.data.shapes",
    "c2p.encoder",
    "c2p.evaluation.drawings",
    "c2p.geometry.canvas",
    "c2p.geometry.depth",
    "c2p.geometry.meshes",
    "c2p.geometry.points",
    "c2p.geometry.surface",
    "c2p.geometry.views",
    "c2p.models.clip",
    "c2p.models.point_encoder",
    "c2p.models.point_groups",
    "c2p.models.point_mlp",
    "c2p.models.point_model",
)
"""Modules whose text decides what a shape's feature is."""
BATCH = 32
"""Shapes encoded together."""
SAVED_EVERY = 512
"""Shapes after which the index is written: what a kill may cost."""

Encode = Callable[[np.ndarray], np.ndarray]
"""Clouds (B, P, 3) float32 in the encoder's frame to features (B, C) float32 of length one."""


@dataclass
class Index:
    """Features of shapes by the digest of their content, under one encoder and one way of drawing."""

    path: Path
    key: str
    """What else the features depend on."""
    features: dict[str, np.ndarray] = field(default_factory=dict)
    """(C,) float32 of length one, by digest."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Why a shape can't be used, by digest."""

    def __contains__(self, digest: str) -> bool:
        return digest in self.features or digest in self.reasons


@dataclass(frozen=True)
class Collection:
    """Shapes that can be searched, and those that can't."""

    place: Path
    addresses: tuple[str, ...]
    """(N,) of the usable ones, sorted."""
    features: np.ndarray
    """(N, C) float32 of length one."""
    unusable: tuple[tuple[str, str], ...]
    """Address and reason of the others."""
    encoded: int
    """Shapes that were read and encoded now; the others came from the index."""

    def name(self, address: str) -> str:
        """An address without that of the collection, as it can be printed."""
        return printable(address.removeprefix(str(self.place)).lstrip(":/\\"))


@dataclass(frozen=True)
class Found:
    """One result."""

    rank: int
    """From 1."""
    cosine: float
    address: str


def index_key(folder: Path, preprocessing: Preprocessing, up: UpAxis) -> str:
    """All that features of shapes depend on beside the shapes' content, as text.

    folder: the encoder's. Raises ModelError: it is none.
    """
    render = preprocessing.render
    made = {
        "encoder": point_digest(folder) if is_point_folder(folder) else clip_digest(folder),
        "surface": [render.cloud_points, render.seed, render.max_faces],
        "points": preprocessing.sample.points,
        "depth": dataclasses.asdict(preprocessing.depth),
        "views": preprocessing.zeroshot.views,
        "up": up,
        "code": _code_digest(),
    }
    return json.dumps(made, sort_keys=True)


def default_path(key: str, store: Path) -> Path:
    """Where the index with this key lies in a store folder."""
    return store / "retrieval" / f"{hashlib.sha256(key.encode()).hexdigest()}.parquet"


def read_index(path: Path, key: str) -> Index:
    """Read an index; one that is not there is empty.

    Raises ValueError: the file is no index, or one of another encoder, drawing or version.
    """
    if not path.exists():
        return Index(path, key)
    again = "remove it, or name another file"
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: no index of shapes ({' '.join(str(error).split())[:120]}); {again}") from None
    metadata = table.schema.metadata or {}
    if KEY not in metadata or table.column_names != ["digest", "reason", "feature"]:
        raise ValueError(f"{path}: no index of shapes; {again}")
    if metadata[KEY].decode() != key:
        raise ValueError(f"{path}: made with another encoder, other parameters or another version of c2p; {again}")
    index = Index(path, key)
    for row in table.to_pylist():
        if row["feature"] is None:
            index.reasons[row["digest"]] = row["reason"]
        else:
            index.features[row["digest"]] = np.array(row["feature"], dtype=np.float32)
    return index


def write_index(index: Index) -> Path:
    """Write an index, rows sorted: the same content gives the same bytes."""
    rows: list[dict[str, Any]] = [
        {"digest": digest, "reason": "", "feature": feature} for digest, feature in index.features.items()
    ]
    rows += [{"digest": digest, "reason": reason, "feature": None} for digest, reason in index.reasons.items()]
    columns = [("digest", pa.string()), ("reason", pa.string()), ("feature", pa.list_(pa.float32()))]
    schema = pa.schema(columns, metadata={KEY: index.key.encode()})
    table = pa.Table.from_pylist(sorted(rows, key=lambda row: str(row["digest"])), schema=schema)
    return write_atomic(index.path, lambda temporary: pq.write_table(table, temporary, compression="zstd"))


def survey(place: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Digests of all shapes of a folder or archive by address, sorted, and reasons of those that can't be read.

    Raises ShapeError or ArchiveError: as shape_files.
    """
    digests, broken = {}, {}
    for address in shape_files(place):
        try:
            digests[address] = content_digest(address)
        except ShapeError as error:
            broken[address] = str(error).removeprefix(f"{address}: ")
    return digests, broken


def search_ready(
    place: Path,
    index: Index,
    reading: Reading,
    encode: Callable[[], Encode],
    *,
    workers: int,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> Collection:
    """Features of every shape of a folder or archive: from the index, or read, encoded and added to it.

    encode: gives the encoder, and is not called where the index knows every shape: loading takes seconds. advance: is
    told how many of the new shapes are done.
    Raises ShapeError or ArchiveError: no shapes, or an archive that can't be read. ReadersDied. What was encoded until
    then is kept.
    """
    digests, broken = survey(place)
    new = list({digest: address for address, digest in reversed(digests.items()) if digest not in index}.items())[::-1]
    passing: dict[str, str] = {}
    if new:
        write_index(index)  # where it can't be written, say so before the work is done
        try:
            _encode_new(new, index, passing, reading, encode, workers, advance)
        finally:
            write_index(index)
    unusable = broken | {
        address: reason
        for address, digest in digests.items()
        if (reason := passing.get(digest) or index.reasons.get(digest))
    }
    usable = [address for address in digests if address not in unusable]
    features = [index.features[digests[address]] for address in usable]
    stacked = np.stack(features) if features else np.zeros((0, 0), np.float32)
    return Collection(place, tuple(usable), stacked, tuple(sorted(unusable.items())), len(new))


def rank(collection: Collection, query: np.ndarray, top: int) -> list[Found]:
    """The shapes nearest to a query feature (C,) of length one, by cosine; of equals, the first by name.

    Raises ValueError: widths differ.
    """
    if query.shape != collection.features.shape[1:]:
        raise ValueError(
            f"a query of width {query.shape[-1]} and shapes of width {collection.features.shape[1]}; allowed: the same"
        )
    cosines = collection.features.astype(np.float64) @ query.astype(np.float64)
    order = np.argsort(-cosines, kind="stable")[:top]
    return [Found(n + 1, float(cosines[k]), collection.addresses[k]) for n, k in enumerate(order)]


def _encode_new(
    new: Sequence[tuple[str, str]],
    index: Index,
    passing: dict[str, str],
    reading: Reading,
    encode: Callable[[], Encode],
    workers: int,
    advance: Callable[[int, int], None],
) -> None:
    """Fill the index; reasons that lie not in the content go to `passing`."""
    reads = read_clouds([address for _, address in new], reading, workers=workers)
    run: Encode | None = None
    done, saved = 0, 0
    for batch in _batches(zip([digest for digest, _ in new], reads, strict=True)):
        usable = [(digest, read.cloud) for digest, read in batch if read.cloud is not None]
        if usable:
            run = run or encode()
            features = run(np.stack([cloud for _, cloud in usable]))
            index.features.update(zip([digest for digest, _ in usable], features, strict=True))
        for digest, read in batch:
            if read.cloud is None:
                (index.reasons if read.lasting else passing)[digest] = read.reason
        done += len(batch)
        advance(done, len(new))
        if done - saved >= SAVED_EVERY:
            write_index(index)
            saved = done


def _code_digest() -> str:
    """SHA-256 of the text of CODE, found without importing it."""
    total = hashlib.sha256()
    for name in CODE:
        spec = find_spec(name)
        assert spec is not None and spec.origin
        total.update(sha256(Path(spec.origin)).encode())
    return total.hexdigest()


def _batches(items: Iterator[tuple[str, Read]]) -> Iterator[list[tuple[str, Read]]]:
    while batch := list(islice(items, BATCH)):
        yield batch
