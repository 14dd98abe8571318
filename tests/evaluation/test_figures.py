"""Pictures of the report."""

import base64
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from c2p.evaluation.figures import confusion_chart, contact_sheet, line_chart, png_uri, ticks


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (3.0, 97.0), (-2.0, 5.0), (0.123, 0.124), (4.0, 4.0), (1, 12)])
def test_ticks_are_round_and_span_the_range(low: float, high: float) -> None:
    values = ticks(low, high, 4)
    steps = np.diff(values)
    assert values[0] <= low + 1e-9
    assert values[-1] >= high - 1e-9
    assert 1 <= len(values) <= 7
    if len(steps):
        assert steps == pytest.approx(steps[0], rel=1e-6)


def test_line_chart_keeps_order_and_escapes_names() -> None:
    svg = line_chart({"a <b>": [(1, 0.0), (2, 1.0), (3, 4.0)]}, x_label="epoch", title="t")
    ElementTree.fromstring(svg)
    points = re.search(r'points="([^"]+)"', svg)
    assert points
    xs, ys = zip(*(map(float, p.split(",")) for p in points[1].split()), strict=True)
    assert list(xs) == sorted(xs)
    assert list(ys) == sorted(ys, reverse=True), "larger values stand higher"
    ElementTree.fromstring(line_chart({"one": [(1, 2.0)]}, x_label="epoch", title="single point"))


def test_confusion_chart_shows_every_count() -> None:
    counts = np.array([[3, 1], [0, 4]])
    svg = confusion_chart(counts, ["cup & saucer", "bowl"])
    root = ElementTree.fromstring(svg)
    texts = [t.text for t in root.iter() if t.tag == "text" and "count" in t.get("class", "")]
    assert texts == ["3", "1", "4"]
    assert svg.count('class="right"') == 2
    assert "cup &amp; saucer taken for bowl: 1 of 4" in svg


def test_pictures_survive() -> None:
    picture = np.random.default_rng(0).integers(256, size=(5, 7, 3), dtype=np.uint8)
    data = base64.b64decode(png_uri(picture).split(",")[1])
    assert (np.asarray(Image.open(io.BytesIO(data))) == picture).all()


def test_contact_sheet_keeps_the_order_of_views() -> None:
    views = np.stack([np.full((4, 4), v, np.uint8) for v in (10, 200, 90)])
    sheet = contact_sheet(views, size=8)
    assert sheet.shape == (8, 24, 3)
    assert sheet[3, [4, 12, 20], 0].tolist() == [10, 200, 90]
