"""Pictures of the report."""

import base64
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from c2p.evaluation.figures import Line, confusion_chart, contact_sheet, key_mark, line_chart, mark, png_uri, ticks


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (3.0, 97.0), (-2.0, 5.0), (0.123, 0.124), (4.0, 4.0), (1, 12)])
def test_ticks_are_round_and_span_the_range(low: float, high: float) -> None:
    values = ticks(low, high, 4)
    steps = np.diff(values)
    assert values[0] <= low + 1e-9
    assert values[-1] >= high - 1e-9
    assert 1 <= len(values) <= 7
    if len(steps):
        assert steps == pytest.approx(steps[0], rel=1e-6)


def numbers(text: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in text.split())]


def test_line_chart_keeps_order_and_escapes_names() -> None:
    lines = {"a <b>": Line([(1, 0.0), (2, 1.0), (3, 4.0)])}
    svg = line_chart(lines, x_label="epoch", title="t")
    ElementTree.fromstring(svg)
    points = re.search(r'<polyline[^>]*points="([^"]+)"', svg)
    assert points
    xs, ys = zip(*numbers(points[1]), strict=True)
    assert list(xs) == sorted(xs)
    assert list(ys) == sorted(ys, reverse=True), "larger values stand higher"
    ElementTree.fromstring(line_chart({"one": Line([(1, 2.0)])}, x_label="epoch", title="single point"))


def test_logarithmic_axis_puts_doublings_at_equal_distances() -> None:
    lines = {"m": Line([(k, 50.0) for k in (1, 2, 4, 16)], [(40.0, 60.0)] * 4, ["x"] * 4)}
    svg = line_chart(lines, x_label="shots", y_label="%", title="t", x_ticks=(1, 2, 4, 16), log_x=True)
    ElementTree.fromstring(svg)
    found = re.search(r'<polyline[^>]*points="([^"]+)"', svg)
    band = re.search(r'<polygon class="band[^>]*points="([^"]+)"', svg)
    assert found and band
    xs = [x for x, _ in numbers(found[1])]
    step = xs[1] - xs[0]
    assert [x - xs[0] for x in xs] == pytest.approx([0, step, 2 * step, 4 * step], abs=0.2)
    middle = numbers(found[1])[0][1]
    ys = [y for _, y in numbers(band[1])]
    assert len(ys) == 8 and max(ys) - middle == pytest.approx(middle - min(ys), abs=0.2)


def test_long_lines_mark_their_end_and_every_mark_is_told_apart() -> None:
    long = line_chart({"m": Line([(n, float(n)) for n in range(100)])}, x_label="epoch", title="t")
    assert long.count('class="dot') == 1
    marks = [mark(n, 0, 0) for n in range(8)]
    assert len({re.sub(r"s\d", "", m.split(" ", 1)[0] + m.split("points", 1)[-1]) for m in marks[:4]}) == 4
    assert len(set(marks)) == 8
    for svg in (*marks, key_mark(5), mark(1, 2, 3, label="a & b")):
        ElementTree.fromstring(svg)


def test_confusion_chart_shows_every_count() -> None:
    counts = np.array([[3, 1], [0, 4]])
    svg = confusion_chart(counts, ["cup & saucer", "bowl"])
    root = ElementTree.fromstring(svg)
    texts = [t.text for t in root.iter() if t.tag == "text" and "count" in t.get("class", "")]
    assert texts == ["3", "1", "4"]
    assert svg.count('class="right"') == 2
    assert "cup &amp; saucer taken for bowl: 1 of 4" in svg
    long = confusion_chart(np.array([[1]]), ["x" * 300])
    assert float(ElementTree.fromstring(long).get("viewBox", "").split()[2]) < 250, "a long name is cut"
    assert "x" * 300 in long, "and told in full"
    assert ElementTree.fromstring(confusion_chart(np.eye(55, dtype=np.int64), [f"c{n}" for n in range(55)])) is not None


def test_pictures_survive() -> None:
    picture = np.random.default_rng(0).integers(256, size=(5, 7, 3), dtype=np.uint8)
    data = base64.b64decode(png_uri(picture).split(",")[1])
    assert (np.asarray(Image.open(io.BytesIO(data))) == picture).all()


def test_contact_sheet_keeps_the_order_of_views() -> None:
    views = np.stack([np.full((4, 4), v, np.uint8) for v in (10, 200, 90)])
    sheet = contact_sheet(views, size=8)
    assert sheet.shape == (8, 24, 3)
    assert sheet[3, [4, 12, 20], 0].tolist() == [10, 200, 90]
