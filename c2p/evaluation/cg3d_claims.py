"""What the CG3D paper claims, by table, as comparisons of our numbers."""

from collections.abc import Sequence

from c2p.evaluation.cells import Cell
from c2p.evaluation.cg3d_contents import ABLATIONS, FINETUNE, NAMES, PAIRS, RETRIEVAL, SCENES, ZEROSHOT
from c2p.evaluation.comparison import Compare, Comparison, compare_cells
from c2p.evaluation.methods import VALIDATION


def _over_chance(table: str, *methods: str, validation: bool = True) -> Compare:
    """Numbers of a table against chance, which is exact: it has no spread."""

    def compare(cells: Sequence[Cell]) -> list[Comparison]:
        found = [c for c in cells if c.table == table and c.method in methods and c.mean is not None]
        return [
            compare_cells(", ".join([cell.heads[0], *_measure(cell)]), _chance(cell), cell)
            for cell in found
            if cell.chance is not None and (validation or cell.dataset != VALIDATION)
        ]

    return compare


def _variants(low: str, high: str, *, metric: str, dataset: str = "") -> Compare:
    """Two rows of the ablations, column by column; dataset: only the columns of this set."""

    def compare(cells: Sequence[Cell]) -> list[Comparison]:
        columns: dict[str, dict[str, Cell]] = {}
        for cell in cells:
            asked = cell.table == ABLATIONS and cell.metric == metric and dataset in ("", cell.dataset)
            if asked and cell.mean is not None:
                columns.setdefault(cell.column, {})[cell.method] = cell
        return [
            compare_cells(f"{column}, {NAMES[low]} and {NAMES[high]}", row[low], row[high])
            for column, row in columns.items()
            if low in row and high in row
        ]

    return compare


def _together(*compares: Compare) -> Compare:
    return lambda cells: [comparison for compare in compares for comparison in compare(cells)]


def _finetuned(cells: Sequence[Cell]) -> list[Comparison]:
    """Both starts at every share of the labels."""
    rows: dict[str, dict[str, Cell]] = {}
    for cell in cells:
        if cell.table == FINETUNE and cell.metric == "top1" and cell.mean is not None:
            rows.setdefault(cell.heads[0], {})[cell.method.partition("_")[0]] = cell
    return [
        compare_cells(head, row["scratch"], row["cg3d"])
        for head, row in rows.items()
        if {"scratch", "cg3d"} <= set(row)
    ]


def _chance(cell: Cell) -> Cell:
    """Chance as a number without noise."""
    assert cell.chance is not None
    return Cell(cell.table, cell.heads, "chance", mean=cell.chance, interval=(cell.chance, cell.chance))


def _measure(cell: Cell) -> list[str]:
    return [] if cell.metric == "top1" else [cell.column]


CLAIMS: dict[str, tuple[tuple[str, Compare], ...]] = {
    ZEROSHOT: (
        (
            "zero-shot classification works, on sets it was not trained on",
            _over_chance(ZEROSHOT, "cg3d", validation=False),
        ),
    ),
    RETRIEVAL: (
        ("a text finds the shape it was written for", _over_chance(RETRIEVAL, "text_object_r5")),
        ("a picture finds the shape that it shows", _over_chance(RETRIEVAL, "image_object_r5")),
        ("a shape finds others of its class", _over_chance(RETRIEVAL, "shape_class_r1")),
    ),
    ABLATIONS: (
        (
            "prompts in the image tower help",
            _variants("nothing-both", "prompts-both", metric="top1"),
        ),
        (
            "image and text together are better than either alone",
            _together(
                _variants("prompts-image", "prompts-both", metric="top1"),
                _variants("prompts-text", "prompts-both", metric="top1"),
            ),
        ),
        (
            "tuning the whole image tower forgets pairs of classes it is not tuned on",
            _variants("everything-both", "before", metric=PAIRS, dataset="pairs_held_out"),
        ),
        (
            "prompts forget less than that",
            _variants("everything-both", "prompts-both", metric=PAIRS, dataset="pairs_held_out"),
        ),
    ),
    FINETUNE: (("its weights are a better start for fine-tuning than random ones", _finetuned),),
    SCENES: (("segments of a scene are named by text", _over_chance(SCENES, "named_miou")),),
}
"""All of them are told, those that nothing here tests too."""
