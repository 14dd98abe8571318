"""The report's gallery as an artifact of a run: every picture and name of the page, smaller."""

import base64
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from made_results import Page, make_metrics, make_results
from PIL import Image

from c2p import params
from tasks.gallery import gallery_markdown

PICTURE = re.compile(r"!\[(.*?)\]\((data:image/(\w+);base64,([^)]+))\)\n\n\*\*(.*?)\*\* `(.*?)`")


def opened(data: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(data.partition("base64,")[2])))


def test_every_exhibit_of_the_report(tmp_path: Path, small_settings: params.Params) -> None:
    settings = replace(small_settings, render=replace(small_settings.render, views="ten"))
    report = tmp_path / "report.html"
    report.write_bytes(make_results(tmp_path, settings, make_metrics())["report.html"])
    page, text = Page(report.read_text()), gallery_markdown(report)
    shown = PICTURE.findall(text)
    originals = [image["src"] for image in page.images if image["src"].startswith("data:image/png")]
    assert len(shown) == len(originals) > 0
    for (words, uri, kind, _, again, name), original in zip(shown, originals, strict=True):
        assert kind == "jpeg" and words == again
        assert words in page.text and name in page.text
        small, large = (np.asarray(opened(data).convert("L"), float) for data in (uri, original))
        assert small.shape == large.shape
        assert np.abs(small - large).mean() < 12, "the same picture"
    assert text.startswith("# Gallery\n\nValidation models")
    assert any(", taken for " in words for words, *_ in shown), "wrong ones are shown too"


def test_a_report_without_predictions_has_none(tmp_path: Path, small_settings: params.Params) -> None:
    settings = replace(small_settings, render=replace(small_settings.render, views="ten"))
    report = tmp_path / "report.html"
    report.write_bytes(make_results(tmp_path, settings, make_metrics(), predicted=False)["report.html"])
    assert gallery_markdown(report) == ""
