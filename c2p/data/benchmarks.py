"""Benchmark sets: labelled point clouds with a training and a test split, one Parquet file a set.

A file may hold random draws of each object's points beside the farthest ones, a column a draw, so that one is read
without the others.

Legend: N object, K draw, P point.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from c2p.data.files import write_atomic
from c2p.data.pointset import PointSet

Split = Literal["train", "test"]
DRAW = "draw_{}"
"""Column of a random draw, by its number from 0: P * 3 float32 a row, null in a split that has fewer draws."""
DRAWS = "draws"
"""Entry of the schema's metadata: how many draws each split has, as JSON; absent where none has."""


@dataclass(frozen=True)
class Benchmark:
    """A benchmark set; classes in the official label order."""

    name: str
    classes: tuple[str, ...]
    train: PointSet
    test: PointSet


def write_benchmark(path: Path, benchmark: Benchmark, *, draws: Mapping[Split, np.ndarray] | None = None) -> Path:
    """Write a benchmark set as Parquet; same set, same bytes.

    draws: (N, K, P, 3) float32 of each split that has random draws, in the order of its objects, each split with a K
    of its own; without any the file is that of a set that knows no draws.
    """
    parts: dict[Split, PointSet] = {"train": benchmark.train, "test": benchmark.test}
    count = benchmark.train.points.shape[1]
    columns = {
        "key": pa.array([key for part in parts.values() for key in part.keys]),
        "split": pa.array([name for name, part in parts.items() for _ in part.keys]),
        "label": pa.array(np.concatenate([part.labels for part in parts.values()])),
        "points": pa.FixedSizeListArray.from_arrays(
            pa.array(np.concatenate([part.points.reshape(-1) for part in parts.values()])), count * 3
        ),
    }
    metadata = {"name": benchmark.name, "classes": "\n".join(benchmark.classes)}
    kept = {split: values for split, values in (draws or {}).items() if values.shape[1]}
    for number in range(max((values.shape[1] for values in kept.values()), default=0)):
        columns[DRAW.format(number)] = _draw_column(parts, kept, number, count)
    if kept:
        metadata[DRAWS] = json.dumps({split: values.shape[1] for split, values in kept.items()}, sort_keys=True)
    table = pa.table(columns).replace_schema_metadata(metadata)
    return write_atomic(path, lambda temporary: pq.write_table(table, temporary))


def read_benchmark(path: Path) -> Benchmark:
    """Read a benchmark set and check it; random draws are left to read_draw.

    Raises ValueError: there is none, the file is not one, a split without objects, a key that occurs twice, labels
    outside the classes, non-finite points.
    """
    table = _opened(path, lambda file: pq.read_table(file, columns=_plain_columns(file)))
    metadata = table.schema.metadata or {}
    if not {b"name", b"classes"} <= set(metadata) or not {"key", "split", "label", "points"} <= set(table.column_names):
        raise ValueError(f"{path}: not a benchmark set; rebuild it with `dvc repro -f benchmarks`")
    name = metadata[b"name"].decode()
    classes = tuple(metadata[b"classes"].decode().split("\n"))
    keys = np.array(table["key"].to_pylist(), dtype=object)
    splits = np.array(table["split"].to_pylist(), dtype=object)
    labels = table["label"].to_numpy().astype(np.int64)
    points = table["points"].combine_chunks().flatten().to_numpy().reshape(len(keys), -1, 3)
    _check(path, keys, splits, labels, points, len(classes))

    def split(which: str) -> PointSet:
        rows = splits == which
        return PointSet(tuple(keys[rows]), points[rows].astype(np.float32), labels[rows])

    return Benchmark(name, classes, split("train"), split("test"))


def draw_counts(path: Path) -> dict[Split, int]:
    """Random draws that a benchmark file holds an object, by split.

    Raises ValueError: there is no such file, or it is not one.
    """
    metadata = _opened(path, pq.read_schema).metadata or {}
    known = json.loads(metadata.get(DRAWS.encode(), b"{}"))
    return {"train": known.get("train", 0), "test": known.get("test", 0)}


def read_draw(path: Path, split: Split, number: int) -> np.ndarray:
    """Random draw `number` (from 0) of every object of a split, in the order of read_benchmark: (N, P, 3) float32.

    Centred, largest norm 1, y up, as the farthest points are. Nothing but this draw is read.
    Raises ValueError: the file is none, holds fewer draws, or points that are not finite.
    """
    count = draw_counts(path)[split]
    if not 0 <= number < count:
        raise ValueError(
            f"{path}: no draw {number} of the {split} split, it has {count}; "
            f"raise benchmarks.{split}_draws and run `dvc repro benchmarks`"
        )
    name = DRAW.format(number)
    table = _opened(path, lambda file: pq.read_table(file, columns=["split", name], filters=[("split", "=", split)]))
    column = table[name].combine_chunks()
    points = column.flatten().to_numpy().reshape(table.num_rows, -1, 3)
    if not np.isfinite(points).all():
        raise ValueError(f"{path}: points that are not finite; rebuild it with `dvc repro -f benchmarks`")
    return points


def _opened(path: Path, read: Callable[[Path], Any]) -> Any:
    if not path.is_file():
        raise ValueError(f"{path}: no such benchmark set; build it with `dvc repro benchmarks`")
    try:
        return read(path)
    except pa.ArrowInvalid as error:
        said = " ".join(str(error).split())
        raise ValueError(f"{path}: not a Parquet file ({said}); rebuild it with `dvc repro -f benchmarks`") from None


def _check(
    path: Path, keys: np.ndarray, splits: np.ndarray, labels: np.ndarray, points: np.ndarray, classes: int
) -> None:
    again = "rebuild it with `dvc repro -f benchmarks`"
    for split in ("train", "test"):
        if not (splits == split).any():
            raise ValueError(f"{path}: the {split} split has no object; {again}")
    if twice := [key for key, times in Counter(keys).items() if times > 1]:
        raise ValueError(f"{path}: {len(twice)} keys stand for several objects, the first {twice[0]!r}; {again}")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"{path}: labels {labels.min()} to {labels.max()}; allowed: 0 to {classes - 1}; {again}")
    if not np.isfinite(points).all():
        raise ValueError(f"{path}: points that are not finite; {again}")


def _plain_columns(path: Path) -> list[str]:
    return [name for name in pq.read_schema(path).names if not name.startswith(DRAW.format(""))]


def _draw_column(
    parts: Mapping[Split, PointSet], draws: Mapping[Split, np.ndarray], number: int, count: int
) -> pa.FixedSizeListArray:
    """One draw of every row, null where its split has fewer."""
    values, absent = [], []
    for split, part in parts.items():
        here = split in draws and number < draws[split].shape[1]
        assert not here or draws[split].shape[::2] == (len(part), count), "draws of other objects or sizes"
        values.append(draws[split][:, number].reshape(-1) if here else np.zeros(len(part) * count * 3, np.float32))
        absent.append(np.full(len(part), not here))
    mask = np.concatenate(absent)
    return pa.FixedSizeListArray.from_arrays(
        pa.array(np.concatenate(values)), count * 3, mask=pa.array(mask) if mask.any() else None
    )
