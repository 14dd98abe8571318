"""Tables 1 to 5 in the paper's layout, and those of CG3D: ours beside the published numbers, as CSV and Markdown."""

import csv
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from c2p import params
from c2p.data.files import write_text
from c2p.evaluation.cells import Cell, write_cells
from c2p.evaluation.cg3d_contents import ABLATIONS, FINETUNE, RETRIEVAL, SCENES, TABLES, ZEROSHOT
from c2p.evaluation.contents import CONTROLS, SHOTS
from c2p.evaluation.notes import as_published, table_notes
from c2p.evaluation.revision import code_revision

PACKAGE = Path(__file__).resolve().parents[1]
NONE = "–"
REVISION_DIGITS = 12


@dataclass(frozen=True)
class Layout:
    """What a table looks like apart from its numbers."""

    table: str
    file: str
    title: str
    heads: tuple[str, ...]
    data: str
    """What the published numbers were measured on."""
    unit: str = "Top-1 accuracy, percent."
    chance_by_row: bool = True
    """Whether a row has one level of chance, in a column; else every number has its own."""


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
    profile: str
    """Preset of ours."""
    data_rev: str
    """Digest over the data revisions of its cells; empty where there is none of ours."""
    git_rev: str
    """Git's id of the library's folder."""

    @property
    def seed_counts(self) -> list[int]:
        """The different numbers of seeds behind its cells."""
        return sorted({cell.n_seeds for row in self.rows for cell in row.cells.values() if cell.n_seeds})


@dataclass(frozen=True)
class Row:
    """One row: its head, the level of chance (percent, None: nothing of ours) and its cells by column."""

    heads: tuple[str, ...]
    chance: float | None
    cells: dict[str, Cell]


def layouts(settings: params.Params, names: Mapping[str, str]) -> tuple[Layout, ...]:
    """The tables of these parameters; names says what people call each dataset."""
    few, full = (names.get(s.dataset, s.dataset) for s in (settings.fewshot, settings.fullshot))
    shots = settings.fewshot.shots
    return (
        Layout("1", "table1", "Zero-shot classification", ("Set",), "the real sets"),
        Layout("2", "table2", f"{shots}-shot classification, {few}", ("Method", "Encoder"), "the real ModelNet40"),
        Layout("3", "table3", f"Fully supervised, {full}", ("Method", "Points, views"), "the real ModelNet40"),
        Layout("4", "table4", f"{shots}-shot by components, {few}", ("Paths",), "the real ModelNet40"),
        Layout("5", "table5", f"Depth renderings, {few}", ("Task", "Depth value"), "the real ModelNet40"),
        Layout(CONTROLS, "controls", "Controls of the text", ("Set", "Task", "Control"), "the real sets"),
        Layout(SHOTS, "shots", f"Accuracy against training objects a class, {few}", ("Method",), ""),
        Layout(ZEROSHOT, f"table_{ZEROSHOT}", "CG3D, zero-shot classification", ("Set",), "the real sets"),
        Layout(
            RETRIEVAL,
            f"table_{RETRIEVAL}",
            "CG3D, retrieval",
            ("Set", "Query", "Relevant"),
            "",
            "Share of the queries with a relevant shape among the first K, and mean average precision, percent; in "
            "brackets what a random order gives, and how many times that.",
            chance_by_row=False,
        ),
        Layout(
            ABLATIONS,
            f"table_{ABLATIONS}",
            "CG3D, ablations",
            ("Image tower", "3D encoder drawn to"),
            "",
            "3D: top-1 accuracy, zero-shot; RGB views: share of them whose nearest text is that of their class, and "
            "what tuning took from that; percent, chance in brackets.",
            chance_by_row=False,
        ),
        Layout(
            FINETUNE,
            f"table_{FINETUNE}",
            f"CG3D, supervised fine-tuning, {full}",
            ("Labels", "Training objects"),
            "",
            "Top-1 accuracy, percent; the difference in points, of the same test objects and seeds.",
        ),
        Layout(
            SCENES,
            f"table_{SCENES}",
            "CG3D, made scenes",
            ("Segments",),
            "",
            "Percent, chance in brackets: names drawn at random for the same segments.",
            chance_by_row=False,
        ),
    )


def build_tables(settings: params.Params, cells: Sequence[Cell], names: Mapping[str, str]) -> list[Table]:
    """Arrange the cells in the paper's layout."""
    return [_fill(settings, layout, cells) for layout in layouts(settings, names)]


def write_tables(folder: Path, settings: params.Params, cells: Sequence[Cell], names: Mapping[str, str]) -> list[Table]:
    """Write all tables, .csv and .md each, and cells.csv; returns the tables."""
    tables = build_tables(settings, cells, names)
    for table in tables:
        write_text(folder / f"{table.layout.file}.md", markdown(table))
        write_text(folder / f"{table.layout.file}.csv", comma_separated(table))
    write_cells(folder / "cells.csv", cells, profile=settings.profile, git_rev=code_revision(PACKAGE))
    return tables


def number(cell: Cell | None, *, seeds: bool = False) -> str:
    """Our number for people: mean, ± the standard deviation over seeds, [95 % interval]; seeds: with their number."""
    if cell is None or cell.mean is None:
        return NONE
    count = f" ({cell.n_seeds})" if seeds and cell.n_seeds else ""
    spread = f" ± {cell.std:.2f}" if cell.std is not None else ""
    low_high = f" [{cell.interval[0]:.1f}, {cell.interval[1]:.1f}]" if cell.interval else ""
    return f"{cell.mean:.2f}{spread}{count}{low_high}"


def over_chance(cell: Cell | None) -> str:
    """A number's own level of chance for people, and how many times that it is; empty where it has none."""
    if cell is None or cell.mean is None or cell.chance is None:
        return ""
    times = f", {cell.mean / cell.chance:.1f}×" if cell.chance else ""
    return f"chance {cell.chance:.1f}{times}"


def published_number(cell: Cell | None) -> str:
    """The published number for people."""
    return f"{cell.published.value:.2f}" if cell and cell.published else NONE


def heading(table: Table) -> str:
    """The table's number and title."""
    name = table.layout.table
    return f"Table {name}. {table.layout.title}" if name.isdecimal() else table.layout.title


def markdown(table: Table) -> str:
    """The table as Markdown with its notes."""
    layout = table.layout
    chance_head = ["Chance"] if layout.chance_by_row else []
    head = [*layout.heads, *chance_head, *table.columns, *_published_heads(table)]
    lines = [f"# {heading(table)}", "", layout.unit, "", _line(head)]
    lines.append(_line(["---"] * len(layout.heads) + ["---:"] * (len(head) - len(layout.heads))))
    counted = len(table.seed_counts) > 1
    for row in table.rows:
        chance = [NONE if row.chance is None else f"{row.chance:.2f}"] if layout.chance_by_row else []
        ours = [_words(row.cells.get(column), layout, seeds=counted) for column in table.columns]
        theirs = [published_number(row.cells.get(column)) for column in table.published_columns]
        lines.append(_line([*row.heads, *chance, *ours, *theirs]))
    revisions = f"code `{table.git_rev}` (git tree of c2p/)"
    if table.data_rev:
        revisions = f"data `{table.data_rev}` (over those of its cells, in the CSV), {revisions}"
    lines += ["", *(f"- {note}" for note in table.notes), f"- Preset {table.profile}, {revisions}."]
    return "\n".join(lines) + "\n"


def comma_separated(table: Table) -> str:
    """The table as CSV: of every column mean, deviation, seeds, interval and data, then the published numbers."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    by_row = table.layout.chance_by_row
    whats = ("", " std", " seeds", " low", " high", " data_rev", *(() if by_row else (" chance",)))
    ours = [f"{column}{what}" for column in table.columns for what in whats]
    chance_head = ["Chance"] if by_row else []
    writer.writerow([*table.layout.heads, *chance_head, *ours, *_published_heads(table), "profile", "git_rev"])
    for row in table.rows:
        values: list[object] = [*row.heads, *([row.chance] if by_row else [])]
        for column in table.columns:
            cell = row.cells.get(column)
            low, high = (cell.interval if cell else None) or (None, None)
            found = [cell.mean, cell.std, cell.n_seeds, low, high, cell.data_rev, cell.chance] if cell else []
            values += found[: len(whats)] or [None] * len(whats)
        for column in table.published_columns:
            cell = row.cells.get(column)
            values.append(cell.published.value if cell and cell.published else None)
        writer.writerow(["" if value is None else value for value in [*values, table.profile, table.git_rev]])
    return text.getvalue()


def _words(cell: Cell | None, layout: Layout, *, seeds: bool) -> str:
    """A number of ours, with its own level of chance where the table wants that."""
    chance = "" if layout.chance_by_row else over_chance(cell)
    return number(cell, seeds=seeds) + (f" ({chance})" if chance else "")


def _published_heads(table: Table) -> list[str]:
    return [f"{column} ({table.published_mark})" for column in table.published_columns]


def _fill(settings: params.Params, layout: Layout, all_cells: Sequence[Cell]) -> Table:
    cells = [cell for cell in all_cells if cell.table == layout.table]
    columns = tuple(dict.fromkeys(cell.column for cell in cells))
    with_published = {cell.column for cell in cells if cell.published}
    rows = []
    for heads in dict.fromkeys(cell.heads for cell in cells):
        mine = {cell.column: cell for cell in cells if cell.heads == heads}
        chance = next((cell.chance for cell in mine.values() if cell.chance is not None), None)
        rows.append(Row(heads, chance, mine))
    revisions = sorted({cell.data_rev for cell in cells if cell.data_rev})
    return Table(
        layout,
        columns,
        tuple(column for column in columns if column in with_published),
        tuple(rows),
        tuple(table_notes(settings, layout.table, all_cells, data=layout.data)),
        "published" if as_published(settings) and layout.table not in TABLES else f"published, on {layout.data}",
        settings.profile,
        hashlib.sha256(" ".join(revisions).encode()).hexdigest()[:REVISION_DIGITS] if revisions else "",
        code_revision(PACKAGE),
    )


def _line(values: Sequence[str]) -> str:
    return "| " + " | ".join(value.replace("|", "\\|") for value in values) + " |"
