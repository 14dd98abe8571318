"""Tables 1 to 5 in the paper's layout: ours beside the published numbers, as CSV and as Markdown."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from c2p import params
from c2p.data.files import write_text
from c2p.evaluation.cells import CONTROLS, OTHER_NETWORK, Cell
from c2p.evaluation.claims import check_claims
from c2p.evaluation.revision import code_revision

HEADER = (
    *(
        "table",
        "row",
        "column",
        "dataset",
        "method",
        "pretrained",
        "views",
        "shots",
        "metric",
        "mean",
        "std",
        "n_seeds",
    ),
    *("chance", "published", "published_source", "profile", "data_rev", "git_rev"),
)
"""Columns of cells.csv."""
PACKAGE = Path(__file__).resolve().parents[1]
NONE = "–"


@dataclass(frozen=True)
class Layout:
    """What a table looks like apart from its numbers."""

    table: str
    file: str
    title: str
    heads: tuple[str, ...]
    data: str
    """What the published numbers were measured on."""


@dataclass(frozen=True)
class Table:
    """A filled table: the same shape for Markdown, CSV and the report."""

    layout: Layout
    columns: tuple[str, ...]
    """Of ours, after the heads and the level of chance."""
    published_columns: tuple[str, ...]
    rows: tuple["Row", ...]
    notes: tuple[str, ...]
    published_mark: str
    """How the published columns are marked."""


@dataclass(frozen=True)
class Row:
    """One row: its head, the level of chance (percent, None: nothing of ours) and its cells by column."""

    heads: tuple[str, ...]
    chance: float | None
    cells: dict[str, Cell]


def layouts(settings: params.Params, names: dict[str, str]) -> tuple[Layout, ...]:
    """The tables of these parameters; names says what people call each dataset."""
    few, full = (names.get(s.dataset, s.dataset) for s in (settings.fewshot, settings.fullshot))
    shots = settings.fewshot.shots
    return (
        Layout("1", "table1", "Zero-shot classification", ("Set",), "the real sets"),
        Layout("2", "table2", f"{shots}-shot classification, {few}", ("Method", "Encoder"), "the real ModelNet40"),
        Layout("3", "table3", f"Fully supervised, {full}", ("Method", "Points, views"), "the real ModelNet40"),
        Layout("4", "table4", f"{shots}-shot by components, {few}", ("Paths",), "the real ModelNet40"),
        Layout("5", "table5", f"Depth renderings, {few}", ("Task", "Depth value"), "the real ModelNet40"),
        Layout(CONTROLS, "controls", f"Controls of the text, {few}", ("Control",), "the real ModelNet40"),
    )


def build_tables(settings: params.Params, cells: Sequence[Cell], names: dict[str, str]) -> list[Table]:
    """Arrange the cells in the paper's layout."""
    return [
        _fill(settings, layout, [c for c in cells if c.table == layout.table]) for layout in layouts(settings, names)
    ]


def write_tables(folder: Path, settings: params.Params, cells: Sequence[Cell], names: dict[str, str]) -> list[Table]:
    """Write table1 to table5 and controls, .csv and .md each, and cells.csv; returns the tables."""
    tables = build_tables(settings, cells, names)
    for table in tables:
        write_text(folder / f"{table.layout.file}.md", markdown(table))
        write_text(folder / f"{table.layout.file}.csv", comma_separated(table))
    write_cells(folder / "cells.csv", cells, profile=settings.profile, git_rev=code_revision(PACKAGE))
    return tables


def write_cells(path: Path, cells: Sequence[Cell], *, profile: str, git_rev: str) -> Path:
    """Write the cells as CSV, one row a cell; percent, empty where not defined."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for cell in cells:
        ours = cell.mean is not None
        writer.writerow(
            [
                cell.table,
                ", ".join(cell.heads),
                cell.column,
                cell.dataset,
                cell.method,
                "" if cell.pretrained is None else str(cell.pretrained).lower(),
                _plain(cell.views),
                _plain(cell.shots),
                "top1",
                _plain(cell.mean),
                _plain(cell.std),
                _plain(cell.n_seeds),
                _plain(cell.chance),
                _plain(cell.published.value if cell.published else None),
                cell.published.source if cell.published else "",
                profile,
                cell.data_rev,
                git_rev if ours else "",
            ]
        )
    return write_text(path, text.getvalue())


def as_published(settings: params.Params) -> bool:
    """Whether ours are measured as the published numbers were: on the real sets, with the paper's encoder and shots."""
    real = (
        settings.download.source == "shapenet" and settings.fewshot.dataset == settings.fullshot.dataset == "modelnet40"
    )
    encoder = settings.teacher.model.startswith("ViT-B-32") and settings.teacher.pretrained == "openai"
    return real and encoder and settings.fewshot.shots == 16 and settings.pretrain.intra


def number(cell: Cell | None) -> str:
    """Our number for people: mean, and ± the standard deviation over seeds."""
    if cell is None or cell.mean is None:
        return NONE
    return f"{cell.mean:.2f}" + (f" ± {cell.std:.2f}" if cell.std is not None else "")


def published_number(cell: Cell | None) -> str:
    """The published number for people."""
    return f"{cell.published.value:.2f}" if cell and cell.published else NONE


def heading(table: Table) -> str:
    """The table's number and title."""
    return table.layout.title if table.layout.table == CONTROLS else f"Table {table.layout.table}. {table.layout.title}"


def markdown(table: Table) -> str:
    """The table as Markdown with its notes."""
    head = [
        *table.layout.heads,
        "Chance",
        *table.columns,
        *(f"{column} ({table.published_mark})" for column in table.published_columns),
    ]
    lines = [f"# {heading(table)}", "", "Top-1 accuracy, percent.", "", _line(head)]
    lines.append(_line(["---"] * len(table.layout.heads) + ["---:"] * (len(head) - len(table.layout.heads))))
    for row in table.rows:
        chance = NONE if row.chance is None else f"{row.chance:.2f}"
        ours = [number(row.cells.get(column)) for column in table.columns]
        theirs = [published_number(row.cells.get(column)) for column in table.published_columns]
        lines.append(_line([*row.heads, chance, *ours, *theirs]))
    lines += ["", *(f"- {note}" for note in table.notes)]
    return "\n".join(lines) + "\n"


def comma_separated(table: Table) -> str:
    """The table as CSV: of every column the mean, the deviation and the seeds, then the published numbers."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ours = [f"{column}{what}" for column in table.columns for what in ("", " std", " seeds")]
    theirs = [f"{column} ({table.published_mark})" for column in table.published_columns]
    writer.writerow([*table.layout.heads, "Chance", *ours, *theirs])
    for row in table.rows:
        values: list[object] = [*row.heads, row.chance]
        for column in table.columns:
            cell = row.cells.get(column)
            values += [cell.mean, cell.std, cell.n_seeds] if cell else [None] * 3
        for column in table.published_columns:
            cell = row.cells.get(column)
            values.append(cell.published.value if cell and cell.published else None)
        writer.writerow(["" if value is None else value for value in values])
    return text.getvalue()


def _fill(settings: params.Params, layout: Layout, cells: Sequence[Cell]) -> Table:
    columns = tuple(dict.fromkeys(cell.column for cell in cells))
    with_published = {cell.column for cell in cells if cell.published}
    rows = []
    for heads in dict.fromkeys(cell.heads for cell in cells):
        mine = {cell.column: cell for cell in cells if cell.heads == heads}
        chance = next((cell.chance for cell in mine.values() if cell.chance is not None), None)
        rows.append(Row(heads, chance, mine))
    return Table(
        layout,
        columns,
        tuple(column for column in columns if column in with_published),
        tuple(rows),
        tuple(_notes(settings, layout, cells)),
        "published" if as_published(settings) else f"published, on {layout.data}",
    )


def _notes(settings: params.Params, layout: Layout, cells: Sequence[Cell]) -> list[str]:
    notes = []
    counts = sorted({cell.n_seeds for cell in cells if cell.std is not None and cell.n_seeds})
    if counts:
        notes.append(
            f"Mean ± sample standard deviation over {' or '.join(map(str, counts))} seeds; "
            "a number without ± is a single one: no seed of ours changes it."
        )
    notes.append("Chance is 100 divided by the number of classes.")
    if not as_published(settings):
        shapes = "shapes this project makes" if settings.download.source == "toy" else "other shapes"
        notes.append(
            f"Ours: profile {settings.profile}, {shapes}, encoder {settings.teacher.model}. Published: {layout.data}, "
            "ViT-B/32 with OpenAI's weights. The two don't measure the same thing."
        )
    if any(cell.dataset == "validation" and cell.mean is not None for cell in cells):
        notes.append(
            "Validation split: of the pre-training collection, all rendered views; the checkpoint was chosen on it."
        )
    if any(cell.method == "pointclip" and cell.mean is not None for cell in cells):
        notes.append(
            "PointCLIP: ours takes equal view weights and the last epoch; the published were searched on the test set."
        )
    notes += [str(claim) for claim in check_claims(layout.table, cells)]
    reasons: dict[str, list[str]] = {}
    for cell in cells:
        if cell.why and cell.why != OTHER_NETWORK:
            reasons.setdefault(cell.why, []).append(", ".join([*cell.heads, cell.column]))
    if any(cell.why == OTHER_NETWORK for cell in cells):
        notes.append("Rows without a level of chance are other networks: published numbers only.")
    for why, places in reasons.items():
        where = "; ".join(places) if len(places) <= 3 else f"{len(places)} cells"
        notes.append(f"{NONE} {where}: {why}.")
    return notes


def _line(values: Sequence[str]) -> str:
    return "| " + " | ".join(values) + " |"


def _plain(value: object) -> str:
    return "" if value is None else str(value)
