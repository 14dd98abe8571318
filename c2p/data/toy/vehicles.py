"""Families on wheels: car, nose to +z, and skateboard, along x."""

from typing import NamedTuple

import numpy as np

from c2p.data.toy.design import Design, Part, Parts
from c2p.data.toy.finishes import Finish, finish, pick
from c2p.data.toy.solids import (
    Solid,
    X,
    Y,
    Z,
    box,
    cylinder,
    loft,
    rounded_rectangle,
)


class _CarPlan(NamedTuple):
    """Lengths of a kind of car; the cabin's ends are shares of the car's length."""

    length: float
    waist: float
    roof: float
    front: float
    back: float
    nose: float = 0.62
    lean: tuple[float, float] = (0.16, 0.12)


_CARS = {
    "family": _CarPlan(1.9, 0.3, 0.26, 0.16, -0.36),
    "small": _CarPlan(1.5, 0.32, 0.3, 0.2, -0.47),
    "van": _CarPlan(1.9, 0.42, 0.36, 0.36, -0.48, 0.85, (0.1, 0.02)),
    "pickup": _CarPlan(2.1, 0.36, 0.3, 0.2, -0.08),
    "sports": _CarPlan(1.9, 0.24, 0.18, 0.1, -0.34),
}
_PAINTS = ("red", "blue", "green", "white", "black", "grey", "yellow", "orange")


def car(rng: np.random.Generator) -> Design:
    """Return a sedan, a hatchback, a van, a pick-up truck or a sports car on four wheels."""
    kind = pick(rng, tuple(_CARS))
    plan = _CARS[kind]
    paint = finish(rng, "metal", colour=pick(rng, _PAINTS), patterned=0.0)
    glass = finish(rng, "glass", colour="blue", patterned=0.0)
    dark = finish(rng, "plastic", colour="black", patterned=0.0)
    chrome = finish(rng, "metal", colour="grey", patterned=0.0)
    light = finish(rng, "glass", colour="yellow", patterned=0.0)
    length, width = plan.length * rng.uniform(0.94, 1.06), rng.uniform(0.72, 0.82)
    wheel = rng.uniform(0.15, 0.18) * (1.15 if kind == "pickup" else 1.0)
    floor = wheel * 0.75
    waist = floor + plan.waist * rng.uniform(0.95, 1.1)
    roof = waist + plan.roof * rng.uniform(0.95, 1.1)
    parts = Parts([(paint, _car_body(length, width, floor, waist, nose=plan.nose))])
    pane, top = _cabin(plan, length, width, waist, roof)
    parts.add(glass, pane)
    parts.add(paint, top)
    parts += _wheels(dark, chrome, length, width, wheel)
    end, lamp_y = length * 0.495, (floor + waist) / 2
    parts.add(light, *(cylinder(0.05, 0.03, (s * width * 0.33, lamp_y, end), axis=Z, segments=12) for s in (-1, 1)))
    bumper = chrome if kind == "family" else dark
    parts.add(bumper, *(box((width * 0.92, 0.07, 0.06), (0, floor + 0.04, s * end)) for s in (-1, 1)))
    features = ["four wheels", "glass windows"]
    if kind == "pickup":
        parts.add(paint, *_load_bed(length, width, waist, plan.back))
        features.append("an open bed")
    if kind == "sports":
        parts.add(dark, *(box((0.03, 0.1, 0.05), (s * width * 0.32, waist + 0.04, -length * 0.44)) for s in (-1, 1)))
        parts.add(dark, box((width * 0.9, 0.025, 0.14), (0, waist + 0.09, -length * 0.45)))
        features.append("a spoiler")
    return Design(tuple(parts), paint, kind, tuple(features))


def _cabin(plan: _CarPlan, length: float, width: float, waist: float, roof: float) -> tuple[Solid, Solid]:
    """The windows, from the waist up and leaning inwards, and the roof on them."""

    def ring(y: float, inset: float) -> np.ndarray:
        front, back = length * plan.front - plan.lean[0] * inset, length * plan.back + plan.lean[1] * inset
        outline = rounded_rectangle(width * (0.9 - 0.12 * inset), front - back, roundness=0.15, count=24)
        return np.stack([outline[:, 0], np.full(24, y), outline[:, 1] + (front + back) / 2], -1)

    sill, head = ring(waist, 0.0), ring(roof - 0.03, 1.0)
    return loft(np.stack([sill, head])), loft(np.stack([head, ring(roof, 1.15)]))


def _load_bed(length: float, width: float, waist: float, back: float) -> list[Solid]:
    deep = length * (0.5 + back) - 0.06
    middle = -length / 2 + 0.03 + deep / 2
    sides = [box((0.04, 0.16, deep), (s * (width / 2 - 0.05), waist + 0.06, middle)) for s in (-1, 1)]
    return [*sides, box((width - 0.08, 0.16, 0.04), (0, waist + 0.06, -length / 2 + 0.05))]


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


def _wheels(dark: Finish, chrome: Finish, length: float, width: float, radius: float) -> list[Part]:
    parts = Parts()
    for side in (-1, 1):
        for z in (-0.31 * length, 0.32 * length):
            outer = (side * (width / 2 + 0.025), radius, z)
            parts.add(dark, cylinder(radius, 0.14, (side * (width / 2 - 0.05), radius, z), axis=X, segments=22))
            parts.add(chrome, cylinder(radius * 0.55, 0.02, outer, axis=X, segments=14))
    return parts


def skateboard(rng: np.random.Generator) -> Design:
    """Return a board along x with raised ends or a flat long one, on two trucks and four wheels."""
    kind = pick(rng, ("", "", "long", "old"))
    deck = finish(rng, ("wooden", "wooden", "plastic"), patterned=0.6)
    metal = finish(rng, "metal", patterned=0.0)
    rubber = finish(rng, "plastic", patterned=0.0)
    length, width, squareness = {"": (0.85, 0.22, 7.0), "long": (1.15, 0.25, 3.0), "old": (0.72, 0.26, 9.0)}[kind]
    length, width = length * rng.uniform(0.95, 1.05), width * rng.uniform(0.9, 1.1)
    raised = 0.0 if kind == "long" else rng.uniform(0.05, 0.1)
    thick, wheel = rng.uniform(0.015, 0.025), rng.uniform(0.032, 0.05)
    height = 2 * wheel + 0.05
    share = np.linspace(-1, 1, 17)
    narrow = width * np.sqrt(np.maximum(1 - np.abs(share) ** squareness, 0.02))
    lift = raised * np.maximum(0.0, (np.abs(share) - 0.62) / 0.38) ** 1.3
    if kind == "old":
        lift[share > 0] = 0.0
    rings = np.zeros((17, 4, 3))
    rings[..., X] = share[:, None] * length / 2
    rings[..., Y] = (height + lift)[:, None] + np.array([-1, -1, 1, 1]) * thick / 2
    rings[..., Z] = narrow[:, None] * np.array([-1, 1, 1, -1]) / 2
    parts = Parts([(deck, loft(rings))])
    for x in (-0.3 * length, 0.3 * length):
        parts.add(metal, box((0.09, 0.04, 0.07), (x, height - 0.025, 0), top=0.8))
        parts.add(metal, box((0.03, height - wheel, 0.04), (x, (height + wheel) / 2, 0)))
        parts.add(metal, cylinder(0.014, width * 0.9, (x, wheel, 0), axis=Z, segments=8))
        parts.add(rubber, *(cylinder(wheel, 0.045, (x, wheel, s * width * 0.42), axis=Z) for s in (-1, 1)))
    features = (f"{rubber.colour} wheels", "four wheels", "a curved deck" if raised else "a flat deck")
    return Design(tuple(parts), deck, kind, features)
