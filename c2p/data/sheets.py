"""Contact sheets: rows of pictures with a name each."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

GAP = 4
"""Pixels between pictures."""
PAPER, INK, EMPTY = (246, 246, 244), (40, 40, 40), (228, 228, 224)


def contact_sheet(rows: Sequence[tuple[str, np.ndarray]], columns: Sequence[str] = ()) -> Image.Image:
    """Lay pictures out in named rows, under named columns where there are names.

    rows: name and (V, H, W) or (V, H, W, 3) uint8 pictures; all of one height and width, V may differ.
    columns: names, which may have several lines.
    """
    height, width = rows[0][1].shape[1:3]
    font = ImageFont.load_default(size=max(11, min(20, height // 7)))
    margin = 2 * GAP + max((round(font.getlength(name)) for name, _ in rows if name), default=-GAP)
    lines = max((name.count("\n") + 1 for name in columns), default=0)
    head = GAP + round(font.getbbox("Ag")[3] + GAP) * lines
    count = max(len(pictures) for _, pictures in rows)
    sheet = Image.new("RGB", (margin + count * (width + GAP), head + len(rows) * (height + GAP)), PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, name in enumerate(columns):
        centre = margin + column * (width + GAP) + width / 2
        draw.multiline_text((centre, head / 2), name, INK, font, anchor="mm", align="center")
    for row, (name, pictures) in enumerate(rows):
        top = head + row * (height + GAP)
        draw.text((GAP, top + height / 2), name, INK, font, anchor="lm")
        for column, picture in enumerate(pictures):
            left = margin + column * (width + GAP)
            draw.rectangle((left - 1, top - 1, left + width, top + height), outline=EMPTY)
            sheet.paste(Image.fromarray(picture).convert("RGB"), (left, top))
    return sheet
