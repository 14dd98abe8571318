"""Families of vessels: mug, bottle, bowl, jar, pot. Turned or lofted; open ones have an inside."""

import numpy as np

from c2p.data.toy.design import Design, Parts, article
from c2p.data.toy.finishes import finish, pick
from c2p.data.toy.solids import (
    Solid,
    cushion,
    cylinder,
    lathe,
    loft,
    smooth,
    tube,
)


def mug(rng: np.random.Generator) -> Design:
    """Return a cup with one handle at its right side; straight, tapered or bellied."""
    body = finish(rng, ("ceramic", "ceramic", "metal", "plastic"), patterned=0.4)
    radius, height, wall = rng.uniform(0.3, 0.42), rng.uniform(0.6, 1.0), rng.uniform(0.03, 0.05)
    kind = pick(rng, ("straight", "tapered", "bellied"))
    foot = {"straight": 1.0, "tapered": rng.uniform(0.62, 0.8), "bellied": rng.uniform(0.65, 0.85)}[kind]
    belly = rng.uniform(1.05, 1.2) if kind == "bellied" else (1 + foot) / 2
    outside = smooth([(radius * foot, 0), (radius * belly, height * 0.5), (radius, height)], 9)
    inside = outside[::-1] - np.array([wall, 0])
    inside[-1, 1] = wall
    handle = body if rng.random() < 0.7 else finish(rng, "ceramic", patterned=0.0)
    low, high = height * rng.uniform(0.15, 0.3), height * rng.uniform(0.72, 0.9)
    reach = radius + rng.uniform(0.2, 0.32)
    middle = radius * (1 + belly) / 2 - wall
    loop = smooth([(middle * 0.95, high, 0), (reach, high, 0), (reach, low, 0), (middle * 0.95, low, 0)], 14)
    parts = Parts(
        [
            (body, lathe([(0, 0), *outside, *inside, (0, wall)], segments=28)),
            (handle, tube(loop, rng.uniform(0.04, 0.06))),
        ]
    )
    return Design(tuple(parts), body, kind, (article(f"{handle.colour} handle"), "one handle"))


def bottle(rng: np.random.Generator) -> Design:
    """Return a bottle: a body, shoulders, a narrow neck and a cap or a cork."""
    body = finish(rng, ("glass", "glass", "plastic"), patterned=0.0)
    kind = pick(rng, ("wine", "soda", "square", "flask"))
    radius, tall = rng.uniform(0.15, 0.22), rng.uniform(0.85, 1.15)
    neck = radius * rng.uniform(0.28, 0.42)
    if kind == "flask":
        radius, tall = radius * 1.4, tall * 0.8
    shoulder = tall * {"wine": 0.6, "soda": 0.62, "square": 0.72, "flask": 0.58}[kind]
    rise = tall * rng.uniform(0.1, 0.2)
    waist = rng.uniform(0.72, 0.88) if kind == "soda" else 1.0
    profile = [(0, 0), (radius * 0.9, 0), (radius, 0.03), (radius * waist, shoulder * 0.5), (radius, shoulder)]
    profile += [(radius * 0.82, shoulder + rise * 0.45), (neck, shoulder + rise), (neck, tall * 0.95)]
    profile += [(neck * 1.15, tall), (0, tall)]
    solid = lathe(profile, roundness=0.2 if kind == "square" else 1.0)
    cap = finish(rng, ("plastic", "metal", "wooden"), patterned=0.0)
    parts = Parts(
        [
            (body, solid),
            (cap, cylinder(neck * 1.25, tall * 0.06, (0, tall * 1.02, 0))),
        ]
    )
    features = [article(f"{cap.colour} cap"), "a narrow neck"]
    if kind != "square" and rng.random() < 0.7:
        label = finish(rng, "plastic", patterned=0.4)
        band = (shoulder * rng.uniform(0.2, 0.35), shoulder * rng.uniform(0.65, 0.9))
        wide = radius * 1.015
        parts.add(label, lathe([(wide * 0.7, band[0]), (wide, band[0]), (wide, band[1]), (wide * 0.7, band[1])]))
        features.append(article(f"{label.look} label"))
    return Design(tuple(parts), body, kind, tuple(features))


def bowl(rng: np.random.Generator) -> Design:
    """Return an open bowl wider than high, on a small foot."""
    body = finish(rng, ("ceramic", "ceramic", "wooden", "metal", "plastic"), patterned=0.4)
    radius, height, wall = 0.5, rng.uniform(0.2, 0.42), rng.uniform(0.018, 0.035)
    foot, foot_height = radius * rng.uniform(0.3, 0.5), rng.uniform(0.02, 0.06)
    curve = rng.uniform(0.35, 0.75)
    angle = np.linspace(0, np.pi / 2, 9)
    rise = height - foot_height
    outside = np.stack([foot + (radius - foot) * np.sin(angle) ** curve, foot_height + rise * (1 - np.cos(angle))], -1)
    flare = rng.uniform(0.0, 0.08)
    outside[-1, 0] += flare
    inside = outside[::-1] * np.array([1.0, 1.0]) - np.array([wall, 0.0])
    inside[1:, 1] += wall
    parts = Parts([(body, lathe([(0, 0), (foot, 0), *outside, *inside, (0, foot_height + wall)], segments=32))])
    kind = "deep" if height > 0.32 else "shallow"
    return Design(tuple(parts), body, kind, ("a round rim", "a wide rim" if flare > 0.04 else "a small foot"))


def jar(rng: np.random.Generator) -> Design:
    """Return a vase with a curved outline: amphora, gourd, trumpet or urn, perhaps with two handles."""
    body = finish(rng, ("ceramic", "ceramic", "clay", "glass"), patterned=0.4)
    kind = pick(rng, ("amphora", "gourd", "trumpet", "urn"))
    tall = rng.uniform(0.85, 1.1)
    wide, neck = rng.uniform(0.24, 0.34), rng.uniform(0.09, 0.14)
    lip = neck * rng.uniform(1.3, 1.9)
    foot = wide * rng.uniform(0.4, 0.65)
    controls = {
        "amphora": [(foot, 0), (wide * 0.75, 0.3), (wide, 0.6), (neck, 0.85), (lip, 1)],
        "gourd": [(foot, 0), (wide * 1.1, 0.25), (wide * 0.62, 0.52), (wide * 0.66, 0.72), (neck, 0.88), (lip, 1)],
        "trumpet": [(foot * 1.1, 0), (neck * 0.9, 0.12), (neck * 1.1, 0.5), (wide * 0.7, 0.82), (wide * 1.15, 1)],
        "urn": [(foot, 0), (foot * 0.6, 0.14), (wide, 0.42), (wide * 1.1, 0.7), (wide * 0.72, 0.9), (wide * 0.9, 1)],
    }[kind]
    outside = smooth(np.array(controls) * np.array([1, tall]), 20)
    rim = outside[-1, 0]
    inside = np.array([(rim - 0.03, tall), (max(rim * 0.6, 0.05), tall * 0.9), (0, tall * 0.88)])
    parts = Parts([(body, lathe([(0, 0), *outside, *inside], segments=28))])
    features = ["a curved body", "an open mouth"]
    if kind in ("amphora", "urn") and rng.random() < 0.6:
        for side in (-1, 1):
            x = np.interp([0.62 * tall, 0.9 * tall], outside[:, 1], outside[:, 0])
            loop = [(side * x[0] * 0.9, 0.6 * tall, 0), (side * (wide + 0.12), 0.72 * tall, 0)]
            loop += [(side * (wide + 0.08), 0.88 * tall, 0), (side * x[1] * 0.9, 0.9 * tall, 0)]
            parts.add(body, tube(smooth(loop, 12), 0.025))
        features.append("two handles")
    return Design(tuple(parts), body, kind, tuple(features))


def pot(rng: np.random.Generator) -> Design:
    """Return a plant in a round or a square pot: broad leaves, long blades, a round bush or a cactus."""
    clay = finish(rng, ("clay", "clay", "ceramic", "plastic"), patterned=0.2)
    soil = finish(rng, "clay", colour="brown", patterned=0.0)
    green = finish(rng, "plastic", colour="green", patterned=0.0)
    top, tall = rng.uniform(0.2, 0.28), rng.uniform(0.28, 0.42)
    foot = top * rng.uniform(0.6, 0.8)
    rim = rng.uniform(0.05, 0.09)
    profile = [(0, 0), (foot, 0), (top * 0.95, tall - rim), (top * 1.08, tall - rim), (top * 1.08, tall)]
    round_pot = rng.random() < 0.75
    roundness, soil_level = 1.0 if round_pot else 0.15, tall - 0.05
    parts = Parts(
        [
            (
                clay,
                lathe([*profile, (top * 0.93, tall), (top * 0.88, soil_level), (0, soil_level)], roundness=roundness),
            ),
            (
                soil,
                lathe([(0, soil_level), (top * 0.9, soil_level + 0.005), (0, soil_level + 0.02)], roundness=roundness),
            ),
        ]
    )
    kind = pick(rng, ("leafy", "grassy", "bushy", "cactus"))
    if kind == "bushy":
        parts.add(finish(rng, "wooden", colour="brown"), cylinder(0.025, 0.3, (0, tall + 0.1, 0), segments=8))
        for _ in range(int(rng.integers(6, 11))):
            centre = np.array([0, tall + 0.32, 0]) + rng.uniform(-0.14, 0.14, 3)
            parts.add(green, cushion(rng.uniform(0.26, 0.4, 3), centre, roundness=1.0, detail=10))
    elif kind == "cactus":
        stem = rng.uniform(0.4, 0.6)
        parts.add(green, cushion((0.2, stem * 1.2, 0.2), (0, tall + stem * 0.5, 0), roundness=0.7, detail=14))
        for side in (-1, 1)[: int(rng.integers(1, 3))]:
            low = tall + stem * rng.uniform(0.3, 0.5)
            arm = smooth([(0, low, 0), (side * 0.2, low + 0.02, 0), (side * 0.22, low + rng.uniform(0.15, 0.3), 0)], 8)
            parts.add(green, tube(arm, [0.055] * 7 + [0.03]))
    else:
        parts += [(green, leaf) for leaf in _leaves(rng, soil_level, broad=kind == "leafy")]
    return Design(tuple(parts), clay, kind, ("green leaves", "a green plant", "a plant"))


def _leaves(rng: np.random.Generator, level: float, *, broad: bool) -> list[Solid]:
    count = int(rng.integers(9, 16)) if broad else int(rng.integers(14, 24))
    length = rng.uniform(0.45, 0.75)
    leaves: list[Solid] = []
    for i in range(count):
        angle = 2.4 * i + rng.uniform(-0.2, 0.2)
        lean, reach = rng.uniform(0.25, 1.0), length * rng.uniform(0.7, 1.0)
        away = np.array([np.cos(angle), 0, np.sin(angle)])
        path = smooth(
            [
                (0, level, 0),
                *(
                    np.array([0, level + reach * h, 0]) + away * reach * lean * s
                    for h, s in ((0.55, 0.25), (0.8, 0.6), (0.8 - 0.3 * lean, 1.0))
                ),
            ],
            8,
        )
        along = np.linspace(0, 1, 8)
        width = 0.006 + (0.11 if broad else 0.022) * np.sin(np.pi * along**1.3) * (along > 0.3 if broad else 1)
        across = np.array([-np.sin(angle), 0, np.cos(angle)])
        offsets = width[:, None, None] * across * np.array([-1, 0, 1, 0])[:, None]
        offsets[:, 1, 1] += 0.006
        offsets[:, 3, 1] -= 0.006
        leaves.append(loft(path[:, None] + offsets))
    return leaves
