"""Benchmark sets: labelled point clouds with a training and a test split, one Parquet file a set."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from c2p.data.files import write_atomic
from c2p.data.pointset import PointSet


@dataclass(frozen=True)
class Benchmark:
    """A benchmark set; classes in the official label order."""

    name: str
    classes: tuple[str, ...]
    train: PointSet
    test: PointSet


def write_benchmark(path: Path, benchmark: Benchmark) -> Path:
    """Write a benchmark set as Parquet; same set, same bytes."""
    parts = {"train": benchmark.train, "test": benchmark.test}
    count = benchmark.train.points.shape[1]
    table = pa.table(
        {
            "key": pa.array([key for part in parts.values() for key in part.keys]),
            "split": pa.array([name for name, part in parts.items() for _ in part.keys]),
            "label": pa.array(np.concatenate([part.labels for part in parts.values()])),
            "points": pa.FixedSizeListArray.from_arrays(
                pa.array(np.concatenate([part.points.reshape(-1) for part in parts.values()])), count * 3
            ),
        }
    )
    table = table.replace_schema_metadata({"name": benchmark.name, "classes": "\n".join(benchmark.classes)})
    return write_atomic(path, lambda temporary: pq.write_table(table, temporary))


def read_benchmark(path: Path) -> Benchmark:
    """Read a benchmark set and check it.

    Raises ValueError: there is none, the file is not one, labels outside the classes, non-finite points.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such benchmark set; build it with `dvc repro benchmarks`")
    try:
        table = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path}: not a Parquet file ({error}); rebuild it with `dvc repro -f benchmarks`") from None
    metadata = table.schema.metadata or {}
    if not {b"name", b"classes"} <= set(metadata) or not {"key", "split", "label", "points"} <= set(table.column_names):
        raise ValueError(f"{path}: not a benchmark set; rebuild it with `dvc repro -f benchmarks`")
    name = metadata[b"name"].decode()
    classes = tuple(metadata[b"classes"].decode().split("\n"))
    keys = np.array(table["key"].to_pylist(), dtype=object)
    splits = np.array(table["split"].to_pylist(), dtype=object)
    labels = table["label"].to_numpy().astype(np.int64)
    points = table["points"].combine_chunks().flatten().to_numpy().reshape(len(keys), -1, 3)
    if labels.size and not (labels.min() >= 0 and labels.max() < len(classes)):
        raise ValueError(f"{path}: labels {labels.min()} to {labels.max()}; allowed: 0 to {len(classes) - 1}")
    if not np.isfinite(points).all():
        raise ValueError(f"{path}: points that are not finite; rebuild it with `dvc repro -f benchmarks`")

    def split(which: str) -> PointSet:
        rows = splits == which
        return PointSet(tuple(keys[rows]), points[rows].astype(np.float32), labels[rows])

    return Benchmark(name, classes, split("train"), split("test"))
