"""Families of large open things: bathtub, along x, and ashcan. Lengths are about metres; the front looks to +z."""

import numpy as np

from c2p.data.toy.design import Design, Part, Parts, article
from c2p.data.toy.finishes import Finish, finish, pick
from c2p.data.toy.solids import (
    X,
    box,
    cushion,
    cylinder,
    lathe,
    loft,
    moved,
    rounded_rectangle,
    smooth,
    tube,
    turned,
)


def bathtub(rng: np.random.Generator) -> Design:
    """Return a tub with an inside: built-in with straight sides, oval, or on four claw feet."""
    kind = pick(rng, ("built-in", "oval", "clawfoot"))
    colour = pick(rng, ("white", "white", "white", "pink", "blue", "beige"))
    body = finish(rng, ("ceramic", "ceramic", "plastic"), colour=colour, patterned=0.0)
    metal = finish(rng, "metal", colour="grey", patterned=0.0)
    length, width, height = rng.uniform(1.4, 1.8), rng.uniform(0.65, 0.85), rng.uniform(0.42, 0.6)
    low = 0.12 if kind == "clawfoot" else 0.0
    roundness = 0.08 if kind == "built-in" else rng.uniform(0.5, 0.9)
    taper = 1.0 if kind == "built-in" else rng.uniform(0.72, 0.9)
    rim = rng.uniform(0.05, 0.09)

    def ring(scale: float, y: float, inset: float = 0.0) -> np.ndarray:
        rounding = max(roundness, 0.45) if inset else roundness
        outline = rounded_rectangle(length * scale - 2 * inset, width * scale - 2 * inset, roundness=rounding, count=36)
        return np.stack([outline[:, 0], np.full(36, y), outline[:, 1]], -1)

    outside = [ring(0, low), ring(taper, low), ring((1 + taper) / 2, (low + height) / 2), ring(1, height)]
    inside = [ring(1, height, rim), ring(taper * 0.95, low + 0.22, rim), ring(taper * 0.75, low + 0.1, rim)]
    parts = Parts([(body, loft(np.stack([*outside, *inside, ring(0, low + 0.1)])))])
    features = ["a white inside" if colour == "white" else "a wide rim"]
    if kind == "clawfoot":
        places = [(sx * length * 0.33 * taper, 0.08, sz * width * 0.33 * taper) for sx in (-1, 1) for sz in (-1, 1)]
        parts.add(metal, *(cushion((0.12, 0.18, 0.12), at, roundness=0.8, detail=10) for at in places))
        features.append("four feet")
    if rng.random() < 0.75:
        x = length * 0.5 - rim / 2
        spout = tube(smooth([(0, -0.02, 0), (0, 0.18, 0), (-0.08, 0.22, 0), (-0.16, 0.14, 0)], 10), 0.022)
        parts.add(metal, moved(spout, (x, height, 0)))
        parts.add(metal, *(cylinder(0.03, 0.07, (x, height + 0.03, z), segments=10) for z in (-0.12, 0.12)))
        features.append("a tap")
    return Design(tuple(parts), body, kind, tuple(features))


def ashcan(rng: np.random.Generator) -> Design:
    """Return a waste bin: an open basket, a pedal bin with a lid, a swing-top bin or a wheeled one."""
    kind = pick(rng, ("open", "pedal", "swing-top", "wheeled"))
    body = finish(rng, ("metal", "plastic", "plastic"), patterned=0.1)
    radius, tall = rng.uniform(0.22, 0.3), rng.uniform(0.55, 0.8)
    make = {"open": _basket, "pedal": _pedal_bin, "swing-top": _swing_bin, "wheeled": _wheeled_bin}[kind]
    parts, features = make(rng, body, radius, tall)
    return Design(tuple(parts), body, kind, features)


Drawn = tuple[list[Part], tuple[str, ...]]


def _basket(rng: np.random.Generator, body: Finish, radius: float, tall: float) -> Drawn:
    foot = radius * rng.uniform(0.65, 0.85)
    lip = radius * 1.07
    profile = [(0, 0), (foot, 0), (radius, tall), (lip, tall), (lip, tall - 0.03), (lip, tall)]
    profile += [(radius - 0.025, tall), (foot - 0.02, 0.03), (0, 0.03)]
    parts = Parts([(body, lathe(profile, segments=28))])
    if rng.random() < 0.6:
        return parts, ("no lid",)
    for side in (-1, 1):
        near, far = side * radius * 0.97, side * (radius + 0.08)
        loop = [(near, tall * 0.8, -0.08), (far, tall * 0.82, 0), (near, tall * 0.8, 0.08)]
        parts.add(body, tube(smooth(loop, 8), 0.018))
    return parts, ("no lid", "two handles")


def _pedal_bin(rng: np.random.Generator, body: Finish, radius: float, tall: float) -> Drawn:
    dark = finish(rng, "plastic", colour="black", patterned=0.0)
    lid = body if rng.random() < 0.5 else dark
    angle = np.linspace(0, np.pi / 2, 6)
    wide = radius * 1.04
    dome = np.stack([wide * np.cos(angle), tall + 0.02 + radius * 0.45 * np.sin(angle)], -1)
    parts = Parts(
        [
            (body, cylinder(radius, tall, (0, tall / 2, 0), segments=28)),
            (lid, lathe([(0, tall), (wide, tall), *dome], segments=28)),
            (dark, box((0.16, 0.03, 0.14), (0, 0.03, radius + 0.04))),
            (dark, cylinder(wide, 0.05, (0, 0.025, 0), segments=28)),
        ]
    )
    return parts, ("a round lid", "a pedal")


def _swing_bin(rng: np.random.Generator, body: Finish, radius: float, tall: float) -> Drawn:
    dark = finish(rng, "plastic", colour="black", patterned=0.0)
    top = finish(rng, "plastic", patterned=0.0)
    width, depth = radius * 1.8, radius * 1.5
    at = (0, tall + 0.12, depth * 0.36)
    parts = Parts(
        [
            (body, box((width * 0.85, tall, depth * 0.85), (0, tall / 2, 0), top=1 / 0.85)),
            (top, box((width * 1.04, 0.24, depth * 1.04), (0, tall + 0.12, 0), top=(0.9, 0.25))),
            (dark, turned(box((width * 0.6, 0.17, 0.02), at), -59, X, about=at)),
        ]
    )
    return parts, (article(f"{top.colour} lid"), "a swing lid")


def _wheeled_bin(rng: np.random.Generator, body: Finish, radius: float, tall: float) -> Drawn:
    dark = finish(rng, "plastic", colour="black", patterned=0.0)
    lid = body if rng.random() < 0.5 else finish(rng, "plastic", patterned=0.0)
    width, depth, tall = radius * 2, radius * 2.1, tall * 1.25
    parts = Parts(
        [
            (body, box((width * 0.8, tall - 0.05, depth * 0.75), (0, tall / 2 + 0.025, 0), top=(1.25, 1.3))),
            (lid, turned(box((width * 1.08, 0.06, depth * 1.08), (0, tall + 0.03, 0), top=0.94), 5, X)),
            (dark, cylinder(0.02, width * 0.8, (0, tall - 0.03, -depth * 0.56), axis=X, segments=8)),
        ]
    )
    for side in (-1, 1):
        parts.add(dark, cylinder(0.09, 0.05, (side * width * 0.42, 0.09, -depth * 0.36), axis=X))
    return parts, ("two wheels", article(f"{lid.colour} lid"))
