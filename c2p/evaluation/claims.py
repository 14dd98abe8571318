"""What the paper claims of its tables, held against our numbers: shown, within noise, or the other way round.

A difference counts only where it exceeds its noise. The noise of a difference of two numbers is the larger of two:
their half 95 % intervals (test objects and seeds), and their standard deviations over seeds, each added in quadrature.
Both methods classify the same objects, so the intervals' part is rather too large than too small.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import hypot

from c2p.evaluation.cells import Cell
from c2p.evaluation.contents import CONTROLS
from c2p.evaluation.methods import CROSS_ONLY


@dataclass(frozen=True)
class Comparison:
    """Two numbers of which a claim wants the second to be higher."""

    place: str
    low: float
    high: float
    noise: float | None
    """Difference, in points, below which nothing can be said; None: single numbers, of which no spread is known."""

    @property
    def verdict(self) -> str:
        """`shown`, `within noise` or `the other way round`."""
        gap = self.high - self.low
        if abs(gap) <= (self.noise or 0.0):
            return NOISE
        return SHOWN if gap > 0 else REVERSED

    def __str__(self) -> str:
        noise = "noise unknown" if self.noise is None else f"noise {self.noise:.1f}"
        return f"{self.place}: {self.low:.2f} and {self.high:.2f}, {noise}"


SHOWN, NOISE, REVERSED = "shown", "within noise", "the other way round"


@dataclass(frozen=True)
class Claim:
    """A statement and how far our numbers bear it out."""

    text: str
    comparisons: tuple[Comparison, ...]

    def count(self, verdict: str) -> int:
        """Comparisons with this verdict."""
        return sum(comparison.verdict == verdict for comparison in self.comparisons)

    @property
    def verdict(self) -> str:
        """One of the comparisons' verdicts where all agree, else how many there are of each."""
        counts = {verdict: self.count(verdict) for verdict in (SHOWN, NOISE, REVERSED)}
        told = [verdict for verdict, count in counts.items() if count]
        if len(told) == 1:
            return told[0]
        parts = [f"{verdict} in {counts[verdict]}" for verdict in told]
        return f"{', '.join(parts)} of {len(self.comparisons)}"

    @property
    def evidence(self) -> str:
        """The numbers."""
        return "; ".join(map(str, self.comparisons))

    def __str__(self) -> str:
        return f"Claim: {self.text}: {self.verdict} ({self.evidence})."


def check_claims(table: str, cells: Sequence[Cell]) -> list[Claim]:
    """Claims about one table of which our numbers say something; cells are those of all tables."""
    claims = [Claim(text, tuple(compare(cells))) for text, compare in _CLAIMS.get(table, ())]
    return [claim for claim in claims if claim.comparisons]


def noise(low: Cell, high: Cell) -> float | None:
    """Noise of the difference of two cells, in points; None: neither has seeds or an interval."""
    found = []
    if low.interval and high.interval:
        found.append(hypot(*((cell.interval[1] - cell.interval[0]) / 2 for cell in (low, high) if cell.interval)))
    if low.std is not None or high.std is not None:
        found.append(hypot(low.std or 0.0, high.std or 0.0))
    return max(found) if found else None


Compare = Callable[[Sequence[Cell]], list[Comparison]]
Place = tuple[str, str]
"""A table and a method's slug in it."""


def _pair(place: str, low: Cell, high: Cell) -> Comparison:
    assert low.mean is not None and high.mean is not None
    return Comparison(place, low.mean, high.mean, noise(low, high))


def _by_set(low: str, high: str, *, validation: bool = False) -> Compare:
    """Compare two methods of Table 1 on every benchmark set, or on the validation split, which others chose on."""

    def compare(cells: Sequence[Cell]) -> list[Comparison]:
        rows: dict[str, dict[str, Cell]] = {}
        for cell in cells:
            if cell.table == "1" and cell.mean is not None and (cell.dataset == "validation") == validation:
                rows.setdefault(cell.heads[0], {})[cell.method] = cell
        return [_pair(head, row[low], row[high]) for head, row in rows.items() if low in row and high in row]

    return compare


def _methods(*wanted: tuple[Place, Place]) -> Compare:
    """Compare pairs of methods wherever they stand."""

    def compare(cells: Sequence[Cell]) -> list[Comparison]:
        found = {(c.table, c.method): c for c in cells if c.mean is not None and c.dataset != "validation"}
        return [
            _pair(f"{_words(low[1])} and {_words(high[1])}", found[low], found[high])
            for low, high in wanted
            if low in found and high in found and found[low].dataset == found[high].dataset
        ]

    return compare


def _renderings(low: str, high: str, *, among: str = "") -> Compare:
    """Compare cells of Table 5, among those whose slug has a part, that differ in another: low or high."""

    def compare(cells: Sequence[Cell]) -> list[Comparison]:
        found = {c.method: c for c in cells if c.table == "5" and c.mean is not None}
        return [
            _pair(f"{cell.heads[0]} {cell.heads[1].lower()} {cell.column}", cell, found[other])
            for slug, cell in found.items()
            if low in slug and among in slug and (other := slug.replace(low, high)) in found
        ]

    return compare


def _cross_only(cells: Sequence[Cell]) -> list[Comparison]:
    """Compare the control without the intra-modality loss with Table 1 on the same set."""
    both = {c.dataset: c for c in cells if c.table == "1" and c.method == _AFTER and c.mean is not None}
    alone = [c for c in cells if c.table == CONTROLS and c.method == CROSS_ONLY.slug and c.mean is not None]
    return [_pair("cross-modality loss only and both", c, both[c.dataset]) for c in alone if c.dataset in both]


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
}
