"""Zero-shot classification of single shapes, and the picture of it. Letters: N shapes, K labels, V views."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from c2p.data.cloudformats import CloudError
from c2p.data.shapes import Shape, ShapeError, standard_cloud
from c2p.encoder import Encoder
from c2p.evaluation.labels import check_labels
from c2p.evaluation.portraits import mesh_views, resized
from c2p.evaluation.sheet import ACCENT, FAINT, GAP, MARGIN, SMALL, TITLE, Sheet, text_width
from c2p.geometry.views import view_set

TILE = 148
"""Side of a picture on the sheet, pixels."""
ROW = 26
"""Height of a bar with its label, pixels."""
HEAD = 64
"""Height of a shape's title, pixels."""
LABELS_WIDE = 300
"""Pixels that labels may take."""
PERCENT = 72
"""Pixels kept for a percentage."""


@dataclass(frozen=True)
class Classified:
    """What the encoder says of one shape."""

    shape: Shape
    labels: tuple[str, ...]
    logits: np.ndarray
    """(K,) mean cosines."""
    probabilities: np.ndarray
    """(K,) float64, sum one."""
    cloud: np.ndarray
    """(P, 3) float32: the farthest points whose depth maps were encoded."""

    @property
    def kind(self) -> str:
        """What the file holds."""
        return "cloud" if self.shape.mesh is None else "mesh"

    def order(self, top: int) -> list[int]:
        """Places of the most probable labels, best first; of equals, the one named first."""
        return [int(k) for k in np.argsort(-self.logits, kind="stable")[:top]]

    def record(self, top: int) -> dict[str, Any]:
        """Plain data for scripts: labels in order of probability."""
        labels = [
            {"label": self.labels[k], "probability": float(self.probabilities[k]), "cosine": float(self.logits[k])}
            for k in self.order(top)
        ]
        return {"file": self.shape.name, "kind": self.kind, "labels": labels}


def classify_shapes(encoder: Encoder, shapes: Sequence[Shape], labels: Sequence[str]) -> list[Classified]:
    """Classify shapes: each by itself, so that neither their order nor their number has a part in it.

    Raises ValueError: a shape has too few points, or the labels can't be used.
    """
    names = tuple(check_labels(labels))
    clouds = np.stack([_cloud(encoder, shape) for shape in shapes])
    logits = encoder.logits(clouds, names, normalise=False)
    return [
        Classified(shape, names, values, encoder.probabilities(values), cloud)
        for shape, values, cloud in zip(shapes, logits, clouds, strict=True)
    ]


def classification_sheet(results: Sequence[Classified], encoder: Encoder, *, top: int) -> Image.Image:
    """One picture: each shape's views (coloured where it is a mesh), its depth maps and the bars of its labels.

    A 3D encoder sees no depth maps: they show the points it read.
    """
    views = view_set(encoder.preprocessing.zeroshot.views)
    left = MARGIN + round(text_width(_drawn(encoder), size=SMALL)) + GAP
    width = left + max(4, len(views)) * (TILE + GAP) - GAP + MARGIN
    heights = [_height(result, top) for result in results]
    sheet = Sheet(width, sum(heights))
    place = 0
    for result, height in zip(results, heights, strict=True):
        if place:
            sheet.line(place)
        _draw(sheet, place, left, result, encoder, top)
        place += height
    return sheet.image


def _cloud(encoder: Encoder, shape: Shape) -> np.ndarray:
    try:
        return standard_cloud(shape.points, encoder.points)
    except CloudError as error:
        raise ShapeError(f"{shape.name}: {error}") from None


def _height(result: Classified, top: int) -> int:
    rows = 1 if result.shape.mesh is None else 2
    bars = min(top, len(result.labels)) + (len(result.labels) > top)
    return HEAD + 24 + rows * (TILE + GAP) + GAP + bars * ROW + MARGIN


def _draw(sheet: Sheet, place: int, left: int, result: Classified, encoder: Encoder, top: int) -> None:
    shape, views = result.shape, encoder.preprocessing.zeroshot.views
    inner = sheet.image.width - 2 * MARGIN
    kind = (
        f"cloud of {len(shape.points):,} points" if shape.mesh is None else f"mesh of {len(shape.mesh.faces):,} faces"
    )
    done = "read" if encoder.point_model else "drawn"
    sheet.text((MARGIN, place + 14), shape.name, size=TITLE, width=inner, bold=True)
    sheet.text(
        (MARGIN, place + 42),
        f"{kind}; {encoder.points:,} farthest points {done}",
        size=SMALL,
        ink=FAINT,
    )
    rows = [] if shape.mesh is None else [("RGB", mesh_views(shape.mesh, encoder.preprocessing.render, views, TILE))]
    rows.append((_drawn(encoder), resized(encoder.draw(result.cloud[None])[0], TILE)))
    y = place + HEAD + 24
    for column, name in enumerate(view_set(views).names):
        middle = left + column * (TILE + GAP) + TILE // 2
        sheet.text((middle, y - 6), name, size=SMALL, ink=FAINT, anchor="ms", width=TILE)
    for name, pictures in rows:
        sheet.text((MARGIN, y + TILE // 2), name, size=SMALL, ink=FAINT, anchor="lm")
        for column, picture in enumerate(pictures):
            sheet.picture((left + column * (TILE + GAP), y), picture)
        y += TILE + GAP
    _bars(sheet, y + GAP, result, top)


def _drawn(encoder: Encoder) -> str:
    """What the grey pictures are: the depth maps that were encoded, or, of a 3D encoder, the points it read."""
    return "points" if encoder.point_model else "depth"


def _bars(sheet: Sheet, y: int, result: Classified, top: int) -> None:
    shown = [(result.labels[k], float(result.probabilities[k])) for k in result.order(top)]
    labels = min(LABELS_WIDE, math.ceil(max(text_width(label) for label, _ in shown)))
    start = MARGIN + labels + 2 * GAP
    length = sheet.image.width - MARGIN - PERCENT - start
    for number, (label, share) in enumerate(shown):
        middle = y + ROW // 2
        sheet.text((MARGIN + labels, middle), label, anchor="rm", width=labels, bold=False)
        sheet.bar((start, middle - 8), length, 16, share, accent=number == 0)
        ink = ACCENT if number == 0 else FAINT
        sheet.text((sheet.image.width - MARGIN, middle), percent(share), anchor="rm", ink=ink)
        y += ROW
    if rest := len(result.labels) - len(shown):
        share = max(0.0, 1 - sum(share for _, share in shown))
        text = f"{rest} more label{'s' * (rest > 1)}, {percent(share)} together"
        sheet.text((start, y + ROW // 2), text, size=SMALL, ink=FAINT, anchor="lm")


def percent(share: float) -> str:
    """A share as people read it: 0.0 % and 100.0 % only where it is that."""
    if 0 < share < 0.0005:
        return "< 0.1 %"
    if 0.9995 <= share < 1:
        return "> 99.9 %"
    return f"{100 * share:.1f} %"
