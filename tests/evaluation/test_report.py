"""The page people look at: whole, alone, escaped, the same every time, whatever is missing."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
from made_results import CLASSES, Page, make_metrics, make_predictions, make_results, value

from c2p import params
from c2p.cli import main
from c2p.evaluation.cg3d_contents import TABLES as CG3D
from c2p.evaluation.gallery import choose_exhibits, gallery_views
from c2p.evaluation.predictions import predict
from c2p.evaluation.report import Report, StageRecord, write_report
from c2p.evaluation.results import Inputs, write_results
from c2p.evaluation.timetable import fill_timings
from c2p.timings import Timing

HOSTILE = ("<script>alert(1)</script>", "a\"b'c", "&amp;", "x" * 200)


@pytest.fixture
def settings(small_settings: params.Params) -> params.Params:
    return replace(small_settings, render=replace(small_settings.render, views="ten"))


def test_results_are_whole_and_the_same_every_time(tmp_path: Path, settings: params.Params) -> None:
    first, second = (make_results(tmp_path / name, settings, make_metrics()) for name in ("one", "two"))
    assert first == second
    names = ("controls", "shots", *(f"table{n}" for n in range(1, 6)), *(f"table_{name}" for name in CG3D))
    tables = [f"{name}.{kind}" for name in names for kind in ("csv", "md")]
    # shots.csv lies in both folders; plots/ comes last here
    assert sorted(first) == sorted([*tables, "cells.csv", "report.html", "confusion.csv"])
    rows = list(csv.DictReader(first["cells.csv"].decode().splitlines()))
    measured = [row for row in rows if row["mean"]]
    assert all(len(row["git_rev"]) == 12 and row["data_rev"] == "0123456789ab" for row in measured)
    assert {row["profile"] for row in rows} == {settings.profile}


def test_page_is_alone_and_well_made(tmp_path: Path, settings: params.Params) -> None:
    page = Page(make_results(tmp_path, settings, make_metrics())["report.html"])
    assert page.open == []
    assert page.loads
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in page.loads)
    assert "script" not in page.tags and "link" not in page.tags
    for text in ("30.0 % before", "45.0 % after", "b <i>", "no faces", "66.00", "49.38", "Weights", "c2p report"):
        assert text in page.text, text
    assert page.headings[0] == 1 and page.headings.count(1) == 1
    assert all(b <= a + 1 for a, b in zip(page.headings, page.headings[1:], strict=False)), "no level is skipped"
    assert page.images and all(image["alt"] for image in page.images)


def test_hostile_class_names_stay_text(tmp_path: Path, settings: params.Params) -> None:
    files = make_results(tmp_path, settings, make_metrics(), classes=HOSTILE)
    page = Page(files["report.html"])
    assert page.open == [] and "script" not in page.tags
    for name in HOSTILE[:3]:
        assert name in page.text
    rows = list(csv.reader(files["confusion.csv"].decode().splitlines()))
    assert {row[0] for row in rows[1:]} == set(HOSTILE)


@pytest.mark.parametrize("count", [1, 55])
def test_any_number_of_classes(tmp_path: Path, settings: params.Params, count: int) -> None:
    classes = tuple(f"class {n}" for n in range(count))
    page = Page(make_results(tmp_path, settings, make_metrics(), classes=classes, rejected=())["report.html"])
    assert page.open == []
    assert all(name in page.text for name in classes)
    assert "every mesh could be used" in page.text


def test_without_predictions_the_rest_is_there(tmp_path: Path, settings: params.Params) -> None:
    files = make_results(tmp_path, settings, make_metrics(), predicted=False)
    page = Page(files["report.html"])
    assert page.images == [] and "run `dvc repro zeroshot`" in page.text and "49.38" in page.text
    assert files["confusion.csv"] == b"actual,predicted\n"


def test_without_anything(tmp_path: Path, settings: params.Params) -> None:
    write_results(tmp_path, settings, Inputs(metrics={}))
    page = Page((tmp_path / "report.html").read_text())
    assert page.open == []
    assert "No zero-shot numbers yet" in page.text
    for name in ("zeroshot", "fewshot", "fullshot", "ablations", "select"):
        assert f"`dvc repro {name}`" in page.text


def test_chart_of_shots_has_a_line_and_a_band_a_method(tmp_path: Path, settings: params.Params) -> None:
    metrics = make_metrics()
    few = metrics["fewshot"]["modelnet40"]
    few["clip2point"] = value(80, 78, 82, half=2.5)
    few["curve"] = {str(k): {"clip2point": value(50 + k, 49, 51 + k, half=2.5), "pointclip": value(k)} for k in (1, 4)}
    files = make_results(tmp_path, settings, metrics)
    page = files["report.html"].decode()
    section = page[page.index('<section id="shots">') : page.index('<section id="claims">')]
    assert "CLIP2Point w/ pre-training, 1 shots: 51.00 % [48.5, 53.5]" in section
    assert section.count('class="band') == 1, "a band only where every point has one"
    rows = list(csv.DictReader(files["shots.csv"].decode().splitlines()))
    assert next(r for r in rows if r["method"] == "CLIP2Point w/ pre-training") == {
        "shots": "1",
        "method": "CLIP2Point w/ pre-training",
        "accuracy": "51",
        "low": "48.5",
        "high": "53.5",
    }


def test_stages_tell_what_they_read(tmp_path: Path, settings: params.Params) -> None:
    stage = StageRecord("pretrain@0", "one <seed>", (("data/x", "12ab"),), (), (("pretrain.lr", "0.1"),), "c0de")
    page = Page(write_report(tmp_path / "r.html", Report(settings, [], [], stages=[stage])).read_text())
    for text in ("pretrain@0", "one <seed>", "12ab", "nothing recorded", "pretrain.lr = 0.1", "c0de"):
        assert text in page.text


def test_timings_fill_the_page(tmp_path: Path, settings: params.Params) -> None:
    path = tmp_path / "results" / "report.html"
    write_report(path, Report(settings, [], []))
    rows = [
        Timing("tables", 2.0, 100.0, "2026-01-01T00:00:09+00:00", "m"),
        Timing("render", 60.25, 1234.5, "2026-01-01T00:00:01+00:00", r"<b> \1 2 cores"),
    ]
    page = path.read_text()
    filled = Page(fill_timings(page, rows))
    assert filled.open == [] and "62 s in all" in filled.text and r"<b> \1 2 cores" in filled.text
    assert filled.text.index("render") < filled.text.index("1,234") < filled.text.index("tables"), "in order of time"
    assert fill_timings(fill_timings(page, rows[:1]), rows) == fill_timings(page, rows)
    with pytest.raises(ValueError, match="no stage has run"):
        fill_timings(page, [])
    with pytest.raises(ValueError, match="another version"):
        fill_timings("<html></html>", rows)


def test_report_command(
    tmp_path: Path, settings: params.Params, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.chdir(tmp_path)
    assert main(["report"]) == 2 and "build it with `dvc repro tables`" in capsys.readouterr().err
    page = write_report(tmp_path / "results" / "report.html", Report(settings, [], [])).read_bytes()
    assert main(["report"]) == 2 and "no stage has run" in capsys.readouterr().err
    timings = tmp_path / ".c2p" / "timings"
    timings.mkdir(parents=True)
    (timings / "old.json").write_text('{"stage": "of another version"}')
    (timings / "render.json").write_text(
        '{"stage": "render", "seconds": 1.5, "peak_memory_mb": 9, "finished": "2026-01-01T00:00:01", "machine": "m"}'
    )
    assert main(["report"]) == 0 and capsys.readouterr().out.endswith(".c2p/report.html\n")
    assert "1.5" in Page((tmp_path / ".c2p/report.html").read_text()).text
    assert main(["report", "--out", "mine.html"]) == 0 and (tmp_path / "mine.html").is_file()
    assert main(["report", "--out", "results/report.html"]) == 2
    assert (tmp_path / "results/report.html").read_bytes() == page


def test_gallery_chooses_and_shows_five_views() -> None:
    clouds, _, logits = make_predictions()
    rows = predict(clouds.keys, clouds.labels, logits, CLASSES, scale=3.0)
    chosen = choose_exhibits(rows, right=2, wrong=3)
    assert [row.actual == row.predicted for row in chosen] == [True, True, False, False, False]
    assert chosen == choose_exhibits(rows[::-1], right=2, wrong=3)
    assert len({row.actual for row in chosen[2:]}) == 3, "one a class while that lasts"
    assert gallery_views(("front",)) == [0]
    assert gallery_views([f"v{n}" for n in range(9)]) == [0, 1, 2, 3, 4]
