"""The retrieval gallery: some queries, by text, image and shape, and the shapes that a 3D encoder found for each.

Legend: H = W pixels, V view.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from c2p.data.benchmarks import Benchmark

EACH = 4
"""Queries of a kind."""
SHOWN = 5
"""Shapes a query."""
KINDS = {"text": ("text_object", "text_class"), "image": ("image_object",), "shape": ("shape_class",)}
"""Tasks of a kind of query, the first that there is taken."""
EXACT, CLASS, OTHER = "right", "class", "wrong"
"""What was found: what was asked for, another shape of its class, or a shape of another class."""

ReadViews = Callable[[Sequence[str]], Sequence[np.ndarray]]
"""Keys of models to their RGB views, (V, H, W, 3) uint8 each."""


@dataclass(frozen=True)
class FoundShape:
    """One result."""

    key: str
    label: str
    cosine: float
    mark: str
    """EXACT, CLASS or OTHER."""
    picture: np.ndarray
    """(H, W, 3) uint8."""


@dataclass(frozen=True)
class Search:
    """One query and the nearest shapes, the nearest first."""

    kind: str
    """Of KINDS."""
    text: str
    """The text that was asked; of a picture or a shape its class."""
    key: str
    """The shape's; empty for a text."""
    picture: np.ndarray | None
    """(H, W, 3) uint8; None: it is a text."""
    found: tuple[FoundShape, ...]


def searches(
    rankings: Path, bench: Benchmark, read_views: ReadViews, *, dataset: str, seed: int, view: int
) -> list[Search]:
    """A few queries of each kind, drawn by the hash of their names, one a class while that lasts.

    Args:
        rankings: the table of c2p.evaluation.cg3d_retrieval.
        bench: the set that was searched, whose test objects have RGB views.
        seed: of the 3D encoder.
        view: number of the RGB view by which shapes are shown.
    """
    table = pq.read_table(rankings, filters=[("dataset", "=", dataset), ("seed", "=", seed)])
    rows = table.to_pylist()
    labels = dict(zip(bench.test.keys, (bench.classes[label] for label in bench.test.labels), strict=True))
    picked = []
    for kind, tasks in KINDS.items():
        of_kind = next((found for task in tasks if (found := [row for row in rows if row["task"] == task])), [])
        picked += [(kind, row) for row in _drawn(of_kind, lambda row: _label(row, labels))]
    keys = {key for _, row in picked for key in [*row["keys"][:SHOWN], row["query"]] if key in labels}
    views = dict(zip(sorted(keys), read_views(sorted(keys)), strict=True))
    return [_search(kind, row, labels, views, view) for kind, row in picked]


def _drawn(rows: Sequence[dict[str, Any]], label: Callable[[dict[str, Any]], str]) -> list[dict[str, Any]]:
    """EACH rows by the hash of what they ask, of different classes while there are some."""
    ranked = sorted(rows, key=lambda row: hashlib.sha256(f"{row['query']} {row['view']}".encode()).digest())
    seen: dict[str, int] = {}
    turns = []
    for row in ranked:
        seen[label(row)] = seen.get(label(row), 0) + 1
        turns.append(seen[label(row)])
    return [ranked[place] for place in sorted(range(len(ranked)), key=turns.__getitem__)[:EACH]]


def _label(row: dict[str, Any], labels: dict[str, str]) -> str:
    """Class of what is asked: the shape's, the class that a prompt names, or that of a shape with the caption."""
    query: str = row["query"]
    if query in labels:
        return labels[query]
    if row["task"] == "text_class":
        return query
    return next((labels[key] for key, right in zip(row["keys"], row["relevant"], strict=True) if right), "")


def _search(kind: str, row: dict[str, Any], labels: dict[str, str], views: dict[str, np.ndarray], view: int) -> Search:
    wanted, query = _label(row, labels), row["query"]
    results = list(zip(row["keys"], row["cosines"], row["relevant"], strict=True))[:SHOWN]
    found = tuple(
        FoundShape(
            key,
            labels[key],
            cosine,
            EXACT if right else CLASS if labels[key] == wanted else OTHER,
            views[key][view],
        )
        for key, cosine, right in results
    )
    if kind == "text":
        return Search(kind, query, "", None, found)
    shown = view if row["view"] is None else row["view"]
    return Search(kind, labels[query], query, views[query][shown], found)
