"""Families of things about the house: guitar, lamp, bag. Their faces look to +z."""

from typing import NamedTuple

import numpy as np

from c2p.data.toy.design import Design, Part, Parts, article, counted
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
    front = thick / 2
    parts = Parts([(wood, prism(_guitar_outline(rng, kind) * np.array([width, tall]), thick))])
    parts.add(dark, box((width * 0.4, 0.03, 0.025), (0, tall * 0.22, front + 0.01)))
    if kind == "acoustic":
        hole = width * rng.uniform(0.12, 0.16)
        parts.add(dark, cylinder(hole, 0.008, (0, tall * 0.6, front + 0.002), axis=Z, segments=20))
        features = ["a sound hole"]
    else:
        ys = tall * np.linspace(0.36, 0.62, int(rng.integers(2, 4)))
        knobs = [(width * 0.3, tall * share, front + 0.01) for share in (0.16, 0.26)]
        parts.add(dark, *(box((width * 0.26, 0.035, 0.02), (0, y, front + 0.008)) for y in ys))
        parts.add(metal, *(cylinder(0.017, 0.025, at, axis=Z, segments=10) for at in knobs))
        features = [counted(len(ys), "pickup")]
    bottom = tall * (1.0 if kind == "acoustic" else 0.82)
    strings = 2 * int(rng.integers(2, 4))
    parts += _guitar_neck(rng, neck, metal, strings, (tall * 0.22, bottom), front)
    return Design(tuple(parts), wood, kind, (*features, counted(strings, "string"), "a long neck"))


def _guitar_outline(rng: np.random.Generator, kind: str) -> np.ndarray:
    """The body's outline (n, 2) for width and height 1: a waist between two bouts, or horns beside the neck."""
    waist, upper = rng.uniform(0.29, 0.36), rng.uniform(0.35, 0.42)
    if kind == "electric":
        horn = (0.4, rng.uniform(1.08, 1.2))
        half = smooth([(0, 0), (0.34, 0.0), (0.5, 0.2), (waist, 0.52), (0.46, 0.8), horn, (0.2, 0.88), (0, 0.82)], 29)
    else:
        half = smooth([(0, 0), (0.36, 0.03), (0.5, 0.24), (waist, 0.56), (upper, 0.8), (0.28, 0.97), (0, 1.0)], 25)
    return np.concatenate([half, half[-2:0:-1] * np.array([-1, 1])])


def _guitar_neck(
    rng: np.random.Generator, wood: Finish, metal: Finish, strings: int, heights: tuple[float, float], front: float
) -> list[Part]:
    """Neck, head and pegs above the body, and the strings; `heights` of the bridge and of the body's end."""
    bridge, start = heights
    length, width, head = rng.uniform(0.42, 0.52), rng.uniform(0.05, 0.065), rng.uniform(0.14, 0.18)
    low, top = start - 0.1, start + length
    parts = Parts([(wood, box((width, top - low, 0.03), (0, (low + top) / 2, front + 0.012)))])
    plate = box((width * 1.2, head, 0.025), (0, top + head / 2, front + 0.01), top=(1.4, 1))
    parts.add(wood, turned(plate, -12, X, about=(0, top, front)))
    pegs = strings // 2
    places = [(s * width * 0.85, y) for s in (-1, 1) for y in top + head * (np.arange(pegs) + 0.5) / pegs]
    parts.add(metal, *(cylinder(0.012, 0.04, (x, y, front - 0.01), axis=X, segments=8) for x, y in places))
    across = np.linspace(-0.4, 0.4, strings) * width
    size, middle = (0.0035, top - bridge, 0.0035), (top + bridge) / 2
    parts.add(metal, *(box(size, (x, middle, front + 0.032)) for x in across))
    return parts


def lamp(rng: np.random.Generator) -> Design:
    """Return a bedside lamp, a floor lamp, a hinged reading lamp or a hanging lamp."""
    kind = pick(rng, ("bedside", "floor", "reading", "hanging"))
    shade = finish(rng, ("fabric", "fabric", "metal", "glass"), patterned=0.25)
    stem = finish(rng, ("metal", "wooden", "ceramic"), patterned=0.0)
    bulb = finish(rng, "glass", colour="yellow", patterned=0.0)
    if kind == "reading":
        return Design(tuple(_hinged_lamp(rng, shade, stem, bulb)), shade, kind, ("a hinged arm", "a round base"))
    parts = Parts()
    wide, slope, high = rng.uniform(0.2, 0.3), rng.uniform(0.45, 0.95), rng.uniform(0.22, 0.34)
    tall = {"bedside": rng.uniform(0.4, 0.6), "floor": rng.uniform(1.2, 1.5), "hanging": rng.uniform(0.5, 0.9)}[kind]
    cone = [(wide, 0), (wide * slope, high), (wide * slope - 0.015, high), (wide - 0.02, 0)]
    if kind == "hanging" and rng.random() < 0.5:
        angle = np.linspace(0, np.pi / 2, 7)
        dome = np.stack([wide * np.cos(angle), high * np.sin(angle)], -1)
        cone = [*map(tuple, dome), (0, high - 0.02), *((0.93 * r, 0.93 * y) for r, y in dome[-2::-1])]
    low = 0.0 if kind == "hanging" else tall
    parts.add(shade, moved(lathe(np.array([*cone, cone[0]]), segments=24), (0, low, 0)))
    parts.add(bulb, cushion((0.1, 0.14, 0.1), (0, low + high * 0.4, 0), roundness=1.0, detail=12))
    features = [article(f"{shade.look} shade")]
    if kind == "hanging":
        parts.add(stem, cylinder(0.012, tall, (0, high + tall / 2 - 0.02, 0), segments=8))
        parts.add(stem, cylinder(0.08, 0.04, (0, high + tall - 0.02, 0)))
        features.append("a long cord")
        return Design(tuple(parts), shade, kind, tuple(features))
    parts.add(stem, _lamp_foot(rng, kind, tall, high))
    if kind == "floor" and rng.random() < 0.4:
        for angle in 2 * np.pi * (np.arange(3) + 0.25) / 3:
            tip = (0.26 * np.cos(angle), 0.0, 0.26 * np.sin(angle))
            parts.add(stem, tube(np.array([(0, tall * 0.55, 0), tip]), 0.018))
        features.append("three legs")
    else:
        features.append("a round base")
    return Design(tuple(parts), shade, kind, tuple(features))


def _lamp_foot(rng: np.random.Generator, kind: str, tall: float, high: float) -> Solid:
    foot, thin = rng.uniform(0.12, 0.18), rng.uniform(0.015, 0.03)
    top = tall + high * 0.3
    if kind == "bedside" and rng.random() < 0.6:
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


class _BagPlan(NamedTuple):
    """Ranges of a kind of bag; `closing` is the depth of its mouth as a share of its bottom's."""

    width: tuple[float, float]
    height: tuple[float, float]
    depth: float
    closing: float


_BAGS = {
    "hand": _BagPlan((0.5, 0.75), (0.34, 0.46), 0.22, 0.35),
    "shopping": _BagPlan((0.5, 0.75), (0.6, 0.75), 0.24, 0.8),
    "school": _BagPlan((0.42, 0.52), (0.62, 0.75), 0.26, 0.75),
}


def bag(rng: np.random.Generator) -> Design:
    """Return a handbag, a shopping bag with two handles or a school bag with pockets and straps."""
    kind = pick(rng, tuple(_BAGS))
    plan = _BAGS[kind]
    cover = finish(rng, ("leather", "leather", "fabric") if kind == "hand" else ("fabric", "plastic"), patterned=0.35)
    trim = finish(rng, ("leather", "fabric"), patterned=0.0)
    metal = finish(rng, "metal", patterned=0.0)
    width, height = rng.uniform(*plan.width), rng.uniform(*plan.height)
    depth = plan.depth * rng.uniform(0.85, 1.15)
    taper = rng.uniform(0.72, 1.0) if kind == "hand" else 1.0
    rings = []
    for share, shrink in ((0.0, 0.94), (0.06, 1.0), (0.5, 1.0), (0.85, 1.0), (1.0, 0.8 if kind == "school" else 1.0)):
        across, deep = width * (1 + (taper - 1) * share), depth * (1 + (plan.closing - 1) * share**1.5)
        outline = rounded_rectangle(across * shrink, deep * shrink, roundness=0.25)
        rings.append(np.stack([outline[:, 0], np.full(24, share * height), outline[:, 1]], -1))
    parts = Parts([(cover, loft(np.stack(rings)))])
    if kind == "school":
        parts.add(trim, *_backpack_trim(width, height, depth))
        return Design(tuple(parts), cover, kind, ("two straps", "a front pocket"))
    rise, spread = rng.uniform(0.2, 0.36), width * taper * rng.uniform(0.2, 0.3)
    thick = rng.uniform(0.014, 0.024)
    parts.add(trim, *(_handle(spread, height, rise, s * depth * plan.closing * 0.45, thick) for s in (-1, 1)))
    features = ["two handles", f"{trim.colour} handles"]
    if kind == "hand" and rng.random() < 0.6:
        flap = (width * taper * 0.85, height * 0.45, 0.03)
        parts.add(cover, cushion(flap, (0, height * 0.75, depth * 0.42), roundness=0.3))
        parts.add(metal, cylinder(0.03, 0.03, (0, height * 0.6, depth * 0.5), axis=Z, segments=12))
        features.append("a metal clasp")
    return Design(tuple(parts), cover, kind, tuple(features))


def _handle(spread: float, height: float, rise: float, z: float, thick: float) -> Solid:
    """An arch from the bag's side up over its mouth and down again."""
    low, middle = height * 0.85, height + rise * 0.5
    arch = [(-spread, low, z), (-spread, middle, z), (0, height + rise, z), (spread, middle, z), (spread, low, z)]
    return tube(smooth(arch, 16), thick)


def _backpack_trim(width: float, height: float, depth: float) -> list[Solid]:
    """A front pocket, a loop at the top and two straps down the back."""
    pocket = cushion((width * 0.75, height * 0.4, 0.14), (0, height * 0.28, depth * 0.5), roundness=0.3)
    strap = np.array([(0, 0.93, -0.38), (0, 0.75, -0.85), (0, 0.35, -0.8), (0, 0.08, -0.45)]) * (0, height, depth)
    strap[:, X] = width * 0.28
    straps = [tube(smooth(strap * (side, 1, 1), 12), 0.03, sides=6) for side in (-1, 1)]
    return [pocket, _handle(0.055, height, 0.1, 0.0, 0.018), *straps]
