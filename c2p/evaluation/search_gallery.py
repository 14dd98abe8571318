"""What a search found, as a picture or a page: the query above, the nearest shapes with their views below."""

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from c2p.data.pictures import encode_png
from c2p.evaluation.sheet import ACCENT, FAINT, GAP, MARGIN, SMALL, TEXT, TITLE, Sheet

TILE = 112
"""Side of a view, pixels."""
QUERY_TILE = 148
NUMBERS = 76
"""Pixels for rank and cosine."""
ROW = 26 + TILE + GAP
"""Height of a result, pixels."""
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>
:root {{ color-scheme: light dark; --paper: #fafaf8; --ink: #222; --faint: #6a6a66; --frame: #d6d6d0;
  --accent: #20629f }}
@media (prefers-color-scheme: dark) {{
  :root {{ --paper: #1c1d1f; --ink: #e8e8e4; --faint: #a3a39d; --frame: #45464a; --accent: #7db4e6 }} }}
body {{ margin: 1.5rem auto; max-width: 62rem; padding: 0 1rem; background: var(--paper); color: var(--ink);
  font: 16px/1.4 system-ui, sans-serif }}
h1 {{ font-size: 1.3rem; overflow-wrap: anywhere }} p {{ color: var(--faint) }}
ol {{ list-style: none; padding: 0 }} li {{ border-top: 1px solid var(--frame); padding: .6rem 0 }}
h2 {{ font-size: 1rem; font-weight: 600; margin: 0 0 .4rem; overflow-wrap: anywhere }}
h2 span {{ color: var(--accent); font-variant-numeric: tabular-nums; margin-right: .7rem }}
div {{ display: flex; flex-wrap: wrap; gap: .4rem }}
img {{ background: #fff; border: 1px solid var(--frame); height: 7rem; max-width: 100% }}
</style></head><body><h1>{title}</h1>{query}<p>{note}</p><ol>{rows}</ol></body></html>
"""


@dataclass(frozen=True)
class Hit:
    """A result as it is shown."""

    rank: int
    cosine: float
    name: str
    views: np.ndarray
    """(V, TILE, TILE, 3) uint8."""


@dataclass(frozen=True)
class Query:
    """What was asked for."""

    title: str
    """The text, or the file's name."""
    pictures: np.ndarray | None
    """(V, S, S, 3) uint8: views of a shape, or the one picture; None: a text."""


def gallery_sheet(query: Query, hits: Sequence[Hit], note: str) -> Image.Image:
    """The gallery as one picture."""
    columns = max([4, *(len(hit.views) for hit in hits)])
    width = 2 * MARGIN + NUMBERS + columns * (TILE + GAP) - GAP
    head = 72 + (0 if query.pictures is None else max(picture.shape[0] for picture in query.pictures) + 2 * GAP)
    sheet = Sheet(width, head + len(hits) * (ROW + GAP) + MARGIN)
    sheet.text((MARGIN, 16), query.title, size=TITLE, bold=True, width=width - 2 * MARGIN)
    sheet.text((MARGIN, 44), note, size=SMALL, ink=FAINT, width=width - 2 * MARGIN)
    if query.pictures is not None:
        for column, picture in enumerate(query.pictures):
            left = MARGIN + column * (picture.shape[1] + GAP)
            if left + picture.shape[1] <= width - MARGIN + 1:
                sheet.picture((left, 72), picture)
    for number, hit in enumerate(hits):
        _draw(sheet, head + number * (ROW + GAP), hit)
    return sheet.image


def gallery_page(query: Query, hits: Sequence[Hit], note: str) -> str:
    """The gallery as a page of its own: no other file, no network."""
    rows = "".join(
        f"<li><h2><span>{hit.rank}</span><span>{hit.cosine:.3f}</span>{html.escape(hit.name)}</h2>"
        f"<div>{_images(hit.views, hit.name)}</div></li>"
        for hit in hits
    )
    shown = "" if query.pictures is None else f"<div>{_images(query.pictures, query.title)}</div>"
    return PAGE.format(title=html.escape(query.title), query=shown, note=html.escape(note), rows=rows)


def _draw(sheet: Sheet, top: int, hit: Hit) -> None:
    left = MARGIN + NUMBERS
    sheet.line(top)
    sheet.text((left, top + 6), hit.name, size=SMALL, width=sheet.image.width - MARGIN - left)
    sheet.text((MARGIN, top + 26), str(hit.rank), size=TITLE, bold=True)
    sheet.text((MARGIN, top + 54), f"{hit.cosine:.3f}", size=TEXT, ink=ACCENT)
    sheet.text((MARGIN, top + 76), "cosine", size=SMALL, ink=FAINT)
    for column, picture in enumerate(hit.views):
        sheet.picture((left + column * (TILE + GAP), top + 26), picture)


def _images(pictures: np.ndarray, name: str) -> str:
    return "".join(
        f'<img alt="{html.escape(name)}, view {number}" '
        f'src="data:image/png;base64,{base64.b64encode(encode_png(picture)).decode()}">'
        for number, picture in enumerate(pictures, 1)
    )
