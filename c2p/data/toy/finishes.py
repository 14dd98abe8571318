"""Finishes: what a part is made of, as a word and as a material with an optional small texture."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

T = TypeVar("T")

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.78, 0.13, 0.12),
    "orange": (0.93, 0.50, 0.12),
    "yellow": (0.93, 0.80, 0.20),
    "green": (0.20, 0.55, 0.24),
    "blue": (0.16, 0.33, 0.72),
    "purple": (0.47, 0.23, 0.60),
    "pink": (0.92, 0.55, 0.66),
    "brown": (0.45, 0.28, 0.15),
    "black": (0.10, 0.10, 0.11),
    "grey": (0.50, 0.51, 0.53),
    "white": (0.90, 0.90, 0.88),
    "beige": (0.83, 0.74, 0.58),
}
"""Named colours, RGB in [0, 1]."""

_SUBSTANCE_COLOURS: dict[str, tuple[str, ...]] = {
    "wooden": ("brown", "brown", "brown", "beige", "beige", "black", "red", "white"),
    "metal": ("grey", "grey", "black", "white", "red", "blue", "green"),
    "plastic": ("red", "orange", "yellow", "green", "blue", "purple", "pink", "black", "white", "grey"),
    "fabric": ("red", "orange", "green", "blue", "purple", "pink", "grey", "beige", "brown"),
    "leather": ("brown", "brown", "black", "red", "white", "beige"),
    "ceramic": ("white", "white", "blue", "green", "red", "yellow", "beige", "black"),
    "glass": ("green", "blue", "brown", "white"),
    "clay": ("orange", "brown", "beige"),
    "stone": ("grey", "white", "beige"),
}

SUBSTANCES: tuple[str, ...] = tuple(_SUBSTANCE_COLOURS)


_PATTERN_TILE = (0.12, 0.3)
_PLAIN_TILE = (0.2, 0.3)


@dataclass(frozen=True)
class ToyMaterial:
    """A material as an MTL file describes it."""

    name: str
    diffuse: tuple[float, float, float]
    """RGB in [0, 1]; white where there is a texture."""
    texture: np.ndarray | None
    """(h, w, 3) uint8, at most 64 x 64, repeating; None: plain colour."""


@dataclass(frozen=True)
class Finish:
    """What a part is made of."""

    colour: str
    """A name of COLOURS."""
    substance: str
    """One of SUBSTANCES, an adjective."""
    pattern: str
    """`striped`, `checked`, `spotted` or empty."""
    material: ToyMaterial
    tile: float
    """Share of the shape's diagonal that the texture covers before it repeats."""

    @property
    def look(self) -> str:
        """Return the words a caption uses, such as `striped red fabric`."""
        return " ".join(word for word in (self.pattern, self.colour, self.substance) if word)


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """Return one of `options`, each equally likely."""
    return options[int(rng.integers(len(options)))]


def finish(
    rng: np.random.Generator, substances: str | Sequence[str], *, colour: str | None = None, patterned: float = 0.3
) -> Finish:
    """Draw a finish: a substance of those given, a colour that suits it, a pattern with probability `patterned`.

    Wood always shows its grain and fabric its weave; patterns are for plastic, fabric and ceramic only.
    """
    substance = pick(rng, (substances,) if isinstance(substances, str) else substances)
    colour = colour or pick(rng, _SUBSTANCE_COLOURS[substance])
    base = np.clip(np.array(COLOURS[colour]) * rng.uniform(0.85, 1.12) + rng.uniform(-0.03, 0.03, 3), 0.04, 0.96)
    pattern = ""
    if substance in ("plastic", "fabric", "ceramic") and rng.random() < patterned:
        pattern = pick(rng, ("striped", "checked", "spotted"))
    texture = _texture(rng, base, substance, pattern)
    red, green, blue = (1.0, 1.0, 1.0) if texture is not None else np.round(base, 4).tolist()
    name = f"{pattern or 'plain'}_{colour}_{substance}"
    tile = float(rng.uniform(*(_PATTERN_TILE if pattern else _PLAIN_TILE)))
    return Finish(colour, substance, pattern, ToyMaterial(name, (red, green, blue), texture), tile)


def _texture(rng: np.random.Generator, base: np.ndarray, substance: str, pattern: str) -> np.ndarray | None:
    if pattern:
        return _to_bytes(_PATTERNS[pattern](rng, base))
    if substance == "wooden":
        return _to_bytes(base * _grain(rng)[..., None])
    if substance == "fabric":
        return _to_bytes(base * (1 + 0.07 * rng.standard_normal((32, 32, 1))))
    if substance == "stone":
        return _to_bytes(base * (1 + 0.10 * _cloud(rng, 32)[..., None]))
    return None


def _grain(rng: np.random.Generator) -> np.ndarray:
    """Return (64, 32) brightness of wood: wavy lines along v, repeating in both directions."""
    v, u = np.meshgrid(np.arange(64) / 64, np.arange(32) / 32, indexing="ij")
    bend = 0.06 * np.sin(2 * np.pi * (v + rng.random())) + 0.02 * np.sin(2 * np.pi * (3 * v + rng.random()))
    lines = sum(
        amount * np.sin(2 * np.pi * (count * (u + bend) + rng.random()))
        for count, amount in ((2, 0.08), (5, 0.07), (int(rng.integers(8, 12)), 0.05))
    )
    return 1 + lines + 0.02 * rng.standard_normal((64, 32))


def _stripes(rng: np.random.Generator, base: np.ndarray) -> np.ndarray:
    ramp = (np.arange(32) * int(rng.integers(1, 4)) // 16) % 2
    return np.where(ramp[:, None, None] == 1, np.broadcast_to(base, (32, 32, 3)), _second(rng, base))


def _checks(rng: np.random.Generator, base: np.ndarray) -> np.ndarray:
    square = (np.arange(32) // 16) % 2
    mix = (square[:, None] + square[None, :]) / 2
    return base * mix[..., None] + _second(rng, base) * (1 - mix[..., None])


def _spots(rng: np.random.Generator, base: np.ndarray) -> np.ndarray:
    v, u = np.meshgrid(np.arange(32) + 0.5, np.arange(32) + 0.5, indexing="ij")
    radius = rng.uniform(4, 6)
    spot = np.zeros((32, 32), bool)
    for centre_u, centre_v in ((8, 8), (24, 24)):
        spot |= (u - centre_u) ** 2 + (v - centre_v) ** 2 < radius**2
    return np.where(spot[..., None], _second(rng, base), base)


_PATTERNS = {"striped": _stripes, "checked": _checks, "spotted": _spots}


def _second(rng: np.random.Generator, base: np.ndarray) -> np.ndarray:
    """Return a colour to go with `base`: white on dark, and a dark shade of it on light."""
    return np.full(3, 0.92) * rng.uniform(0.9, 1.0) if base.mean() < 0.6 else base * rng.uniform(0.25, 0.45)


def _cloud(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return (size, size) smooth repeating noise of unit deviation: a few low waves."""
    v, u = np.meshgrid(np.arange(size) / size, np.arange(size) / size, indexing="ij")
    waves = [
        np.sin(2 * np.pi * (int(rng.integers(-4, 5)) * u + int(rng.integers(1, 5)) * v + rng.random()))
        for _ in range(6)
    ]
    return np.sum(waves, axis=0) / np.sqrt(3)


def _to_bytes(colour: np.ndarray) -> np.ndarray:
    return np.round(np.clip(colour, 0, 1) * 255).astype(np.uint8)
