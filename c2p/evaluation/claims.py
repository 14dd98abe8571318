"""What the paper claims of its tables, held against our numbers: shown, or not shown, with the numbers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from c2p.evaluation.cells import CONTROLS, Cell

Pair = tuple[str, float, float]
"""Where, the number that the claim wants lower, the number that it wants higher."""


@dataclass(frozen=True)
class Claim:
    """A statement and how far our numbers bear it out."""

    text: str
    holds: int
    """Comparisons that bear it out."""
    asked: int
    """Comparisons there were."""
    evidence: str

    @property
    def verdict(self) -> str:
        """`shown`, `not shown` or `shown in n of m`."""
        if self.holds == self.asked:
            return "shown"
        return f"shown in {self.holds} of {self.asked}" if self.holds else "not shown"

    def __str__(self) -> str:
        return f"Claim: {self.text}: {self.verdict} ({self.evidence})."


def check_claims(table: str, cells: Sequence[Cell]) -> list[Claim]:
    """Claims about one table of which our numbers say something; cells are that table's."""
    found = [_claim(text, pairs(cells), factor) for text, pairs, factor in _CLAIMS.get(table, ()) if pairs(cells)]
    return found


def _columns(low: str, high: str, *, only: str = "", without: str = "") -> Callable[[Sequence[Cell]], list[Pair]]:
    """Compare two methods row by row."""

    def pairs(cells: Sequence[Cell]) -> list[Pair]:
        means = {(c.heads, c.method): c.mean for c in cells if (not only or c.dataset == only) and c.dataset != without}
        rows = dict.fromkeys(heads for heads, _ in means)
        return [
            (", ".join(heads), a, b)
            for heads in rows
            if (a := means.get((heads, low))) is not None and (b := means.get((heads, high))) is not None
        ]

    return pairs


def _methods(*wanted: tuple[str, str]) -> Callable[[Sequence[Cell]], list[Pair]]:
    """Compare pairs of methods wherever they stand."""

    def pairs(cells: Sequence[Cell]) -> list[Pair]:
        means = {c.method: c.mean for c in cells if c.mean is not None}
        return [
            (f"{low} and {high}".replace("_", " "), means[low], means[high])
            for low, high in wanted
            if low in means and high in means
        ]

    return pairs


def _minimum_over_weighted(cells: Sequence[Cell]) -> list[Pair]:
    means = {c.method: c.mean for c in cells if c.mean is not None}
    return [
        (f"{c.heads[0]} {c.column}", c.mean, means[other])
        for c in cells
        if c.mean is not None and "weighted" in c.method and (other := c.method.replace("weighted", "minimum")) in means
    ]


def _claim(text: str, pairs: Sequence[Pair], factor: float) -> Claim:
    evidence = ", ".join(f"{place}: {low:.2f} and {high:.2f}" for place, low, high in pairs)
    return Claim(
        text, sum(high > 0 and high >= factor * low and high > low for _, low, high in pairs), len(pairs), evidence
    )


_BEFORE, _AFTER = "clip2point_without_pretraining", "clip2point"
_CLAIMS: dict[str, tuple[tuple[str, Callable[[Sequence[Cell]], list[Pair]], float], ...]] = {
    "1": (
        ("pre-training at least doubles zero-shot accuracy", _columns(_BEFORE, _AFTER, without="validation"), 2.0),
        ("new depth maps alone beat PointCLIP", _columns("pointclip", _BEFORE, without="validation"), 1.0),
        ("RGB views stay above depth maps", _columns(_AFTER, "rgb_views"), 1.0),
    ),
    "2": (
        ("CLIP2Point beats PointCLIP even without pre-training", _methods(("pointclip", _BEFORE)), 1.0),
        ("pre-training improves it further", _methods((_BEFORE, _AFTER)), 1.0),
    ),
    "3": (("CLIP2Point beats PointCLIP", _methods(("pointclip", _AFTER)), 1.0),),
    "4": (
        (
            "the global-view adapter beats the inter-view adapter",
            _methods(("single_inter", "single_global"), ("dual_inter", "dual_global")),
            1.0,
        ),
        (
            "two paths beat one",
            _methods(("single_inter", "dual_inter"), ("single_global", "dual_global")),
            1.0,
        ),
    ),
    "5": (("the minimum depth beats the weighted one", _minimum_over_weighted, 1.0),),
    CONTROLS: (),
}
