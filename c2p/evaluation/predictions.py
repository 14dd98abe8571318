"""What every classifier said of every test object, as one Parquet table a stage."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from c2p.data.files import write_atomic
from c2p.evaluation.zeroshot import softmax

TOP = 5
"""Classes kept an object."""

SCHEMA = pa.schema(
    [
        ("dataset", pa.string()),
        ("method", pa.string()),
        ("seed", pa.int64()),
        ("key", pa.string()),
        ("actual", pa.string()),
        ("predicted", pa.string()),
        ("top", pa.list_(pa.string())),
        ("shares", pa.list_(pa.float32())),
    ]
)
"""seed is null where nothing was drawn at random; top are the classes with the largest probabilities, shares those."""


@dataclass(frozen=True)
class Prediction:
    """One object's row."""

    key: str
    actual: str
    predicted: str
    top: tuple[str, ...]
    shares: tuple[float, ...]


def predict(
    keys: Sequence[str], labels: np.ndarray, logits: np.ndarray, classes: Sequence[str], *, scale: float
) -> list[Prediction]:
    """Turn logits (N, K) into rows; probabilities are softmax(scale * logits)."""
    shares = softmax(scale * logits)
    order = np.argsort(-logits, axis=1, kind="stable")[:, :TOP]
    return [
        Prediction(
            key,
            classes[labels[row]],
            classes[order[row, 0]],
            tuple(classes[k] for k in order[row]),
            tuple(float(np.float32(shares[row, k])) for k in order[row]),
        )
        for row, key in enumerate(keys)
    ]


@dataclass(frozen=True)
class ClassRow:
    """How one class was recognised."""

    name: str
    objects: int
    right: int
    taken_for: str
    """The other class it was taken for most often, the first of equals; empty: every object was right."""

    @property
    def accuracy(self) -> float | None:
        """Percent of its objects; None: it has no objects."""
        return 100 * self.right / self.objects if self.objects else None


def per_class(predictions: Sequence[Prediction], classes: Sequence[str]) -> list[ClassRow]:
    """One row a class, in the order of the classes, objects of all predictions counted.

    Raises ValueError: a prediction of a class that is not among them.
    """
    counts = confusion_counts(predictions, classes)
    rows = []
    for place, name in enumerate(classes):
        others = counts[place].copy()
        others[place] = 0
        most = int(others.argmax())
        taken = classes[most] if others[most] else ""
        rows.append(ClassRow(name, int(counts[place].sum()), int(counts[place, place]), taken))
    return rows


def confusion_counts(predictions: Sequence[Prediction], classes: Sequence[str]) -> np.ndarray:
    """(K, K) int64: objects of class row classified as column.

    Raises ValueError: a prediction of a class that is not among them.
    """
    places = {name: place for place, name in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)), np.int64)
    for row in predictions:
        for name in (row.actual, row.predicted):
            if name not in places:
                raise ValueError(f"{row.key}: class {name!r} is not one of the set's: {', '.join(classes)}")
        counts[places[row.actual], places[row.predicted]] += 1
    return counts


class PredictionTable:
    """Rows gathered over datasets, methods and seeds."""

    def __init__(self) -> None:
        self._rows: list[dict[str, object]] = []

    def add(self, rows: Sequence[Prediction], *, dataset: str, method: str, seed: int | None) -> None:
        """Append the predictions of one classifier."""
        head = {"dataset": dataset, "method": method, "seed": seed}
        self._rows += [head | vars(row) for row in rows]

    def write(self, path: Path) -> Path:
        """Write the table; same rows, same bytes."""
        table = pa.Table.from_pylist(self._rows, schema=SCHEMA)
        return write_atomic(path, lambda temporary: pq.write_table(table, temporary, compression="zstd"))


def read_predictions(path: Path, *, dataset: str, method: str, seed: int | None = None) -> list[Prediction]:
    """Predictions of one classifier; of the first seed in the table where none is named.

    Raises ValueError: the table has none.
    """
    filters = [("dataset", "=", dataset), ("method", "=", method)]
    rows = pq.read_table(path, filters=filters).to_pylist()
    if seed is None and rows:
        seed = rows[0]["seed"]
    rows = [row for row in rows if row["seed"] == seed]
    if not rows:
        raise ValueError(f"{path}: no predictions of {method} on {dataset}, seed {seed}")
    return [
        Prediction(row["key"], row["actual"], row["predicted"], tuple(row["top"]), tuple(row["shares"])) for row in rows
    ]
