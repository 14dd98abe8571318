"""Families that fly: airplane, nose to +z, and rocket, nose to +y."""

import numpy as np

from c2p.data.toy.design import Design, Part, counted
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


def airplane(rng: np.random.Generator) -> Design:
    """Return an airliner with jet engines, a propeller plane, a biplane or a delta-winged fighter."""
    kind = pick(rng, ("passenger", "passenger", "propeller", "biplane", "fighter"))
    paint = finish(rng, ("metal", "metal", "plastic"), patterned=0.0)
    second = finish(rng, ("metal", "plastic"), patterned=0.0)
    glass = finish(rng, "glass", colour="blue", patterned=0.0)
    radius = rng.uniform(0.055, 0.075) if kind in ("passenger", "fighter") else rng.uniform(0.07, 0.09)
    length = rng.uniform(0.95, 1.2) if kind != "biplane" else rng.uniform(0.7, 0.85)
    stations = np.array([0.0, 0.04, 0.12, 0.22, 0.65, 0.85, 1.0])
    widths = np.array([0.0, 0.45, 0.82, 1.0, 1.0, 0.6, 0.12])
    if kind == "fighter":
        widths = np.array([0.0, 0.2, 0.5, 0.85, 1.0, 1.0, 0.85])
    body = lathe(np.stack([widths * radius, length * (0.5 - stations)], -1), segments=20)
    parts: list[Part] = [(paint, turned(body, 90, X))]
    parts.append(
        (glass, cushion((radius * 1.3, radius * 1.1, length * 0.12), (0, radius * 0.75, length * 0.3), roundness=0.8))
    )
    half = {"passenger": 0.58, "propeller": 0.6, "biplane": 0.5, "fighter": 0.36}[kind] * rng.uniform(0.88, 1.12)
    root = {"passenger": 0.22, "propeller": 0.17, "biplane": 0.17, "fighter": 0.5}[kind] * rng.uniform(0.9, 1.1)
    sweep = {"passenger": 0.26, "propeller": 0.02, "biplane": 0.0, "fighter": 0.34}[kind] * rng.uniform(0.8, 1.2)
    tip = root * {"passenger": 0.35, "propeller": 0.65, "biplane": 0.95, "fighter": 0.15}[kind]
    heights = (-radius * 0.7, radius * 2.4) if kind == "biplane" else (pick(rng, (-0.5, 0.6)) * radius,)
    wing_z = length * (0.12 if kind != "fighter" else 0.02)
    for side in (-1, 1):
        for y in heights:
            parts.append(
                (
                    second,
                    _wing(side * half, root, tip, sweep, 0.03 * half if kind == "passenger" else 0.0, (0, y, wing_z)),
                )
            )
        span = half * (0.38 if kind != "fighter" else 0.55)
        parts.append(
            (second, _wing(side * span, root * 0.5, tip * 0.6, sweep * 0.45, 0.0, (0, radius * 0.3, -length * 0.4)))
        )
    fins = (-0.6, 0.6) if kind == "fighter" and rng.random() < 0.5 else (0.0,)
    for x in fins:
        fin = _wing(0.2 * rng.uniform(0.85, 1.15), root * 0.55, tip * 0.7, 0.14, 0.0, (0, 0, 0))
        parts.append((second, moved(turned(fin, 90, Z), (x * radius, radius * 0.4, -length * 0.38))))
    features = [counted(len(fins), "tail fin")]
    parts += _engines(rng, kind, paint, second, radius, length, half, wing_z, heights, features)
    return Design(tuple(parts), paint, kind, tuple(features))


def _wing(span: float, root: float, tip: float, sweep: float, dihedral: float, at: tuple[float, float, float]) -> Solid:
    """A flat tapered wing from the root at x = 0 to x = span; the tip lies `sweep` behind and `dihedral` above it."""
    outline = np.array([(0.5, 0.0), (0.3, 0.06), (-0.1, 0.06), (-0.5, 0.0), (-0.1, -0.04), (0.3, -0.04)])
    rings = []
    for share, chord in ((0.0, root), (0.55, root + 0.55 * (tip - root)), (1.0, tip)):
        ring = np.zeros((len(outline), 3))
        ring[:, X] = share * span
        ring[:, Y] = outline[:, 1] * max(chord, 0.04) * 1.6 + share * dihedral
        ring[:, Z] = outline[:, 0] * chord - share * sweep
        rings.append(ring)
    return moved(loft(np.stack(rings)), at)


def _engines(
    rng: np.random.Generator,
    kind: str,
    paint: Finish,
    second: Finish,
    radius: float,
    length: float,
    half: float,
    wing_z: float,
    heights: tuple[float, ...],
    features: list[str],
) -> list[Part]:
    dark = finish(rng, "metal", colour="black", patterned=0.0)
    if kind == "passenger":
        pairs = int(rng.integers(1, 3))
        nacelle = [(0, -0.08), (0.024, -0.08), (0.036, 0.0), (0.036, 0.07), (0.026, 0.08), (0.0, 0.05)]
        features.append(counted(2 * pairs, "engine"))
        return [
            (
                paint,
                moved(
                    turned(lathe(nacelle, segments=14), 90, X),
                    (side * half * share, heights[0] - 0.045, wing_z - 0.24 * share + 0.06),
                ),
            )
            for side in (-1, 1)
            for share in (0.33, 0.62)[:pairs]
        ]
    if kind == "fighter":
        features.append("swept wings")
        nozzle = cylinder(radius * 0.7, 0.08, (0, 0, -length * 0.52), axis=Z)
        missiles: list[Part] = [
            (dark, cushion((0.03, 0.03, 0.3), (s * half * 0.6, heights[0] - 0.03, -0.1), roundness=0.8, detail=10))
            for s in (-1, 1)
        ]
        return [(dark, nozzle), *missiles]
    blades = int(rng.integers(2, 5))
    nose = length * 0.5
    parts: list[Part] = [(dark, cushion((0.06, 0.06, 0.09), (0, 0, nose), roundness=1.0, detail=12))]
    for k in range(blades):
        blade = box((0.03, 0.17, 0.012), (0, 0.1, nose + 0.01))
        parts.append((dark, turned(blade, 360 * k / blades + 20, Z)))
    for side in (-1, 1):
        parts.append((dark, cylinder(0.045, 0.025, (side * 0.11, -radius - 0.09, wing_z + 0.05), axis=X)))
        parts.append(
            (
                second,
                turned(
                    box((0.012, 0.12, 0.02), (side * 0.07, -radius - 0.03, wing_z + 0.05)),
                    side * 25,
                    Z,
                    about=(side * 0.07, -radius, 0),
                ),
            )
        )
    if len(heights) == 2:
        for x in (-half * 0.6, half * 0.6):
            for z in (wing_z - 0.05, wing_z + 0.05):
                parts.append((dark, box((0.012, heights[1] - heights[0], 0.012), (x, sum(heights) / 2, z))))
        features.append("two pairs of wings")
    features += ["a propeller", counted(blades, "blade")]
    return parts


def rocket(rng: np.random.Generator) -> Design:
    """Return a rocket standing on its fins or nozzles, perhaps with boosters or a stepped body."""
    paint = finish(
        rng, ("metal", "metal", "plastic"), colour=pick(rng, ("white", "white", "grey", "red", "blue")), patterned=0.0
    )
    second = finish(
        rng, ("metal", "plastic"), colour=pick(rng, ("red", "black", "blue", "orange", "yellow")), patterned=0.0
    )
    dark = finish(rng, "metal", colour="black", patterned=0.0)
    kind = pick(rng, ("space", "toy", "model"))
    radius = {"space": rng.uniform(0.06, 0.085), "toy": rng.uniform(0.14, 0.18), "model": rng.uniform(0.04, 0.055)}[
        kind
    ]
    tall = rng.uniform(0.9, 1.1)
    nose = tall * rng.uniform(0.2, 0.3)
    body = tall - nose
    belly = np.interp(np.linspace(0, 1, 6), [0, 0.5, 1], [0.72, 1.12, 1.0]) if kind == "toy" else np.ones(6)
    profile = [(0, 0), *np.stack([belly * radius, np.linspace(0, body, 6)], -1)]
    parts: list[Part] = [(paint, lathe([*profile, (0, body)], segments=24))]
    share = np.linspace(0, 1, 7)
    cone = np.stack([radius * (1 - share ** rng.uniform(1.2, 2.2)), body + nose * share], -1)
    parts.append((second, lathe([(0, body), *cone], segments=24)))
    parts.append(
        (
            second,
            lathe(
                [
                    (radius * 0.8, body * 0.55),
                    (radius * 1.13, body * 0.55),
                    (radius * 1.13, body * 0.61),
                    (radius * 0.8, body * 0.61),
                ],
                segments=24,
            ),
        )
    )
    nozzle = [(0, 0.02), (radius * 0.4, 0.02), (radius * 0.65, -0.07), (0, -0.07)]
    parts.append((dark, lathe(nozzle)))
    fins = int(rng.integers(3, 5))
    reach, high = rng.uniform(0.12, 0.2), rng.uniform(0.18, 0.3)
    drop = rng.uniform(0.0, 0.12)
    outline = np.array(
        [(radius * 0.6, 0.02), (radius + reach, -drop), (radius + reach, high * 0.35 - drop), (radius * 0.8, high)]
    )
    for k in range(fins):
        rings = np.zeros((2, 4, 3))
        rings[..., :2] = outline
        rings[0, :, 2], rings[1, :, 2] = -0.012, 0.012
        parts.append((second, turned(loft(rings), 360 * (k + 0.5) / fins, Y)))
    features = [counted(fins, "fin"), f"{second.colour} nose"]
    if kind == "space" and rng.random() < 0.7:
        boosters = int(pick(rng, (2, 4)))
        for k in range(boosters):
            small, length = radius * 0.6, body * rng.uniform(0.45, 0.65)
            stick = lathe(
                [(0, 0), (small, 0), (small, length), (small * 0.5, length + 0.06), (0, length + 0.1)], segments=14
            )
            angle = 2 * np.pi * k / boosters
            away = radius + small * 0.95
            parts.append((paint, moved(stick, (away * np.cos(angle), 0, away * np.sin(angle)))))
        features.append(counted(boosters, "booster"))
    if kind == "toy":
        for y in (0.45, 0.75)[: int(rng.integers(1, 3))]:
            parts.append((dark, cylinder(radius * 0.36, 0.04, (0, body * y, radius * 1.05), axis=Z)))
        features.append("a round window")
    return Design(tuple(parts), paint, kind, tuple(features))
