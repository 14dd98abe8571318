"""Cells and tables from metrics made up here."""

import csv
import io
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_results import CLASSES, NAMES, make_benchmark, make_metrics, make_predictions, value

from c2p import params
from c2p.cli import main
from c2p.data.benchmarks import write_benchmark
from c2p.evaluation.cells import HEADER, Cell
from c2p.evaluation.cg3d_contents import TABLES as CG3D
from c2p.evaluation.contents import build_cells
from c2p.evaluation.results import dataset_names, read_metrics
from c2p.evaluation.revision import code_revision
from c2p.evaluation.tables import build_tables, comma_separated, markdown, write_tables

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def metrics() -> dict[str, Any]:
    return make_metrics()


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
        "text": "87.20 38.29 54.21 19.98",
        "shots": "",
    }
    cells = build_cells(small_settings, metrics, names)
    for table, numbers in printed.items():
        got = [c.published.value for c in cells if c.table == table and c.published and c.method != "pointclip_v2"]
        assert got == [float(n) for n in numbers.split()]
    for cell in cells:
        wanted = "2211.11682" if cell.method == "pointclip_v2" else "2210.01055"
        wanted = "2305.10764" if cell.table in CG3D else wanted
        assert cell.published is None or wanted in cell.published.source


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
    assert "ablations.cross_only leaves it out" in only(cells, table="text", method="clip2point_cross_only").why
    assert "controls.methods leaves it out" in only(cells, table="text", method="pointclip_searched_on_test").why
    shots = {c.method for c in cells if c.table == "shots"}
    assert shots == {"pointclip", "clip2point_without_pretraining", "clip2point", *small_settings.controls.methods}
    assert only(cells, table="text", method="rgb_views").mean == 90
    assert only(cells, table="shots", method="clip2point", shots="all").mean == 85
    for cell in cells:
        assert (cell.mean is None) == bool(cell.why)
    asked = replace(
        small_settings,
        ablations=replace(small_settings.ablations, cross_only=True),
        controls=replace(small_settings.controls, methods=("pointclip_searched_on_test",)),
    )
    metrics["ablations"]["modelnet40"]["clip2point_cross_only"] = value(40)
    metrics["zeroshot"]["modelnet40"] = metrics["zeroshot"]["modelnet40"] | {"pointclip_searched_on_test": value(33)}
    cells = build_cells(asked, metrics, NAMES)
    assert only(cells, table="text", method="clip2point_cross_only").mean == 40
    searched = only(cells, table="text", method="pointclip_searched_on_test")
    assert searched.mean == 33 and "not comparable" in searched.heads[2]
    empty = build_cells(small_settings, {}, NAMES)
    assert all(cell.mean is None and cell.why for cell in empty)


def test_rows_come_in_the_papers_order(small_settings: params.Params, metrics: dict[str, Any]) -> None:
    tables = build_tables(small_settings, build_cells(small_settings, metrics, NAMES), NAMES)
    assert [row.heads[0] for row in tables[0].rows] == ["ModelNet10", "ModelNet40", "Validation split"]
    assert [t.layout.table for t in tables] == ["1", "2", "3", "4", "5", "text", "shots", *CG3D]
    assert [row.heads[0] for row in tables[2].rows][:4] == ["MVCNN", "SimpleView", "MVTN", "PointCLIP"]


def test_published_numbers_are_marked(small_settings: params.Params, metrics: dict[str, Any]) -> None:
    tables = build_tables(small_settings, build_cells(small_settings, metrics, NAMES), NAMES)
    assert "CLIP2Point w/ pre-training (published, on the real sets)" in markdown(tables[0])
    assert "R=4 (published, on the real ModelNet40)" in markdown(tables[4])
    paper = params.load(REPOSITORY / "profiles/paper.yaml")
    tables = build_tables(paper, build_cells(paper, metrics, NAMES), NAMES)
    assert "on the real" not in "".join(markdown(t) for t in tables if t.layout.table not in CG3D)
    for other in (
        replace(small_settings, profile="paper"),
        replace(paper, fewshot=replace(paper.fewshot, shots=8)),
        replace(paper, pretrain=replace(paper.pretrain, intra=False)),
        replace(paper, teacher=replace(paper.teacher, model="ViT-L-14")),
    ):
        tables = build_tables(other, build_cells(other, metrics, NAMES), NAMES)
        assert "published, on the real" in markdown(tables[0]), "a profile's name doesn't make numbers comparable"


def test_markdown_rows_have_as_many_columns_as_the_head(small_settings: params.Params, metrics: dict[str, Any]) -> None:
    for table in build_tables(small_settings, build_cells(small_settings, metrics, NAMES), NAMES):
        lines = [line for line in markdown(table).splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in lines}) == 1
        assert len(lines) == len(table.rows) + 2
    zero = markdown(build_tables(small_settings, build_cells(small_settings, metrics, NAMES), NAMES)[0])
    assert "| ModelNet40 | 25.00 | 20.00 | – | 30.00 | 45.00 ± 7.07 | – | 20.18 | 55.14 | 29.71 | 49.38 | – |" in zero


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


def with_intervals(metrics: dict[str, Any]) -> dict[str, Any]:
    """The same with what the newest metrics hold: intervals, and the curve of accuracy against shots."""
    for sets in metrics.values():
        for methods in sets.values():
            for slug, found in methods.items():
                if slug != "set":
                    methods[slug] = value(found["mean"], *found.get("seeds", {}).values(), half=2.0)
    few = metrics["fewshot"]["modelnet40"]
    for k in ("1", "2", "4"):
        few.setdefault("curve", {})[k] = {"clip2point": value(40 + int(k), 39, 41 + int(k), half=3.0)}
    return metrics


def test_every_file_says_what_the_metrics_say(
    tmp_path: Path, small_settings: params.Params, metrics: dict[str, Any]
) -> None:
    """The long form and every table's CSV, number by number, looked up in the metrics by other means."""
    with_intervals(metrics)
    write_tables(tmp_path, small_settings, build_cells(small_settings, metrics, NAMES), NAMES)
    rows = list(csv.DictReader((tmp_path / "cells.csv").read_text().splitlines()))
    assert tuple(rows[0]) == HEADER and all(None not in row for row in rows)
    protocols = {"1": "zeroshot", "2": "fewshot", "3": "fullshot", "4": "ablations", "5": "ablations"}
    files = {"text": "controls", "shots": "shots"} | {n: f"table{n}" for n in protocols}
    seen = 0
    for row in rows:
        if not row["mean"]:
            assert row["why"] and not row["git_rev"]
            continue
        if row["table"] in CG3D:
            continue
        few = "fullshot" if row["shots"] == "all" else "fewshot"
        text = "ablations" if row["method"] in ("dual_global_clip", "clip2point_cross_only") else "zeroshot"
        protocol = protocols.get(row["table"], few if row["table"] == "shots" else text)
        found = metrics[protocol][row["dataset"]]
        curve = row["table"] == "shots" and row["shots"] in ("1", "4")
        found = (found["curve"][row["shots"]] if curve else found)[row["method"]]
        assert float(row["mean"]) == found["mean"] and [float(row["low"]), float(row["high"])] == found["interval"]
        assert row["std"] == str(found.get("std", "")) and row["n_seeds"] == str(len(found.get("seeds", "")) or "")
        assert (row["ece"], row["top3"], row["top5"]) == ("12.5", "97.0", "")
        with (tmp_path / f"{files[row['table']]}.csv").open(newline="") as file:
            table = list(csv.DictReader(file))
        line = next(
            r for r in table if ", ".join(list(r.values())[: row["row"].count(", ") + 1]).startswith(row["row"])
        )
        column = row["column"]
        got = [line[f"{column}{what}"] for what in ("", " std", " seeds", " low", " high", " data_rev")]
        assert [n and float(n) for n in got[:5]] == [
            n and float(n) for n in (row["mean"], row["std"], row["n_seeds"], row["low"], row["high"])
        ]
        assert got[5] == row["data_rev"] and line["profile"] == row["profile"] and line["git_rev"] == row["git_rev"]
        seen += 1
    assert seen > 30
    shots = markdown(build_tables(small_settings, build_cells(small_settings, metrics, NAMES), NAMES)[6])
    assert "| Method | Chance | 1 shot | 2 shots | 4 shots | all |" in shots
    assert "| CLIP2Point w/ pre-training | 25.00 | 41.00 ± 2.12 [38.0, 44.0] | 80.00 ± 2.83 [78.0, 82.0] |" in shots


def test_tables_say_preset_data_and_code(small_settings: params.Params, metrics: dict[str, Any]) -> None:
    table = build_tables(small_settings, build_cells(small_settings, metrics, NAMES), NAMES)[0]
    last = markdown(table).splitlines()[-1]
    assert last.startswith(f"- Preset {small_settings.profile}, data `{table.data_rev}`") and table.git_rev in last
    metrics["zeroshot"]["modelnet10"]["clip2point"]["inputs"] = "another"
    other = build_tables(small_settings, build_cells(small_settings, metrics, NAMES), NAMES)
    assert other[0].data_rev != table.data_rev and other[1].data_rev == table.data_rev


def test_a_missing_stage_leaves_the_others(small_settings: params.Params, metrics: dict[str, Any]) -> None:
    for gone in ("zeroshot", "fewshot", "fullshot", "ablations"):
        rest = {name: found for name, found in metrics.items() if name != gone}
        cells = build_cells(small_settings, rest, NAMES)
        whys = [cell.why for cell in cells if f"metrics/{gone}.json" in cell.why]
        assert whys and all(f"`dvc repro {gone}`" in why for why in whys)
        assert any(cell.mean is not None for cell in cells)
        assert len(cells) == len(build_cells(small_settings, metrics, NAMES))
        text = "".join(map(markdown, build_tables(small_settings, cells, NAMES)))
        assert f"there is no metrics/{gone}.json: run `dvc repro {gone}`" in text


def test_hostile_names_stay_in_their_cells(small_settings: params.Params, metrics: dict[str, Any]) -> None:
    names = NAMES | {"modelnet10": 'a | b, "c"'}
    table = build_tables(small_settings, build_cells(small_settings, metrics, names), names)[0]
    assert r'| a \| b, "c" | 25.00 |' in markdown(table)
    rows = list(csv.reader(io.StringIO(comma_separated(table))))
    assert rows[1][0] == 'a | b, "c"' and len({len(row) for row in rows}) == 1


def test_tables_command_builds_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], metrics: dict[str, Any]
) -> None:
    for name in ("dvc.yaml", "params.yaml"):
        (tmp_path / name).write_text((REPOSITORY / name).read_text())
    monkeypatch.chdir(tmp_path)
    assert main(["tables"]) == 2 and "make them with `dvc repro`" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["tables", "6"])
    assert "got '6'; allowed: 1, 2" in capsys.readouterr().err
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics/zeroshot.json").write_text(json.dumps(metrics["zeroshot"]))
    assert main(["tables", "1", "shots", "--out", "made"]) == 0
    said = capsys.readouterr()
    assert (
        "# Table 1" in said.out and "| ModelNet40 (made) | 25.00 | 20.00 " in said.out and "# Table 2" not in said.out
    )
    assert "# Accuracy against" in said.out and "run `dvc repro fewshot`" in said.err and "/zeroshot" not in said.err
    assert (tmp_path / "made/table1.md").read_text() in said.out and (tmp_path / "made/cells.csv").is_file()
    (tmp_path / "metrics/fewshot.json").write_text("{")
    assert main(["tables"]) == 2 and "fewshot.json: Expecting" in capsys.readouterr().err
    with pytest.raises(ValueError, match="dvc repro -f fewshot"):
        read_metrics(tmp_path / "metrics")


def test_names_of_sets(tmp_path: Path, small_settings: params.Params) -> None:
    clouds, _, _ = make_predictions()
    paths = [
        write_benchmark(tmp_path / f"{slug}.parquet", make_benchmark(name, CLASSES, clouds))
        for slug, name in (("modelnet40", "modelnet40"), ("validation", "validation"), ("meshes", "psb25"))
    ]
    assert dataset_names(small_settings, paths, {"zeroshot": {"scanobjectnn_obj_bg": {}}}) == {
        "scanobjectnn_obj_bg": "ScanObjectNN OBJ_BG (made)",
        "modelnet40": "ModelNet40 (made)",
        "validation": "Validation split",
        "meshes": "psb25",
    }
    real = replace(small_settings, download=replace(small_settings.download, source="shapenet"))
    assert dataset_names(real, paths, {})["modelnet40"] == "ModelNet40"
