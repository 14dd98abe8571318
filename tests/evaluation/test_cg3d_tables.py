"""CG3D's tables, notes, claims, section and gallery, from metrics made up here."""

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_cg3d import MEASURES, make_cg3d_metrics
from made_results import CLASSES, NAMES, Page, make_benchmark, make_metrics, make_predictions

from c2p import params
from c2p.data.benchmarks import write_benchmark
from c2p.data.files import write_bytes, write_text
from c2p.data.pictures import encode_png
from c2p.evaluation.cells import Cell
from c2p.evaluation.cg3d_claims import CLAIMS
from c2p.evaluation.cg3d_contents import ABLATIONS, FINETUNE, LEFT_OUT, RETRIEVAL, SCENES, TABLES, ZEROSHOT
from c2p.evaluation.cg3d_gallery import EACH, SHOWN, searches
from c2p.evaluation.cg3d_retrieval import write_rankings
from c2p.evaluation.claims import check_claims
from c2p.evaluation.contents import build_cells
from c2p.evaluation.results import Inputs, write_results
from c2p.evaluation.tables import Table, build_tables, comma_separated, markdown

VIEWS = 3


@pytest.fixture
def metrics() -> dict[str, Any]:
    return make_metrics() | make_cg3d_metrics()


def build(settings: params.Params, metrics: dict[str, Any]) -> tuple[list[Cell], dict[str, Table]]:
    cells = build_cells(settings, metrics, NAMES)
    return cells, {table.layout.table: table for table in build_tables(settings, cells, NAMES)}


def test_cells_are_the_metrics(small_settings: params.Params, metrics: dict[str, Any]) -> None:
    cells, _ = build(small_settings, metrics)
    mine = {(c.table, c.dataset, c.method): c for c in cells if c.table in TABLES}
    zero = mine[ZEROSHOT, "modelnet40", "cg3d"]
    assert (zero.mean, zero.chance, zero.n_seeds, zero.metric, zero.shots) == (80, 25, 2, "top1", 0)
    assert zero.published is not None and zero.published.value == 48.7
    assert mine[ZEROSHOT, "modelnet40", "clip2point"].mean == metrics["zeroshot"]["modelnet40"]["clip2point"]["mean"]
    for measure in MEASURES:
        cell, found = mine[RETRIEVAL, "validation", f"text_object_{measure}"], metrics[RETRIEVAL]["validation"]
        wanted = found[f"text_object_{measure}"]
        assert (cell.mean, cell.std, cell.chance, cell.metric) == (*map(wanted.get, ("mean", "std", "chance")), measure)
    assert (RETRIEVAL, "modelnet40", "image_object_r1") not in mine, "only validation models have RGB views"
    assert mine[ABLATIONS, "validation_held_out", "prompts-text"].mean == 65
    pair = mine[ABLATIONS, "pairs_held_out", "everything-both"]
    assert (pair.mean, pair.chance, pair.interval) == (30, 20, (27, 33))
    assert mine[ABLATIONS, "pairs_seen", "before"].mean == 50
    assert mine[ABLATIONS, "validation", "before"].why == "nothing was trained yet"
    lost = mine[ABLATIONS, "forgotten_held_out", "everything-both"]
    assert (lost.mean, lost.interval, lost.chance) == (20, (19, 21), None)
    gain = mine[FINETUNE, "modelnet40", "gain_0.1"]
    assert (gain.mean, gain.chance, gain.metric, gain.heads) == (20, None, "top1_difference", ("10 %", "8"))
    assert mine[FINETUNE, "modelnet40", "scratch_1"].heads == ("100 %", "1,340")
    named, bound = mine[SCENES, "scenes", "named_accuracy"], mine[SCENES, "scenes", "right_names_miou"]
    assert (named.mean, named.chance, named.std) == (60, 5, None) and (bound.mean, bound.chance) == (90, None)
    assert all((cell.mean is None) == bool(cell.why) for cell in mine.values())
    assert all(cell.data_rev for cell in mine.values() if cell.mean is not None)


def test_openshapes_figures_are_the_published_ones(small_settings: params.Params, metrics: dict[str, Any]) -> None:
    cells, tables = build(small_settings, metrics)
    found = {
        c.heads[0]: c.published.value for c in cells if c.table == ZEROSHOT and c.published and c.method != "clip2point"
    }
    assert found == {"ModelNet40": 48.7, "Objaverse-LVIS": 5.0}
    with_scans = build_cells(small_settings, metrics, NAMES | {"scanobjectnn_obj_only": "ScanObjectNN OBJ_ONLY"})
    assert [
        c.published.value
        for c in with_scans
        if c.published and c.dataset == "scanobjectnn_obj_only" and c.method == "cg3d"
    ] == [42.5]
    text = markdown(tables[ZEROSHOT])
    assert "| Objaverse-LVIS | – | – | – | 5.00 | – |" in text and "arXiv 2305.10764" in text
    paper = params.load(Path(__file__).resolve().parents[2] / "profiles/paper.yaml")
    assert "(published, on the real sets)" in markdown(build(paper, metrics)[1][ZEROSHOT]), "SLIP is never ours"


def test_every_number_of_retrieval_has_its_own_chance(small_settings: params.Params, metrics: dict[str, Any]) -> None:
    table = build(small_settings, metrics)[1][RETRIEVAL]
    line = "| Validation split | text: a shape's caption | the shapes that have it | 10.00 ± 1.41 (chance 1.0, 10.0×) "
    text = markdown(table)
    assert line in text and "| Set | Query | Relevant | R@1 | R@5 | R@10 | mAP |" in text
    rows = list(csv.DictReader(io.StringIO(comma_separated(table))))
    assert rows[0]["R@5"] == "20" and rows[0]["R@5 chance"] == "5.0" and "Chance" not in rows[0]
    for other in TABLES:
        lines = list(csv.reader(io.StringIO(comma_separated(build(small_settings, metrics)[1][other]))))
        assert len({len(row) for row in lines}) == 1 and len(lines) > 3
        marked = [line for line in markdown(build(small_settings, metrics)[1][other]).splitlines() if line[:1] == "|"]
        assert len({line.count("|") for line in marked}) == 1


def test_what_reaches_five_times_chance_is_said(small_settings: params.Params, metrics: dict[str, Any]) -> None:
    for slug in ("text_object_r5", "image_object_r5"):
        metrics[RETRIEVAL]["validation"][slug] |= {"mean": 25.0}
    metrics[RETRIEVAL]["modelnet40"]["text_class_r5"] |= {"mean": 100.0, "chance": 20.1}
    tables = build(small_settings, metrics)[1]
    told = next(note for note in tables[RETRIEVAL].notes if "five times chance:" in note)
    assert (
        "reached in 2 (Validation split, text: a shape's caption, the shapes that have it; Validation split, im" in told
    )
    assert "out of reach (above 100 %) in 1 (ModelNet40, text: a class's prompt" in told
    assert "not reached in 4" in told
    zero = next(note for note in tables[ZEROSHOT].notes if note.startswith("Five times chance"))
    assert "out of reach (above 100 %) in 3" in zero, "four classes: 125 %"


def test_claims_follow_the_noise(small_settings: params.Params, metrics: dict[str, Any]) -> None:
    cells, _ = build(small_settings, metrics)
    verdicts = {table: [claim.verdict for claim in check_claims(table, cells)] for table in TABLES}
    assert verdicts == {
        ZEROSHOT: ["shown in 1, within noise in 1 of 2"],
        RETRIEVAL: ["shown", "shown", "shown"],
        ABLATIONS: ["within noise", "shown", "shown", "shown"],
        FINETUNE: ["shown in 2, within noise in 1 of 3"],
        SCENES: ["shown"],
    }
    helped = check_claims(ABLATIONS, cells)[0]
    assert (
        len(helped.comparisons) == 3 and "no prompts and prompts, both: 80.50 and 80.00, noise 2.0" in helped.evidence
    )
    forgets = check_claims(ABLATIONS, cells)[2]
    assert [(c.low, c.high) for c in forgets.comparisons] == [(30, 50)], "pairs of classes left out alone"
    metrics[FINETUNE]["modelnet40"]["shares"]["0.1"]["scratch"]["mean"] = 95
    again = check_claims(FINETUNE, build(small_settings, metrics)[0])[0]
    assert again.verdict == "shown in 1, within noise in 1, the other way round in 1 of 3"


def test_claims_without_numbers_are_not_tested(small_settings: params.Params) -> None:
    cells, tables = build(small_settings, make_metrics())
    for table in TABLES:
        claims = check_claims(table, cells)
        assert len(claims) == len(CLAIMS[table])
        assert {str(claim).rpartition(": ")[2] for claim in claims} == {"not tested at this scale."}
        assert any("run `dvc repro cg3d_" in note for note in tables[table].notes)
    assert any("run `dvc repro cg3d_evaluate`" in note for note in tables[RETRIEVAL].notes)


def test_left_out_every_cell_says_so(small_settings: params.Params, tmp_path: Path) -> None:
    without = replace(small_settings, cg3d=replace(small_settings.cg3d, run=False))
    empty: dict[str, Any] = {name: {} for name in TABLES}
    cells, tables = build(without, make_metrics() | empty)
    whys = {cell.why for cell in cells if cell.table in TABLES}
    assert whys == {LEFT_OUT, "another network: published numbers only"}
    assert all(any("not run: cg3d.run is false" in note for note in tables[table].notes) for table in TABLES)
    write_results(tmp_path, without, Inputs(metrics=make_metrics() | empty))
    page = Page((tmp_path / "report.html").read_bytes())
    assert page.open == [] and "Not run: cg3d.run is false: the flow ran without it." in page.text
    assert "metrics/cg3d" not in page.text, "nothing of it is missing"
    full, _ = build(small_settings, make_metrics() | make_cg3d_metrics())
    others = [cell for cell in full if cell.table not in TABLES]
    assert others == [cell for cell in cells if cell.table not in TABLES]


def rankings(keys: tuple[str, ...], labels: list[str]) -> list[dict[str, Any]]:
    """Every shape asked for by a caption, by each view and by itself; found are those that follow it."""
    rows = []
    for n, key in enumerate(keys):
        found = [(n + step) % len(keys) for step in range(10)]
        head = {"dataset": "validation", "seed": 0, "keys": [keys[k] for k in found], "cosines": [0.5] * 10}
        own, alike = [k == n for k in found], [labels[k] == labels[n] for k in found]
        rows.append(head | {"task": "text_object", "query": f"<b>thing</b> {n}", "view": None, "relevant": own})
        rows += [head | {"task": "image_object", "query": key, "view": v, "relevant": own} for v in range(VIEWS)]
        rows.append(head | {"task": "shape_class", "query": key, "view": None, "relevant": alike})
        rows.append(head | {"task": "shape_class", "query": key, "view": None, "relevant": alike, "seed": 1})
    return rows


def test_gallery_shows_each_kind_and_marks_what_was_found(tmp_path: Path) -> None:
    clouds, _, _ = make_predictions()
    bench = make_benchmark("validation", CLASSES, clouds)
    labels = [CLASSES[k] for k in clouds.labels]
    path = write_rankings(tmp_path / "rankings.parquet", rankings(clouds.keys, labels))
    asked: list[str] = []

    def read(keys: Any) -> list[np.ndarray]:
        asked.extend(keys)
        places = [clouds.keys.index(key) for key in keys]
        return [np.stack([np.full((4, 4, 3), 10 * p + v, np.uint8) for v in range(VIEWS)]) for p in places]

    found = searches(path, bench, read, dataset="validation", seed=0, view=1)
    assert [one.kind for one in found] == ["text"] * EACH + ["image"] * EACH + ["shape"] * EACH
    assert len(asked) == len(set(asked)), "each shape's pictures are read once"
    for kind in ("text", "image", "shape"):
        texts = {labels[clouds.keys.index(one.found[0].key)] for one in found if one.kind == kind}
        assert len(texts) == EACH, "one a class"
    for one in found:
        first = clouds.keys.index(one.found[0].key)
        assert [f.key for f in one.found] == [clouds.keys[(first + k) % 16] for k in range(SHOWN)]
        exact = ["right", "wrong", "wrong", "wrong", "class"]
        assert [f.mark for f in one.found] == (["right", *exact[1:4], "right"] if one.kind == "shape" else exact)
        assert [f.picture[0, 0, 0] for f in one.found] == [10 * clouds.keys.index(f.key) + 1 for f in one.found]
        assert (one.picture is None) == (one.kind == "text")


def test_report_shows_the_section_and_stays_alone(
    tmp_path: Path, small_settings: params.Params, metrics: dict[str, Any]
) -> None:
    settings = replace(small_settings, render=replace(small_settings.render, views="ten"))
    clouds, table, _ = make_predictions()
    bench = make_benchmark("validation", CLASSES, clouds)
    rgb = np.random.default_rng(1).integers(256, size=(10, 8, 8, 3), dtype=np.uint8)
    inputs = Inputs(
        metrics=metrics,
        benchmarks=[write_benchmark(tmp_path / "validation.parquet", bench)],
        predictions=table.write(tmp_path / "predictions.parquet"),
        rankings=write_rankings(tmp_path / "r.parquet", rankings(clouds.keys, [CLASSES[k] for k in clouds.labels])),
        rgb_views=lambda keys: [rgb] * len(keys),
        scenes=tmp_path / "scenes",
    )
    write_bytes(tmp_path / "scenes/scenes.png", encode_png(rgb[0]))
    hostile = '<!-- timings --><script>alert("1")</script><!-- /timings -->'
    write_text(tmp_path / "scenes/scenes.html", hostile)
    for name in ("one", "two"):
        write_results(tmp_path / name, settings, inputs)
    raw = (tmp_path / "one/report.html").read_bytes()
    assert raw == (tmp_path / "two/report.html").read_bytes()
    page = Page(raw)
    assert page.open == [] and "b" not in page.tags[page.tags.index("ol") :] and "<b>thing</b>" in page.text
    assert all(b <= a + 1 for a, b in zip(page.headings, page.headings[1:], strict=False)), "no level is skipped"
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in page.loads)
    for text in ("CG3D: a 3D encoder", "By an RGB view", "chance 5.0, 4.0×", "prompts in the image tower help"):
        assert text.casefold() in page.text.casefold(), text
    assert "script" not in page.tags and page.frames == [hostile], "scripts run in a frame of their own"
    assert raw.count(b"<!-- timings -->") == 1
    assert page.text.count("Prompts forget less than that") == 1, "claims stand with their section alone"
