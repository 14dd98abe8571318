"""Histories of training, and their form as tables that `dvc plots` draws."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from c2p.data.files import write_text

History = list[dict[str, float]]
"""One row an epoch: epoch (finished), loss and its terms, and at checkpoints what the validation gave."""
ACCURACY = "validation_accuracy"
"""Name of the deciding value in a history: percent of the validation split's objects."""


def write_history(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Write rows as CSV: the columns of all rows in order of appearance, six significant digits, empty where absent."""
    columns = list(dict.fromkeys(name for row in rows for name in row)) or ["epoch"]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row.get(name)) for name in columns])
    return write_text(path, buffer.getvalue())


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
