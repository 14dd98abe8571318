"""Families that fly: airplane, nose to +z, and rocket, nose to +y."""

from typing import NamedTuple

import numpy as np

from c2p.data.toy.design import Design, Part, Parts, article, counted
from c2p.data.toy.finishes import Finish, finish, pick
from c2p.data.toy.solids import (
    Solid,
    X,
    Y,
    Z,
    box,
    cushion,
    cylinder,
    lathe,
    loft,
    moved,
    turned,
)


class _PlanePlan(NamedTuple):
    """Lengths of a kind of airplane."""

    half_span: float
    root: float
    tip_share: float
    sweep: float
    wing_at: float = 0.12
    tail_share: float = 0.38
    body: tuple[float, ...] = (0.0, 0.45, 0.82, 1.0, 1.0, 0.6, 0.12)


_PLANES = {
    "passenger": _PlanePlan(0.58, 0.22, 0.35, 0.26),
    "propeller": _PlanePlan(0.6, 0.17, 0.65, 0.02),
    "biplane": _PlanePlan(0.5, 0.17, 0.95, 0.0),
    "fighter": _PlanePlan(0.36, 0.5, 0.15, 0.34, 0.02, 0.55, (0.0, 0.2, 0.5, 0.85, 1.0, 1.0, 0.85)),
}
_STATIONS = np.array([0.0, 0.04, 0.12, 0.22, 0.65, 0.85, 1.0])


def airplane(rng: np.random.Generator) -> Design:
    """Return an airliner with jet engines, a propeller plane, a biplane or a delta-winged fighter."""
    kind = pick(rng, ("passenger", *_PLANES))
    plan = _PLANES[kind]
    paint = finish(rng, ("metal", "metal", "plastic"), patterned=0.0)
    second = finish(rng, ("metal", "plastic"), patterned=0.0)
    glass = finish(rng, "glass", colour="blue", patterned=0.0)
    dark = finish(rng, "metal", colour="black", patterned=0.0)
    radius = rng.uniform(0.055, 0.075) if kind in ("passenger", "fighter") else rng.uniform(0.07, 0.09)
    length = rng.uniform(0.7, 0.85) if kind == "biplane" else rng.uniform(0.95, 1.2)
    half, root = plan.half_span * rng.uniform(0.88, 1.12), plan.root * rng.uniform(0.9, 1.1)
    sweep, tip = plan.sweep * rng.uniform(0.8, 1.2), root * plan.tip_share
    heights = (-radius * 0.7, radius * 2.4) if kind == "biplane" else (pick(rng, (-0.5, 0.6)) * radius,)
    wing_z = length * plan.wing_at
    body = lathe(np.stack([np.array(plan.body) * radius, length * (0.5 - _STATIONS)], -1), segments=20)
    cockpit = (radius * 1.3, radius * 1.1, length * 0.12)
    parts = Parts([(paint, turned(body, 90, X))])
    parts.add(glass, cushion(cockpit, (0, radius * 0.75, length * 0.3), roundness=0.8))
    for side in (-1, 1):
        rise = 0.03 * half if kind == "passenger" else 0.0
        parts.add(second, *(moved(_wing(side * half, root, tip, sweep, rise), (0, y, wing_z)) for y in heights))
        tail = _wing(side * half * plan.tail_share, root * 0.5, tip * 0.6, sweep * 0.45)
        parts.add(second, moved(tail, (0, radius * 0.3, -length * 0.4)))
    fins = (-0.6, 0.6) if kind == "fighter" and rng.random() < 0.5 else (0.0,)
    for x in fins:
        fin = turned(_wing(0.2 * rng.uniform(0.85, 1.15), root * 0.55, tip * 0.7, 0.14), 90, Z)
        parts.add(second, moved(fin, (x * radius, radius * 0.4, -length * 0.38)))
    features = [counted(len(fins), "tail fin")]
    if kind == "passenger":
        pairs = int(rng.integers(1, 3))
        parts.add(paint, *_jets(half, (heights[0] - 0.045, wing_z + 0.06), pairs))
        features.append(counted(2 * pairs, "engine"))
    elif kind == "fighter":
        at = (half * 0.6, heights[0] - 0.03)
        parts.add(dark, cylinder(radius * 0.7, 0.08, (0, 0, -length * 0.52), axis=Z))
        parts.add(
            dark, *(cushion((0.03, 0.03, 0.3), (s * at[0], at[1], -0.1), roundness=0.8, detail=10) for s in (-1, 1))
        )
        features.append("swept wings")
    else:
        blades = int(rng.integers(2, 5))
        parts.add(dark, *_propeller(blades, length * 0.5))
        parts += _undercarriage(dark, second, radius, wing_z + 0.05)
        features += ["a propeller", counted(blades, "blade")]
    if kind == "biplane":
        corners = [(x * half * 0.6, wing_z + z) for x in (-1, 1) for z in (-0.05, 0.05)]
        gap, middle = heights[-1] - heights[0], sum(heights) / 2
        parts.add(dark, *(box((0.012, gap, 0.012), (x, middle, z)) for x, z in corners))
        features.append("two pairs of wings")
    return Design(tuple(parts), paint, kind, tuple(features))


def _wing(span: float, root: float, tip: float, sweep: float, rise: float = 0.0) -> Solid:
    """A flat tapered wing from the root at x = 0 to x = span; the tip lies `sweep` behind and `rise` above it."""
    outline = np.array([(0.5, 0.0), (0.3, 0.06), (-0.1, 0.06), (-0.5, 0.0), (-0.1, -0.04), (0.3, -0.04)])
    rings = np.zeros((3, len(outline), 3))
    for ring, share in zip(rings, (0.0, 0.55, 1.0), strict=True):
        chord = root + share * (tip - root)
        ring[:, X] = share * span
        ring[:, Y] = outline[:, 1] * max(chord, 0.04) * 1.6 + share * rise
        ring[:, Z] = outline[:, 0] * chord - share * sweep
    return loft(rings)


def _jets(half: float, at: tuple[float, float], pairs: int) -> list[Solid]:
    """Engines under the wings, the first pair's height and z at the root given."""
    profile = [(0, -0.08), (0.024, -0.08), (0.036, 0.0), (0.036, 0.07), (0.026, 0.08), (0.0, 0.05)]
    engine = turned(lathe(profile, segments=14), 90, X)
    shares = (0.33, 0.62)[:pairs]
    return [moved(engine, (side * half * s, at[0], at[1] - 0.24 * s)) for side in (-1, 1) for s in shares]


def _propeller(blades: int, nose: float) -> list[Solid]:
    blade = box((0.03, 0.17, 0.012), (0, 0.1, nose + 0.01))
    hub = cushion((0.06, 0.06, 0.09), (0, 0, nose), roundness=1.0, detail=12)
    return [hub, *(turned(blade, 360 * k / blades + 20, Z) for k in range(blades))]


def _undercarriage(dark: Finish, metal: Finish, radius: float, z: float) -> list[Part]:
    parts = Parts()
    for side in (-1, 1):
        strut = box((0.012, 0.12, 0.02), (side * 0.07, -radius - 0.03, z))
        parts.add(dark, cylinder(0.045, 0.025, (side * 0.11, -radius - 0.09, z), axis=X))
        parts.add(metal, turned(strut, side * 25, Z, about=(side * 0.07, -radius, 0)))
    return parts


def rocket(rng: np.random.Generator) -> Design:
    """Return a slim rocket, a bellied one with windows, or a space rocket with boosters, standing on its fins."""
    kind = pick(rng, ("space", "toy", "model"))
    paint = finish(rng, ("metal", "metal", "plastic"), colour=pick(rng, _HULLS), patterned=0.0)
    second = finish(rng, ("metal", "plastic"), colour=pick(rng, _NOSES), patterned=0.0)
    dark = finish(rng, "metal", colour="black", patterned=0.0)
    low, high = {"space": (0.06, 0.085), "toy": (0.14, 0.18), "model": (0.04, 0.055)}[kind]
    radius, tall = rng.uniform(low, high), rng.uniform(0.9, 1.1)
    nose = tall * rng.uniform(0.2, 0.3)
    body = tall - nose
    belly = np.interp(np.linspace(0, 1, 6), [0, 0.5, 1], [0.72, 1.12, 1.0]) if kind == "toy" else np.ones(6)
    share = np.linspace(0, 1, 7)
    cone = np.stack([radius * (1 - share ** rng.uniform(1.2, 2.2)), body + nose * share], -1)
    inside, outside = radius * 0.8, radius * 1.13
    band = [(inside, body * 0.55), (outside, body * 0.55), (outside, body * 0.61), (inside, body * 0.61)]
    parts = Parts([(paint, lathe([(0, 0), *np.stack([belly * radius, np.linspace(0, body, 6)], -1), (0, body)]))])
    parts.add(second, lathe([(0, body), *cone]), lathe(band))
    parts.add(dark, lathe([(0, 0.02), (radius * 0.4, 0.02), (radius * 0.65, -0.07), (0, -0.07)]))
    fins = int(rng.integers(3, 5))
    parts.add(second, *_fins(rng, fins, radius))
    features = [counted(fins, "fin"), article(f"{second.colour} nose")]
    if kind == "space" and rng.random() < 0.7:
        boosters = pick(rng, (2, 4))
        parts.add(paint, *_boosters(boosters, radius, body * rng.uniform(0.45, 0.65)))
        features.append(counted(boosters, "booster"))
    if kind == "toy":
        windows = (0.45, 0.75)[: int(rng.integers(1, 3))]
        parts.add(dark, *(cylinder(radius * 0.36, 0.04, (0, body * y, radius * 1.05), axis=Z) for y in windows))
        features.append("a round window")
    return Design(tuple(parts), paint, kind, tuple(features))


_HULLS = ("white", "white", "grey", "red", "blue")
_NOSES = ("red", "black", "blue", "orange", "yellow")


def _fins(rng: np.random.Generator, count: int, radius: float) -> list[Solid]:
    reach, high, drop = rng.uniform(0.12, 0.2), rng.uniform(0.18, 0.3), rng.uniform(0.0, 0.12)
    tip = radius + reach
    outline = np.array([(radius * 0.6, 0.02), (tip, -drop), (tip, high * 0.35 - drop), (radius * 0.8, high)])
    rings = np.zeros((2, 4, 3))
    rings[..., :2] = outline
    rings[0, :, Z], rings[1, :, Z] = -0.012, 0.012
    fin = loft(rings)
    return [turned(fin, 360 * (k + 0.5) / count, Y) for k in range(count)]


def _boosters(count: int, radius: float, tall: float) -> list[Solid]:
    small = radius * 0.6
    stick = lathe([(0, 0), (small, 0), (small, tall), (small * 0.5, tall + 0.06), (0, tall + 0.1)], segments=14)
    aside = moved(stick, (radius + small * 0.95, 0, 0))
    return [turned(aside, 360 * k / count, Y) for k in range(count)]
