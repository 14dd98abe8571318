"""Families that move: airplane, car, rocket, skateboard. Noses look to +z, the rocket's to +y."""

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
    rounded_rectangle,
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


def car(rng: np.random.Generator) -> Design:
    """Return a sedan, a hatchback, a van, a pick-up truck or a sports car on four wheels."""
    kind = pick(rng, ("family", "small", "van", "pickup", "sports"))
    paint = finish(
        rng,
        "metal",
        colour=pick(rng, ("red", "blue", "green", "white", "black", "grey", "yellow", "orange")),
        patterned=0.0,
    )
    glass = finish(rng, "glass", colour="blue", patterned=0.0)
    dark = finish(rng, "plastic", colour="black", patterned=0.0)
    chrome = finish(rng, "metal", colour="grey", patterned=0.0)
    light = finish(rng, "glass", colour="yellow", patterned=0.0)
    length = {"family": 1.9, "small": 1.5, "van": 1.9, "pickup": 2.1, "sports": 1.9}[kind] * rng.uniform(0.94, 1.06)
    width = rng.uniform(0.72, 0.82)
    wheel = rng.uniform(0.15, 0.18) * (1.15 if kind == "pickup" else 1.0)
    floor = wheel * 0.75
    waist = floor + {"family": 0.3, "small": 0.32, "van": 0.42, "pickup": 0.36, "sports": 0.24}[kind] * rng.uniform(
        0.95, 1.1
    )
    roof = waist + {"family": 0.26, "small": 0.3, "van": 0.36, "pickup": 0.3, "sports": 0.18}[kind] * rng.uniform(
        0.95, 1.1
    )
    front, back = {
        "family": (0.16, -0.36),
        "small": (0.2, -0.47),
        "van": (0.36, -0.48),
        "pickup": (0.2, -0.08),
        "sports": (0.1, -0.34),
    }[kind]
    parts: list[Part] = [(paint, _car_body(length, width, floor, waist, nose=0.62 if kind != "van" else 0.85))]
    lean_front, lean_back = (0.16, 0.12) if kind != "van" else (0.1, 0.02)
    levels = np.array([waist - 0.05, waist, roof - 0.03, roof])
    insets = np.array([0.0, 0.0, 1.0, 1.15])
    for part, which in ((glass, slice(1, 3)), (paint, slice(2, 4))):
        rings = [
            _cabin_ring(
                width * (0.9 - 0.12 * inset), length * front - lean_front * inset, length * back + lean_back * inset, y
            )
            for y, inset in zip(levels[which], insets[which], strict=True)
        ]
        parts.append((part, loft(np.stack(rings))))
    for z in (front - 0.03 * 0, (front + back) / 2, back):
        del z
    parts += _wheels(dark, chrome, length, width, wheel)
    for side in (-1, 1):
        parts.append(
            (
                light,
                cylinder(
                    0.05,
                    0.03,
                    (side * width * 0.33, floor + (waist - floor) * 0.5, length * 0.495),
                    axis=Z,
                    segments=12,
                ),
            )
        )
    for z in (-1, 1):
        parts.append(
            (
                dark if kind != "family" else chrome,
                box((width * 0.92, 0.07, 0.06), (0, floor + 0.04, z * length * 0.495)),
            )
        )
    features = ["four wheels", "glass windows"]
    if kind == "pickup":
        bed_length = length * (0.5 + back) - 0.06
        z = -length / 2 + 0.03 + bed_length / 2
        parts += [(paint, box((0.04, 0.16, bed_length), (s * (width / 2 - 0.05), waist + 0.06, z))) for s in (-1, 1)]
        parts.append((paint, box((width - 0.08, 0.16, 0.04), (0, waist + 0.06, -length / 2 + 0.05))))
        features.append("an open bed")
    if kind == "sports":
        parts += [(dark, box((0.03, 0.1, 0.05), (s * width * 0.32, waist + 0.04, -length * 0.44))) for s in (-1, 1)]
        parts.append((dark, box((width * 0.9, 0.025, 0.14), (0, waist + 0.09, -length * 0.45))))
        features.append("a spoiler")
    return Design(tuple(parts), paint, kind, tuple(features))


def _car_body(length: float, width: float, floor: float, waist: float, *, nose: float) -> Solid:
    """Cross sections along z: lower and narrower at both ends."""
    rings = []
    stations = (
        (-0.5, 0.84, 0.78),
        (-0.46, 0.96, 0.92),
        (-0.2, 1.0, 1.0),
        (0.18, 1.0, 1.0),
        (0.44, 0.95, (1 + nose) / 2),
        (0.5, 0.82, nose),
    )
    for share, across, up in stations:
        high = (waist - floor) * up
        outline = rounded_rectangle(width * across, high, roundness=0.25, count=24)
        rings.append(np.stack([outline[:, 0], outline[:, 1] + floor + high / 2, np.full(24, share * length)], -1))
    return loft(np.stack(rings))


def _cabin_ring(width: float, front: float, back: float, y: float) -> np.ndarray:
    outline = rounded_rectangle(width, front - back, roundness=0.15, count=24)
    return np.stack([outline[:, 0], np.full(24, y), outline[:, 1] + (front + back) / 2], -1)


def _wheels(dark: Finish, chrome: Finish, length: float, width: float, radius: float) -> list[Part]:
    parts: list[Part] = []
    for side in (-1, 1):
        for z in (-0.31 * length, 0.32 * length):
            parts.append((dark, cylinder(radius, 0.14, (side * (width / 2 - 0.05), radius, z), axis=X, segments=22)))
            parts.append(
                (chrome, cylinder(radius * 0.55, 0.02, (side * (width / 2 + 0.025), radius, z), axis=X, segments=14))
            )
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


def skateboard(rng: np.random.Generator) -> Design:
    """Return a board along x with raised ends or a flat long one, on two trucks and four wheels."""
    kind = pick(rng, ("", "", "long", "old"))
    deck = finish(rng, ("wooden", "wooden", "plastic"), patterned=0.6)
    metal = finish(rng, "metal", patterned=0.0)
    rubber = finish(rng, "plastic", patterned=0.0)
    length, width = {"": (0.85, 0.22), "long": (1.15, 0.25), "old": (0.72, 0.26)}[kind]
    length, width = length * rng.uniform(0.95, 1.05), width * rng.uniform(0.9, 1.1)
    raised = 0.0 if kind == "long" else rng.uniform(0.05, 0.1)
    flat_front = kind == "old"
    thick, wheel = rng.uniform(0.015, 0.025), rng.uniform(0.032, 0.05)
    height = 2 * wheel + 0.05
    share = np.linspace(-1, 1, 17)
    rings = []
    for s in share:
        narrow = width * max(1 - abs(s) ** rng_power(kind), 0.02) ** 0.5
        lift = raised * max(0.0, (abs(s) - 0.62) / 0.38) ** 1.3 * (0 if flat_front and s > 0 else 1)
        outline = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * np.array([thick, narrow]) / 2
        rings.append(np.stack([np.full(4, s * length / 2), outline[:, 0] + height + lift, outline[:, 1]], -1))
    parts: list[Part] = [(deck, loft(np.stack(rings)))]
    for x in (-0.3 * length, 0.3 * length):
        parts.append((metal, box((0.09, 0.04, 0.07), (x, height - 0.025, 0), top=0.8)))
        parts.append((metal, cylinder(0.014, width * 0.9, (x, wheel, 0), axis=Z, segments=8)))
        parts.append((metal, box((0.03, height - wheel, 0.04), (x, (height + wheel) / 2, 0))))
        for z in (-1, 1):
            parts.append((rubber, cylinder(wheel, 0.045, (x, wheel, z * width * 0.42), axis=Z, segments=16)))
    return Design(
        tuple(parts),
        deck,
        kind,
        (f"{rubber.colour} wheels", "four wheels", "a curved deck" if raised else "a flat deck"),
    )


def rng_power(kind: str) -> float:
    """How square the ends are, as the exponent of the outline."""
    return {"": 7.0, "long": 3.0, "old": 9.0}[kind]
