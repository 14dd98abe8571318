"""Histories of training as tables that `dvc plots` draws."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from c2p.data.files import write_text


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
