"""A sheet of paper to put pictures, words and bars on: what `c2p classify` and `c2p retrieve` show."""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

PAPER, INK, FAINT, FRAME = (250, 250, 248), (34, 34, 34), (112, 112, 108), (214, 214, 208)
ACCENT, BAR, TRACK = (32, 98, 160), (150, 166, 182), (234, 235, 232)
GAP = 8
"""Pixels between things."""
MARGIN = 20
TEXT, SMALL, TITLE = 16, 13, 20
"""Sizes of type, pixels."""
ELLIPSIS = "…"


class Sheet:
    """Paper of a fixed width that grows downwards; positions are pixels from the upper left corner."""

    def __init__(self, width: int, height: int) -> None:
        self.image = Image.new("RGB", (width, height), PAPER)
        self._draw = ImageDraw.Draw(self.image)

    def text(
        self,
        place: tuple[float, float],
        text: str,
        *,
        size: int = TEXT,
        ink: tuple[int, int, int] = INK,
        anchor: str = "la",
        width: float | None = None,
        bold: bool = False,
    ) -> None:
        """Write a line; what is wider than `width` loses its middle."""
        line = printed(text) if width is None else fitted(text, width, size=size, bold=bold)
        self._draw.text(place, line, ink, face(size, bold=bold), anchor=anchor)

    def picture(self, place: tuple[int, int], picture: np.ndarray) -> None:
        """Put a picture (H, W, 3) uint8 down, in a thin frame: most have white edges."""
        left, top = place
        height, width = picture.shape[:2]
        self._draw.rectangle((left - 1, top - 1, left + width, top + height), outline=FRAME)
        self.image.paste(Image.fromarray(picture), place)

    def bar(self, place: tuple[int, int], length: int, height: int, share: float, *, accent: bool) -> None:
        """Draw a bar over its track; share: 0 to 1 of the length."""
        left, top = place
        self._draw.rounded_rectangle((left, top, left + length, top + height), 3, fill=TRACK)
        filled = round(length * share)
        if filled >= 1:
            self._draw.rounded_rectangle(
                (left, top, left + max(filled, 3), top + height), 3, fill=ACCENT if accent else BAR
            )

    def label(self, place: tuple[float, float], text: str) -> None:
        """Write a word on a small plate whose lower edge has its middle at the place."""
        x, y = place
        half = label_width(text) / 2
        self._draw.rounded_rectangle((x - half, y - 18, x + half, y - 1), 8, fill=PAPER, outline=FRAME)
        self.text((x, y - 10), text, size=SMALL, anchor="mm")

    def leader(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Draw a thin line from a label to what it names."""
        self._draw.line((*start, *end), fill=FAINT)

    def line(self, top: int) -> None:
        """Draw a thin rule from margin to margin."""
        self._draw.line((MARGIN, top, self.image.width - MARGIN, top), fill=FRAME)


@lru_cache
def face(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Letters, Greek and Cyrillic among them, of the type that matplotlib brings; Pillow's own where it is absent."""
    spec = find_spec("matplotlib")  # found, not imported: that takes half a second
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder, "mpl-data/fonts/ttf", "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")
        if path.is_file():
            return ImageFont.truetype(str(path), size)
    return ImageFont.load_default(size)


def printed(text: str) -> str:
    """A text on one line, nothing in it that can't be seen."""
    return "".join(character if character.isprintable() else " " for character in text)


def fitted(text: str, width: float, *, size: int = TEXT, bold: bool = False) -> str:
    """A text of at most so many pixels: its middle gives way to an ellipsis, since names differ at their ends."""
    text, letters = printed(text), face(size, bold=bold)
    if letters.getlength(text) <= width:
        return text
    low, high = 0, len(text)
    while low < high:  # most letters that fit
        kept = (low + high + 1) // 2
        low, high = (kept, high) if letters.getlength(_shortened(text, kept)) <= width else (low, kept - 1)
    return _shortened(text, low)


def text_width(text: str, *, size: int = TEXT, bold: bool = False) -> float:
    """Pixels a text takes."""
    return float(face(size, bold=bold).getlength(printed(text)))


def label_width(text: str) -> float:
    """Pixels that the plate of `Sheet.label` is wide."""
    return text_width(text, size=SMALL) + 10


def _shortened(text: str, kept: int) -> str:
    head = kept // 2
    tail = kept - head
    return f"{text[:head]}{ELLIPSIS}{text[len(text) - tail :]}"
