"""Families on wheels: car, nose to +z, and skateboard, along x."""

import numpy as np

from c2p.data.toy.design import Design, Part
from c2p.data.toy.finishes import Finish, finish, pick
from c2p.data.toy.solids import (
    Solid,
    X,
    Z,
    box,
    cylinder,
    loft,
    rounded_rectangle,
)


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
        middle = -length / 2 + 0.03 + bed_length / 2
        parts += [
            (paint, box((0.04, 0.16, bed_length), (s * (width / 2 - 0.05), waist + 0.06, middle))) for s in (-1, 1)
        ]
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
        narrow = width * max(1 - abs(s) ** _squareness(kind), 0.02) ** 0.5
        lift = 0.0 if flat_front and s > 0 else raised * max(0.0, (abs(s) - 0.62) / 0.38) ** 1.3
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


def _squareness(kind: str) -> float:
    """How square the ends are, as the exponent of the outline."""
    return {"": 7.0, "long": 3.0, "old": 9.0}[kind]
