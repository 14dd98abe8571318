"""Two numbers held against each other, and what that says of a claim: shown, within noise, or the other way round.

A difference counts only where it exceeds its noise. The noise of a difference of two numbers is the larger of two:
their half 95 % intervals (test objects and seeds), and their standard deviations over seeds, each added in quadrature.
Both methods classify the same objects, so the intervals' part is rather too large than too small.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import hypot

from c2p.evaluation.cells import Cell

SHOWN, NOISE, REVERSED = "shown", "within noise", "the other way round"
UNTESTED = "not tested at this scale"


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
        """One of the comparisons' verdicts where all agree, else how many there are of each; or that there are none."""
        if not self.comparisons:
            return UNTESTED
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
        numbers = f" ({self.evidence})" if self.comparisons else ""
        return f"Claim: {self.text}: {self.verdict}{numbers}."


Compare = Callable[[Sequence[Cell]], list[Comparison]]
"""All cells to the comparisons that they allow."""


def noise(low: Cell, high: Cell) -> float | None:
    """Noise of the difference of two cells, in points; None: neither has seeds or an interval."""
    found = []
    if low.interval and high.interval:
        found.append(hypot(*((cell.interval[1] - cell.interval[0]) / 2 for cell in (low, high) if cell.interval)))
    if low.std is not None or high.std is not None:
        found.append(hypot(low.std or 0.0, high.std or 0.0))
    return max(found) if found else None


def compare_cells(place: str, low: Cell, high: Cell) -> Comparison:
    """Two cells that have numbers."""
    assert low.mean is not None and high.mean is not None
    return Comparison(place, low.mean, high.mean, noise(low, high))
