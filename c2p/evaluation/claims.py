"""What the papers claim of their tables, held against our numbers."""

from collections.abc import Sequence

from c2p.evaluation import cg3d_claims
from c2p.evaluation.cells import Cell
from c2p.evaluation.comparison import Claim, Compare, Comparison, compare_cells
from c2p.evaluation.contents import CONTROLS
from c2p.evaluation.methods import CROSS_ONLY


def check_claims(table: str, cells: Sequence[Cell]) -> list[Claim]:
    """Claims about one table; cells are those of all tables.

    Of CLIP2Point's claims those of which our numbers say something, of CG3D's all.
    """
    claims = [Claim(text, tuple(compare(cells))) for text, compare in _CLAIMS.get(table, ())]
    return [claim for claim in claims if claim.comparisons or table in cg3d_claims.CLAIMS]


Place = tuple[str, str]
"""A table and a method's slug in it."""


def _by_set(low: str, high: str, *, validation: bool = False) -> Compare:
    """Compare two methods of Table 1 on every benchmark set, or on the validation split, which others chose on."""

    def compare(cells: Sequence[Cell]) -> list[Comparison]:
        rows: dict[str, dict[str, Cell]] = {}
        for cell in cells:
            if cell.table == "1" and cell.mean is not None and (cell.dataset == "validation") == validation:
                rows.setdefault(cell.heads[0], {})[cell.method] = cell
        return [compare_cells(head, row[low], row[high]) for head, row in rows.items() if low in row and high in row]

    return compare


def _methods(*wanted: tuple[Place, Place]) -> Compare:
    """Compare pairs of methods wherever they stand."""

    def compare(cells: Sequence[Cell]) -> list[Comparison]:
        found = {(c.table, c.method): c for c in cells if c.mean is not None and c.dataset != "validation"}
        return [
            compare_cells(f"{_words(low[1])} and {_words(high[1])}", found[low], found[high])
            for low, high in wanted
            if low in found and high in found and found[low].dataset == found[high].dataset
        ]

    return compare


def _renderings(low: str, high: str, *, among: str = "") -> Compare:
    """Compare cells of Table 5, among those whose slug has a part, that differ in another: low or high."""

    def compare(cells: Sequence[Cell]) -> list[Comparison]:
        found = {c.method: c for c in cells if c.table == "5" and c.mean is not None}
        return [
            compare_cells(f"{cell.heads[0]} {cell.heads[1].lower()} {cell.column}", cell, found[other])
            for slug, cell in found.items()
            if low in slug and among in slug and (other := slug.replace(low, high)) in found
        ]

    return compare


def _cross_only(cells: Sequence[Cell]) -> list[Comparison]:
    """Compare the control without the intra-modality loss with Table 1 on the same set."""
    both = {c.dataset: c for c in cells if c.table == "1" and c.method == _AFTER and c.mean is not None}
    alone = [c for c in cells if c.table == CONTROLS and c.method == CROSS_ONLY.slug and c.mean is not None]
    return [compare_cells("cross-modality loss only and both", c, both[c.dataset]) for c in alone if c.dataset in both]


def _words(slug: str) -> str:
    return slug.replace("_", " ")


_BEFORE, _AFTER = "clip2point_without_pretraining", "clip2point"
_CLAIMS: dict[str, tuple[tuple[str, Compare], ...]] = {
    "1": (
        ("the new depth maps alone beat PointCLIP", _by_set("pointclip", _BEFORE)),
        ("pre-training improves zero-shot accuracy", _by_set(_BEFORE, _AFTER)),
        ("CLIP sees more in RGB views than in depth maps", _by_set(_BEFORE, "rgb_views", validation=True)),
    ),
    "2": (
        ("CLIP2Point beats PointCLIP even without pre-training", _methods((("2", "pointclip"), ("2", _BEFORE)))),
        ("pre-training improves it further", _methods((("2", _BEFORE), ("2", _AFTER)))),
    ),
    "3": (("CLIP2Point beats PointCLIP", _methods((("3", "pointclip"), ("3", _AFTER)))),),
    "4": (
        (
            "the global-view adapter beats the inter-view adapter",
            _methods((("4", "single_inter"), ("4", "single_global")), (("4", "dual_inter"), ("4", "dual_global"))),
        ),
        (
            "two paths beat one",
            _methods((("4", "single_inter"), ("4", "dual_inter")), (("4", "single_global"), ("4", "dual_global"))),
        ),
    ),
    "5": (
        ("the minimum depth beats the weighted one", _renderings("weighted", "minimum")),
        ("with the minimum, a dilation of 2 beats 1", _renderings("_r1", "_r2", among="minimum")),
        ("with the minimum, a dilation of 4 is too large: 2 beats it", _renderings("_r4", "_r2", among="minimum")),
    ),
    CONTROLS: (
        (
            "two paths are of no use where both are CLIP: one does better",
            _methods(((CONTROLS, "dual_global_clip"), ("2", _BEFORE))),
        ),
        (
            "a path of its own for pre-trained knowledge beats a second CLIP",
            _methods(((CONTROLS, "dual_global_clip"), ("4", "dual_global"))),
        ),
        ("both losses beat the cross-modality loss alone", _cross_only),
    ),
    **cg3d_claims.CLAIMS,
}
