"""The report's gallery as Markdown with the pictures inside, for the user interface, which loads nothing from disk."""

import base64
import io
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

from PIL import Image

START = "data:image/png;base64,"
QUALITY = 60
"""Of the JPEG pictures; a fourth of the report's PNG."""


def gallery_markdown(report: Path) -> str:
    """Every exhibit of results/report.html: its picture, its class, what it was taken for, its name; "" without any."""
    parser = _Gallery()
    parser.feed(report.read_text(encoding="utf-8"))
    lines = [f"![{words}]({_smaller(picture)})\n\n**{words}** `{name}`" for picture, words, name in parser.exhibits()]
    return "\n\n".join(["# Gallery", parser.subtitle, *lines]) + "\n" if lines else ""


class _Gallery(HTMLParser):
    """Collects the pictures and words of the section `gallery`."""

    def __init__(self) -> None:
        super().__init__()
        self._inside = False
        self._field: str | None = None
        self._found: list[dict[str, str]] = []
        self.subtitle = ""

    def exhibits(self) -> Iterator[tuple[str, str, str]]:
        """(picture, words, name) of each."""
        for one in self._found:
            yield one["img"], " ".join(one.get("badge", "").split()), one.get("code", "").strip()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "section":
            self._inside = given.get("id") == "gallery"
        if not self._inside:
            return
        if tag == "img" and (given.get("src") or "").startswith(START):
            self._found.append({"img": str(given["src"])})
        elif tag == "code":
            self._field = "code"
        elif tag == "span" and (given.get("class") or "").startswith("badge"):
            self._field = "badge"
        elif tag == "p" and given.get("class") == "sub":
            self._field = "sub"

    def handle_endtag(self, tag: str) -> None:
        self._field = None

    def handle_data(self, data: str) -> None:
        if self._field == "sub":
            self.subtitle = data.partition("; bars")[0].rstrip(".") + "."
        elif self._field and self._found:
            self._found[-1][self._field] = self._found[-1].get(self._field, "") + data


def _smaller(picture: str) -> str:
    """A PNG as a JPEG, both as data URIs."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(base64.b64decode(picture.removeprefix(START)))).convert("RGB").save(
        buffer, "JPEG", quality=QUALITY
    )
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
