"""A design: the parts of one made shape with the words that describe it, and the sentences made of those words."""

from dataclasses import dataclass

import numpy as np

from c2p.data.toy.finishes import Finish, pick
from c2p.data.toy.solids import Solid

Part = tuple[Finish, Solid]


class Parts(list[Part]):
    """The parts of a design, in the order they were added."""

    def add(self, finish: Finish, *solids: Solid) -> None:
        """Add solids of one finish."""
        self.extend((finish, solid) for solid in solids)


_COUNT_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass(frozen=True)
class Design:
    """What a family draws from its random numbers."""

    parts: tuple[Part, ...]
    look: Finish
    """Finish of the part that a person would name."""
    kind: str
    """Style before the noun, such as `round` or `office`; empty: none."""
    features: tuple[str, ...]
    """What the shape has, such as `four legs`; may be empty."""


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return `one leg`, `four legs`: the number as a word, up to ten."""
    return f"{_COUNT_WORDS[count]} {noun if count == 1 else plural or noun + 's'}"


def sentences(rng: np.random.Generator, design: Design, nouns: tuple[str, ...]) -> tuple[str, ...]:
    """Return four to six different captions; every noun of up to three appears in one."""
    order = [nouns[i] for i in rng.permutation(len(nouns))]
    noun = [order[i % len(order)] for i in range(6)]
    styled = f"{design.kind} {{}}" if design.kind else "{}"
    candidates = [
        f"image of {article(noun[0])}",
        f"{article(f'{design.look.look} {noun[1]}')}",
        f"image of {article(f'{design.look.colour} {noun[2]}')}",
        f"a picture of {article(styled.format(noun[3]))}",
    ]
    if design.features:
        first = pick(rng, design.features)
        candidates.append(f"{article(f'{design.look.colour} {styled.format(noun[4])}')} with {first}")
        candidates.append(f"{article(f'{design.look.substance} {noun[5]}')} that has {pick(rng, design.features)}")
    return tuple(dict.fromkeys(candidates))


def article(phrase: str) -> str:
    """Return the phrase with `a` or `an` before it."""
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"
