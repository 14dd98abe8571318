"""The history: what every checkpoint that was ever evaluated reached on every benchmark set, one Parquet file.

It grows by appending and holds the time of day, so it is no output of a stage. A row is one checkpoint on one set,
under a key of all that decides the number; a key stands there once.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock

from c2p.data.files import write_atomic

SCHEMA = pa.schema(
    [
        ("when", pa.timestamp("ms", tz="UTC")),  # begin of the run that evaluated it
        ("dataset", pa.string()),  # name of the benchmark set's file
        ("accuracy", pa.float64()),  # zero-shot top-1, percent
        ("low", pa.float64()),  # 95 % interval over test objects (c2p.evaluation.scores.interval), percent
        ("high", pa.float64()),
        ("class_mean", pa.float64()),  # mean over classes of their accuracy, percent
        ("objects", pa.int64()),  # test objects
        ("chance", pa.float64()),  # accuracy of guessing, percent
        ("seed", pa.int64()),  # of pre-training; null: not known
        ("epoch", pa.int64()),  # that selection chose; null: not known
        ("checkpoint", pa.string()),  # the encoder's folder, relative to the project's
        ("sha256", pa.string()),  # of the weights
        ("data_rev", pa.string()),  # SHA-256 of the benchmark set's file
        ("git_rev", pa.string()),  # `git describe --always --dirty`; empty: no git
        ("key", pa.string()),  # of weights, data, parameters and code behind the number
    ]
)
"""Columns, in order; rows are sorted by when, dataset, seed and key."""

Row = dict[str, Any]
_LOCK_SECONDS = 60.0


@dataclass(frozen=True)
class Drop:
    """A checkpoint that is worse than an earlier one on the same objects."""

    row: Row
    best: Row

    @property
    def points(self) -> float:
        """By how much, in points of percent."""
        return float(self.best["accuracy"] - self.row["accuracy"])

    @property
    def is_within_interval(self) -> bool:
        """Whether the best before still lies in the interval of the new accuracy: chance may explain the drop."""
        return bool(self.row["low"] <= self.best["accuracy"] <= self.row["high"])

    def __str__(self) -> str:
        row, best = self.row, self.best
        verdict = "within it: may be chance" if self.is_within_interval else "outside it"
        return (
            f"{row['dataset']}: {row['accuracy']:.2f} %, {self.points:.2f} points below the best before "
            f"({best['accuracy']:.2f} %, {best['sha256'][:12]}); {row['objects']} objects, 95 % interval "
            f"{row['low']:.2f} to {row['high']:.2f}, the best before is {verdict}"
        )


def read_history(path: Path) -> list[Row]:
    """Rows of a history, sorted; none where there is no such file.

    Raises ValueError: it is not one.
    """
    if not path.is_file():
        return []
    try:
        # Given a name, Arrow opens the file twice, and another process may replace it in between.
        table = pq.read_table(pa.BufferReader(path.read_bytes()))
        missing = set(SCHEMA.names) - set(table.column_names)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path}: not a Parquet file ({' '.join(str(error).split())}); move it away") from None
    if missing:
        raise ValueError(f"{path}: no columns {', '.join(sorted(missing))}; it is no history: move it away")
    rows: list[Row] = table.select(SCHEMA.names).cast(SCHEMA).to_pylist()
    return sorted(rows, key=_order)


def append_history(path: Path, rows: Iterable[Row]) -> list[Row]:
    """Append rows whose key isn't there yet, and return those; any number of processes may do so at once.

    The file is replaced as a whole, under a lock beside it: a reader sees the old or the new one.
    Raises ValueError: what is there is no history, or another process holds the lock for a minute.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock_path(path), timeout=_LOCK_SECONDS):
            known = read_history(path)
            keys = {row["key"] for row in known}
            new = list({row["key"]: row for row in rows if row["key"] not in keys}.values())
            if new:
                table = pa.Table.from_pylist(sorted([*known, *new], key=_order), schema=SCHEMA)
                write_atomic(path, lambda temporary: pq.write_table(table, temporary))
    except TimeoutError:
        raise ValueError(
            f"{lock_path(path)}: held by another process for {_LOCK_SECONDS:.0f} s; end that and run again"
        ) from None
    return new


def lock_path(path: Path) -> Path:
    """Where the lock of a history lies."""
    return path.with_name(f".{path.name}.lock")


def find_drops(new: Sequence[Row], known: Sequence[Row], *, points: float) -> list[Drop]:
    """Those of new rows that are more than so many points below the best one before.

    Compared are rows of the same set with the same objects and of the same seed: seeds differ by chance, and by more
    than the points one would want to hear of.
    """
    found = []
    for row in new:
        alike = [other for other in known if _is_comparable(other, row)]
        best = max(alike, key=lambda other: float(other["accuracy"]), default=None)
        if best and best["accuracy"] - row["accuracy"] > points:
            found.append(Drop(row, best))
    return found


def format_history(rows: Sequence[Row]) -> list[str]:
    """Lines of a table for people, oldest first; the head comes first."""
    columns: dict[str, Callable[[Row], str]] = {
        "when (UTC)": lambda row: f"{row['when']:%Y-%m-%d %H:%M}",
        "set": lambda row: row["dataset"],
        "top-1": lambda row: f"{row['accuracy']:.2f}",
        "95 % interval": lambda row: f"{row['low']:.2f} to {row['high']:.2f}",
        "objects": lambda row: str(row["objects"]),
        "seed": lambda row: _or_dash(row["seed"]),
        "epoch": lambda row: _or_dash(row["epoch"]),
        "weights": lambda row: row["sha256"][:12],
        "data": lambda row: row["data_rev"][:12],
        "git": lambda row: row["git_rev"] or "–",
    }
    cells = [list(columns), *([cell(row) for cell in columns.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    right = {"top-1", "95 % interval", "objects", "seed", "epoch"}
    return [
        "  ".join(
            cell.rjust(width) if name in right else cell.ljust(width)
            for name, cell, width in zip(columns, line, widths, strict=True)
        ).rstrip()
        for line in cells
    ]


def _is_comparable(known: Row, row: Row) -> bool:
    names = ("dataset", "data_rev", "seed")
    return known["key"] != row["key"] and all(known[name] == row[name] for name in names)


def _order(row: Row) -> tuple[Any, ...]:
    return row["when"], row["dataset"], -1 if row["seed"] is None else row["seed"], row["key"]


def _or_dash(value: int | None) -> str:
    return "–" if value is None else str(value)
