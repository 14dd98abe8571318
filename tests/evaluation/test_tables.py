"""Cells, tables, claims and the report from metrics made up here."""

import csv
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from c2p import params
from c2p.data.benchmarks import Benchmark, PointSet, write_benchmark
from c2p.evaluation.cells import Cell, build_cells
from c2p.evaluation.claims import check_claims
from c2p.evaluation.predictions import PredictionTable, predict
from c2p.evaluation.report import choose_exhibits, confusion_of, gallery_views
from c2p.evaluation.results import dataset_names, write_results
from c2p.evaluation.revision import code_revision
from c2p.evaluation.tables import HEADER, build_tables, markdown

REPOSITORY = Path(__file__).resolve().parents[2]
NAMES = {"modelnet40": "ModelNet40", "modelnet10": "ModelNet10", "validation": "Validation split"}
CLASSES = ("box", "pole", "plate", "ring")


def value(mean: float, *seeds: float) -> dict[str, Any]:
    spread = {"std": float(np.std(seeds, ddof=1)), "seeds": {str(n): s for n, s in enumerate(seeds)}} if seeds else {}
    return {"mean": mean, "class_mean": mean, "inputs": "0123456789ab", **spread}


@pytest.fixture
def metrics() -> dict[str, Any]:
    facts = {"classes": 4, "train": 8, "test": 8, "chance": 25.0}
    zero = {"set": facts, "pointclip": value(20), "clip2point_without_pretraining": value(30)}
    few = {"set": facts, "pointclip": value(60, 59, 61), "clip2point_without_pretraining": value(70, 69, 71)}
    ablations: dict[str, Any] = {"set": facts}
    for place, slug in enumerate(("single_inter", "single_global", "dual_inter", "dual_global", "dual_global_clip")):
        ablations[slug] = value(50 + place, 49 + place, 51 + place)
    for a, task in enumerate(("zeroshot", "fewshot")):
        for b, kind in enumerate(("weighted", "minimum")):
            for r in (1, 2):
                ablations[f"{task}_{kind}_r{r}"] = value(10 + 40 * a + 5 * b + r)
    return {
        "zeroshot": {
            "validation": zero | {"clip2point": value(65, 64, 66), "rgb_views": value(90)},
            "modelnet40": zero | {"clip2point": value(45, 40, 50)},
            "modelnet10": zero | {"clip2point": value(66, 65, 67)},
        },
        "fewshot": {"modelnet40": few | {"clip2point": value(80, 78, 82)}},
        "fullshot": {"modelnet40": {"set": facts, "pointclip": value(62, 61, 63), "clip2point": value(85, 84, 86)}},
        "ablations": {"modelnet40": ablations},
    }


def only(cells: list[Cell], **wanted: Any) -> Cell:
    found = [c for c in cells if all(getattr(c, name) == value for name, value in wanted.items())]
    assert len(found) == 1, found
    return found[0]


def test_every_published_number_stands_in_its_cell(small_settings: params.Params, metrics: dict[str, Any]) -> None:
    """The paper's Tables 1 to 5 row by row, as printed."""
    names = NAMES | {s: s for s in ("scanobjectnn_obj_only", "scanobjectnn_obj_bg", "scanobjectnn_pb_t50_rs")}
    for name in names:
        metrics["zeroshot"].setdefault(name, metrics["zeroshot"]["modelnet40"])
    printed = {
        "1": "30.23 30.51 66.63 20.18 29.71 49.38 15.15 28.40 35.46 12.74 23.92 30.46 14.12 18.18 23.32 19.98 54.21",
        "2": "81.56 84.48 79.70 84.20 83.83 87.20 87.46 89.21",
        "3": "90.1 93.4 93.8 92.1 93.1 93.2 94.0 91.4 93.2 93.8 94.0",
        "4": "86.06 87.32 86.18 89.21",
        "5": "16.86 17.63 21.11 24.87 29.71 28.36 83.91 83.87 84.08 86.47 87.46 87.40",
        "text": "87.20 38.29",
    }
    cells = build_cells(small_settings, metrics, names)
    for table, numbers in printed.items():
        got = [c.published.value for c in cells if c.table == table and c.published]
        assert got == [float(n) for n in numbers.split()]
    for cell in cells:
        assert cell.published is None or "2210.01055" in cell.published.source


def test_cells_hold_the_metrics_or_say_why_not(small_settings: params.Params, metrics: dict[str, Any]) -> None:
    cells = build_cells(small_settings, metrics, NAMES)
    cell = only(cells, table="1", dataset="modelnet40", method="clip2point")
    assert (cell.mean, cell.std, cell.n_seeds, cell.chance) == (45, pytest.approx(50**0.5), 2, 25)
    assert (cell.pretrained, cell.views, cell.shots, cell.data_rev) == (True, 6, 0, "0123456789ab")
    assert only(cells, table="1", dataset="validation", method="rgb_views").views == 10
    assert only(cells, table="2", method="clip2point").mean == 80
    assert only(cells, table="3", method="clip2point").shots == "all"
    assert only(cells, table="5", method="fewshot_weighted_r2").mean == 52
    assert "leaves 4 out" in only(cells, table="5", method="fewshot_weighted_r4").why
    assert "pretrain.intra=false" in only(cells, table="text", method="clip2point").why
    for cell in cells:
        assert (cell.mean is None) == bool(cell.why)
    alone = replace(small_settings, pretrain=replace(small_settings.pretrain, intra=False))
    assert only(build_cells(alone, metrics, NAMES), table="text", method="clip2point").mean == 45
    empty = build_cells(small_settings, {}, NAMES)
    assert all(cell.mean is None and cell.why for cell in empty)


def test_rows_come_in_the_papers_order(small_settings: params.Params, metrics: dict[str, Any]) -> None:
    tables = build_tables(small_settings, build_cells(small_settings, metrics, NAMES), NAMES)
    assert [row.heads[0] for row in tables[0].rows] == ["ModelNet10", "ModelNet40", "Validation split"]
    assert [t.layout.table for t in tables] == ["1", "2", "3", "4", "5", "text"]
    assert [row.heads[0] for row in tables[2].rows][:4] == ["MVCNN", "SimpleView", "MVTN", "PointCLIP"]


def test_published_numbers_are_marked(small_settings: params.Params, metrics: dict[str, Any]) -> None:
    tables = build_tables(small_settings, build_cells(small_settings, metrics, NAMES), NAMES)
    assert "CLIP2Point w/ pre-training (published, on the real sets)" in markdown(tables[0])
    assert "R=4 (published, on the real ModelNet40)" in markdown(tables[4])
    paper = params.load(REPOSITORY / "profiles/paper.yaml")
    tables = build_tables(paper, build_cells(paper, metrics, NAMES), NAMES)
    assert "on the real" not in "".join(markdown(t) for t in tables)
    for other in (
        replace(small_settings, profile="paper"),
        replace(paper, fewshot=replace(paper.fewshot, shots=8)),
        replace(paper, pretrain=replace(paper.pretrain, intra=False)),
        replace(paper, teacher=replace(paper.teacher, model="ViT-L-14")),
    ):
        tables = build_tables(other, build_cells(other, metrics, NAMES), NAMES)
        assert "on the real" in markdown(tables[0]), "a profile's name alone doesn't make the numbers comparable"


def test_markdown_rows_have_as_many_columns_as_the_head(small_settings: params.Params, metrics: dict[str, Any]) -> None:
    for table in build_tables(small_settings, build_cells(small_settings, metrics, NAMES), NAMES):
        lines = [line for line in markdown(table).splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in lines}) == 1
        assert len(lines) == len(table.rows) + 2
    zero = markdown(build_tables(small_settings, build_cells(small_settings, metrics, NAMES), NAMES)[0])
    assert "| ModelNet40 | 25.00 | 20.00 | 30.00 | 45.00 ± 7.07 | – | 20.18 | 29.71 | 49.38 | – |" in zero


def test_claims_count_what_shows(small_settings: params.Params, metrics: dict[str, Any]) -> None:
    cells = [c for c in build_cells(small_settings, metrics, NAMES) if c.table == "1"]
    doubled, rendering, rgb = check_claims("1", cells)
    assert (doubled.holds, doubled.asked) == (1, 2), "45 is not twice 30"
    assert doubled.verdict == "shown in 1 of 2"
    assert (rendering.verdict, rendering.asked) == ("shown", 2)
    assert "Validation split: 65.00 and 90.00" in rgb.evidence
    metrics["zeroshot"]["validation"]["rgb_views"] = value(65)
    cells = [c for c in build_cells(small_settings, metrics, NAMES) if c.table == "1"]
    assert check_claims("1", cells)[2].verdict == "not shown", "equal is not above"
    assert check_claims("1", []) == []


def test_claims_of_the_other_tables(small_settings: params.Params, metrics: dict[str, Any]) -> None:
    cells = build_cells(small_settings, metrics, NAMES)
    counts = {t: [(c.holds, c.asked) for c in check_claims(t, [c for c in cells if c.table == t])] for t in "2345"}
    assert counts == {"2": [(1, 1), (1, 1)], "3": [(1, 1)], "4": [(2, 2), (2, 2)], "5": [(4, 4)]}


def test_revision_is_gits_tree(tmp_path: Path) -> None:
    package = tmp_path / "pkg"
    for name, text in (
        ("b.py", "b"),
        ("a/x.py", "x"),
        ("a.py", "é"),
        ("a-b/y.json", "{}"),
        ("empty/__pycache__/z.pyc", ""),
    ):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    (package / "b.py").chmod(0o755)
    (tmp_path / ".gitignore").write_text("__pycache__/\n")

    def git(*words: str) -> str:
        who = ("-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "core.autocrlf=false")
        return subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    git("init", "-q")
    before = code_revision(package)
    git("add", ".")
    git("commit", "-qm", "one")
    assert git("rev-parse", "HEAD:pkg").startswith(before)
    assert code_revision(package) == before
    (package / "b.py").write_text("c")
    assert code_revision(package) != before


def predictions() -> tuple[PointSet, PredictionTable, np.ndarray]:
    generator = np.random.default_rng(0)
    labels = np.arange(16) % 4
    points = generator.normal(size=(16, 32, 3)).astype(np.float32)
    points /= np.abs(points).max() * 2
    clouds = PointSet(tuple(f"model-{n:02d}" for n in range(16)), points, labels)
    logits = generator.normal(size=(16, 4))
    table = PredictionTable()
    for dataset in ("modelnet40", "validation"):
        rows = predict(clouds.keys, labels, logits, CLASSES, scale=3.0)
        table.add(rows, dataset=dataset, method="clip2point", seed=0)
    return clouds, table, logits


def test_predictions_confusion_and_choice() -> None:
    clouds, _, logits = predictions()
    rows = predict(clouds.keys, clouds.labels, logits, CLASSES, scale=3.0)
    for n, row in enumerate(rows):
        powers = np.exp(3.0 * logits[n] - (3.0 * logits[n]).max())
        order = sorted(range(4), key=lambda k: -logits[n, k])
        assert row.top == tuple(CLASSES[k] for k in order)
        assert row.shares == pytest.approx([powers[k] / powers.sum() for k in order], rel=1e-5)
    counts = confusion_of(rows, CLASSES, "").counts
    assert counts.sum() == 16
    assert counts.trace() == sum(row.actual == row.predicted for row in rows)
    chosen = choose_exhibits(rows, right=2, wrong=3)
    assert [row.actual == row.predicted for row in chosen] == [True, True, False, False, False]
    assert chosen == choose_exhibits(rows[::-1], right=2, wrong=3)
    assert len({row.actual for row in chosen[2:]}) == 3, "one a class while that lasts"


def test_gallery_shows_five_views() -> None:
    assert gallery_views(("front",)) == [0]
    assert gallery_views([f"v{n}" for n in range(9)]) == [0, 1, 2, 3, 4]


class Page(HTMLParser):
    """Collects what a page would load, and whether its tags close."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [v or "" for k, v in attrs if k in ("src", "href")]
        if tag not in ("meta", "img", "line", "circle", "rect", "br") or tag == "rect":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def write(folder: Path, settings: params.Params, metrics: dict[str, Any]) -> dict[str, bytes]:
    clouds, table, _ = predictions()
    inputs = folder / "in"
    paths = [write_benchmark(inputs / f"{n}.parquet", Benchmark(n, CLASSES, clouds, clouds)) for n in NAMES]
    rgb = np.random.default_rng(1).integers(256, size=(10, 24, 24, 3), dtype=np.uint8)
    curves = [{"seed": s, "epoch": e, "loss": 5.0 / e, "intra": 1.0, "cross": 2.0} for s in (0, 1) for e in (1, 2, 3)]
    write_results(
        folder / "out",
        settings,
        metrics=metrics,
        benchmarks=paths,
        predictions=table.write(inputs / "predictions.parquet"),
        rgb_views=lambda keys: [rgb] * len(keys),
        curves=curves,
        used=40,
        rejected=[("a", "no faces"), ("b <i>", "no faces"), ("c", "unreadable")],
        provenance={"Weights": "abc"},
    )
    return {path.name: path.read_bytes() for path in sorted((folder / "out").iterdir())}


def test_results_are_whole_and_the_same_every_time(
    tmp_path: Path, small_settings: params.Params, metrics: dict[str, Any]
) -> None:
    first, second = (write(tmp_path / name, small_settings, metrics) for name in ("one", "two"))
    assert first == second
    tables = [f"{name}.{kind}" for name in ("controls", *(f"table{n}" for n in range(1, 6))) for kind in ("csv", "md")]
    assert sorted(first) == sorted([*tables, "cells.csv", "report.html"])
    rows = list(csv.DictReader(first["cells.csv"].decode().splitlines()))
    assert tuple(rows[0]) == HEADER
    assert ",".join(HEADER) == (
        "table,row,column,dataset,method,pretrained,views,shots,metric,mean,std,n_seeds,chance,published,"
        "published_source,profile,data_rev,git_rev"
    )
    measured = [row for row in rows if row["mean"]]
    assert all(len(row["git_rev"]) == 12 and row["data_rev"] == "0123456789ab" for row in measured)
    assert {row["profile"] for row in rows} == {small_settings.profile}
    assert all(None not in row for row in rows)
    zero = next(csv.DictReader(first["table1.csv"].decode().splitlines()))
    assert (zero["CLIP2Point w/ pre-training"], zero["CLIP2Point w/ pre-training seeds"]) == ("66", "2")


def test_report_is_one_self_contained_page(
    tmp_path: Path, small_settings: params.Params, metrics: dict[str, Any]
) -> None:
    page = Page()
    page.feed(write(tmp_path, small_settings, metrics)["report.html"].decode())
    assert page.open == []
    assert page.loads
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in page.loads)
    for text in ("30.0 % before", "45.0 % after", "b <i>", "no faces", "66.00", "49.38", "shown in 1 of 2", "Weights"):
        assert text in page.text, text


def test_report_without_optional_parts(tmp_path: Path, small_settings: params.Params) -> None:
    write_results(tmp_path, small_settings, metrics={}, benchmarks=[])
    page = Page()
    page.feed((tmp_path / "report.html").read_text())
    assert page.open == []
    assert "No zero-shot numbers yet" in page.text


def test_names_of_sets(tmp_path: Path, small_settings: params.Params) -> None:
    clouds, _, _ = predictions()
    paths = [
        write_benchmark(tmp_path / f"{slug}.parquet", Benchmark(name, CLASSES, clouds, clouds))
        for slug, name in (("modelnet40", "modelnet40"), ("validation", "validation"), ("meshes", "psb25"))
    ]
    assert dataset_names(small_settings, paths) == {
        "modelnet40": "ModelNet40 (made)",
        "validation": "Validation split",
        "meshes": "psb25",
    }
    real = replace(small_settings, download=replace(small_settings.download, source="shapenet"))
    assert dataset_names(real, paths)["modelnet40"] == "ModelNet40"
