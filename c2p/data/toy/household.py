"""Families of things about the house: guitar, lamp, bag. Their faces look to +z."""

import numpy as np

from c2p.data.toy.design import Design, Part, counted
from c2p.data.toy.finishes import Finish, finish, pick
from c2p.data.toy.solids import (
    Solid,
    X,
    Z,
    box,
    cushion,
    cylinder,
    lathe,
    loft,
    moved,
    prism,
    rounded_rectangle,
    smooth,
    tube,
    turned,
)


def guitar(rng: np.random.Generator) -> Design:
    """Return a guitar standing upright, strings to the front: acoustic with a sound hole, or electric with horns."""
    kind = pick(rng, ("acoustic", "acoustic", "electric"))
    wood = finish(rng, "wooden" if kind == "acoustic" else ("wooden", "metal", "plastic"), patterned=0.0)
    neck = finish(rng, "wooden", colour=pick(rng, ("brown", "black", "beige")), patterned=0.0)
    dark = finish(rng, "plastic", colour="black", patterned=0.0)
    metal = finish(rng, "metal", colour="grey", patterned=0.0)
    width, tall = rng.uniform(0.36, 0.46), rng.uniform(0.46, 0.56)
    thick = rng.uniform(0.09, 0.14) if kind == "acoustic" else rng.uniform(0.04, 0.06)
    waist, upper = rng.uniform(0.58, 0.72), rng.uniform(0.7, 0.85)
    half = smooth(
        [(0, 0), (0.36, 0.03), (0.5, 0.24), (0.5 * waist, 0.56), (0.5 * upper, 0.8), (0.28, 0.97), (0, 1.0)], 25
    )
    if kind == "electric":
        horn = rng.uniform(1.08, 1.2)
        half = smooth(
            [(0, 0), (0.34, 0.0), (0.5, 0.2), (0.5 * waist, 0.52), (0.46, 0.8), (0.4, horn), (0.2, 0.88), (0, 0.82)], 29
        )
    outline = np.concatenate([half, half[-2:0:-1] * np.array([-1, 1])]) * np.array([width, tall])
    body_top = outline[:, 1].max() if kind == "acoustic" else 0.82 * tall
    neck_length, neck_width = rng.uniform(0.42, 0.52), rng.uniform(0.05, 0.065)
    front = thick / 2
    head = rng.uniform(0.14, 0.18)
    top = body_top + neck_length
    parts: list[Part] = [
        (wood, prism(outline, thick)),
        (
            neck,
            box(
                (neck_width, neck_length + tall * 0.2, 0.03),
                (0, body_top + neck_length / 2 - tall * 0.1, front + 0.012),
            ),
        ),
        (
            neck,
            turned(
                box((neck_width * 1.2, head, 0.025), (0, top + head / 2, front + 0.01), top=(1.4, 1)),
                -12,
                X,
                about=(0, top, front),
            ),
        ),
        (dark, box((width * 0.4, 0.03, 0.025), (0, tall * 0.22, front + 0.01))),
    ]
    if kind == "acoustic":
        hole = width * rng.uniform(0.12, 0.16)
        parts.append((dark, cylinder(hole, 0.008, (0, tall * 0.6, front + 0.002), axis=Z, segments=20)))
        features = ["a sound hole"]
    else:
        ys = tall * np.linspace(0.36, 0.62, int(rng.integers(2, 4)))
        parts += [(dark, box((width * 0.26, 0.035, 0.02), (0, y, front + 0.008))) for y in ys]
        parts += [
            (metal, cylinder(0.017, 0.025, (width * 0.3, tall * y, front + 0.01), axis=Z, segments=10))
            for y in (0.16, 0.26)
        ]
        features = [counted(len(ys), "pickup")]
    pegs = int(rng.integers(2, 4))
    for side in (-1, 1):
        for y in top + head * (np.arange(pegs) + 0.5) / pegs:
            parts.append(
                (metal, cylinder(0.012, 0.04, (side * neck_width * 0.85, y, front - 0.01), axis=X, segments=8))
            )
    strings = 2 * pegs
    for x in np.linspace(-0.4, 0.4, strings) * neck_width:
        parts.append((metal, box((0.0035, top - tall * 0.22, 0.0035), (x, (top + tall * 0.22) / 2, front + 0.032))))
    features += [counted(strings, "string"), "a long neck"]
    return Design(tuple(parts), wood, kind, tuple(features))


def lamp(rng: np.random.Generator) -> Design:
    """Return a table lamp, a floor lamp, a hinged desk lamp or a hanging lamp."""
    kind = pick(rng, ("table", "floor", "desk", "hanging"))
    shade = finish(rng, ("fabric", "fabric", "metal", "glass"), patterned=0.25)
    stem = finish(rng, ("metal", "wooden", "ceramic"), patterned=0.0)
    bulb = finish(rng, "glass", colour="yellow", patterned=0.0)
    parts: list[Part] = []
    if kind == "desk":
        parts, features = _hinged_lamp(rng, shade, stem, bulb), ["a hinged arm", "a round base"]
        return Design(tuple(parts), shade, kind, tuple(features))
    wide, slope, high = rng.uniform(0.2, 0.3), rng.uniform(0.45, 0.95), rng.uniform(0.22, 0.34)
    tall = {"table": rng.uniform(0.4, 0.6), "floor": rng.uniform(1.2, 1.5), "hanging": rng.uniform(0.5, 0.9)}[kind]
    cone = [(wide, 0), (wide * slope, high), (wide * slope - 0.015, high), (wide - 0.02, 0)]
    if kind == "hanging" and rng.random() < 0.5:
        angle = np.linspace(0, np.pi / 2, 7)
        dome = np.stack([wide * np.cos(angle), high * np.sin(angle)], -1)
        cone = [*map(tuple, dome), (0, high - 0.02), *((0.93 * r, 0.93 * y) for r, y in dome[-2::-1])]
    low = 0.0 if kind == "hanging" else tall
    parts.append((shade, moved(lathe(np.array([*cone, cone[0]]), segments=24), (0, low, 0))))
    parts.append((bulb, cushion((0.1, 0.14, 0.1), (0, low + high * 0.4, 0), roundness=1.0, detail=12)))
    features = [f"{shade.look} shade"]
    if kind == "hanging":
        parts.append((stem, cylinder(0.012, tall, (0, high + tall / 2 - 0.02, 0), segments=8)))
        parts.append((stem, cylinder(0.08, 0.04, (0, high + tall - 0.02, 0))))
        features.append("a long cord")
        return Design(tuple(parts), shade, kind, tuple(features))
    parts.append((stem, _lamp_foot(rng, kind, tall, high)))
    if kind == "floor" and rng.random() < 0.4:
        for angle in 2 * np.pi * (np.arange(3) + 0.25) / 3:
            tip = (0.26 * np.cos(angle), 0.0, 0.26 * np.sin(angle))
            parts.append((stem, tube(np.array([(0, tall * 0.55, 0), tip]), 0.018)))
        features.append("three legs")
    else:
        features.append("a round base")
    return Design(tuple(parts), shade, kind, tuple(features))


def _lamp_foot(rng: np.random.Generator, kind: str, tall: float, high: float) -> Solid:
    foot, thin = rng.uniform(0.12, 0.18), rng.uniform(0.015, 0.03)
    top = tall + high * 0.3
    if kind == "table" and rng.random() < 0.6:
        belly = rng.uniform(0.09, 0.15)
        curve = smooth([(foot * 0.7, 0.03), (belly, tall * 0.35), (thin * 1.5, tall * 0.8), (thin, top)], 12)
        return lathe([(0, 0), (foot * 0.8, 0), *curve, (0, top)])
    return lathe([(0, 0), (foot, 0), (foot, 0.025), (thin, 0.05), (thin, top), (0, top)])


def _hinged_lamp(rng: np.random.Generator, shade: Finish, stem: Finish, bulb: Finish) -> list[Part]:
    """A lamp of two arms that bend in the (x, y) plane, its shade looking down to the right."""
    first, second = rng.uniform(0.35, 0.5), rng.uniform(0.35, 0.5)
    lean, bend = np.deg2rad(rng.uniform(100, 125)), np.deg2rad(rng.uniform(20, 50))
    elbow = np.array([first * np.cos(lean), 0.04 + first * np.sin(lean), 0])
    tip = elbow + second * np.array([np.cos(bend), np.sin(bend), 0])
    wide, high = rng.uniform(0.13, 0.19), rng.uniform(0.16, 0.22)
    hood = np.array(
        [
            (wide, -high),
            (wide * 0.35, -0.02),
            (wide * 0.2, 0.05),
            (0, 0.05),
            (0, 0.03),
            (wide * 0.3, -0.03),
            (wide * 0.93, -high),
        ]
    )
    tilt = rng.uniform(10, 45)
    return [
        (stem, cylinder(rng.uniform(0.13, 0.18), 0.04, (0, 0.02, 0), segments=24)),
        (stem, tube(np.array([(0, 0.03, 0), elbow]), 0.018)),
        (stem, tube(np.array([elbow, tip]), 0.018)),
        (stem, cushion((0.06, 0.06, 0.06), elbow, roundness=1.0, detail=10)),
        (shade, moved(turned(lathe(hood), tilt, Z), tip)),
        (bulb, moved(turned(cushion((0.09, 0.11, 0.09), (0, -high * 0.6, 0), roundness=1.0, detail=10), tilt, Z), tip)),
    ]


def bag(rng: np.random.Generator) -> Design:
    """Return a handbag, a shopping bag with two handles or a backpack with pockets and straps."""
    kind = pick(rng, ("hand", "shopping", "back"))
    cover = finish(rng, ("leather", "leather", "fabric") if kind == "hand" else ("fabric", "plastic"), patterned=0.35)
    trim = finish(rng, ("leather", "fabric"), patterned=0.0)
    metal = finish(rng, "metal", patterned=0.0)
    width = rng.uniform(0.5, 0.75) if kind != "back" else rng.uniform(0.42, 0.52)
    height = {"hand": rng.uniform(0.34, 0.46), "shopping": rng.uniform(0.6, 0.75), "back": rng.uniform(0.62, 0.75)}[
        kind
    ]
    depth = {"hand": 0.22, "shopping": 0.24, "back": 0.26}[kind] * rng.uniform(0.85, 1.15)
    taper = rng.uniform(0.72, 1.0) if kind == "hand" else 1.0
    closing = {"hand": 0.35, "shopping": 0.8, "back": 0.75}[kind]
    shares = np.array([0.0, 0.06, 0.5, 0.85, 1.0])
    rings = []
    for share in shares:
        outline = rounded_rectangle(
            width * (1 + (taper - 1) * share), depth * (1 + (closing - 1) * share**1.5), roundness=0.25
        )
        shrink = 0.94 if share == 0 else (0.8 if kind == "back" and share == 1 else 1.0)
        rings.append(np.stack([outline[:, 0] * shrink, np.full(24, share * height), outline[:, 1] * shrink], -1))
    parts: list[Part] = [(cover, loft(np.stack(rings)))]
    features: list[str] = []
    if kind == "back":
        parts.append(
            (trim, cushion((width * 0.75, height * 0.4, 0.14), (0, height * 0.28, depth * 0.5), roundness=0.3))
        )
        parts.append(
            (
                trim,
                tube(
                    smooth(
                        [
                            (-0.06, height * 0.97, 0),
                            (-0.05, height + 0.08, 0),
                            (0.05, height + 0.08, 0),
                            (0.06, height * 0.97, 0),
                        ],
                        10,
                    ),
                    0.018,
                ),
            )
        )
        for side in (-1, 1):
            x = side * width * 0.28
            strap = [
                (x, height * 0.93, -depth * 0.38),
                (x, height * 0.75, -depth * 0.85),
                (x, height * 0.35, -depth * 0.8),
                (x, height * 0.08, -depth * 0.45),
            ]
            parts.append((trim, tube(smooth(strap, 12), 0.03, sides=6)))
        features += ["two straps", "a front pocket"]
        return Design(tuple(parts), cover, "back", tuple(features))
    rise, spread = rng.uniform(0.2, 0.36), width * taper * rng.uniform(0.2, 0.3)
    gap = depth * closing * 0.45
    for z in (-gap, gap):
        path = [
            (-spread, height * 0.85, z),
            (-spread, height + rise * 0.5, z),
            (0, height + rise, z),
            (spread, height + rise * 0.5, z),
            (spread, height * 0.85, z),
        ]
        parts.append((trim, tube(smooth(path, 16), rng.uniform(0.014, 0.024))))
    features += ["two handles", f"{trim.colour} handles"]
    if kind == "hand" and rng.random() < 0.6:
        flap = cushion((width * taper * 0.85, height * 0.45, 0.03), (0, height * 0.75, depth * 0.42), roundness=0.3)
        parts.append((cover, flap))
        parts.append((metal, cylinder(0.03, 0.03, (0, height * 0.6, depth * 0.5), axis=Z, segments=12)))
        features.append("a metal clasp")
    return Design(tuple(parts), cover, kind, tuple(features))
