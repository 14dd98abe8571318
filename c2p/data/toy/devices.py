"""Families with screens and keys: display, laptop, computer keyboard. Their faces look to +z."""

import numpy as np

from c2p.data.toy.design import Design, Part, Parts, article, counted
from c2p.data.toy.finishes import Finish, finish, pick
from c2p.data.toy.solids import (
    X,
    Y,
    box,
    cushion,
    cylinder,
    moved,
    prism,
    rounded_rectangle,
    tube,
    turned,
)


def display(rng: np.random.Generator) -> Design:
    """Return a flat screen on a stand, a wide television on two feet or a deep tube monitor."""
    kind = pick(rng, ("flat", "flat", "wide", "tube"))
    case = finish(
        rng,
        ("plastic", "plastic", "metal"),
        colour=pick(rng, ("black", "black", "grey", "white", "beige")),
        patterned=0.0,
    )
    glass = finish(rng, "glass", colour=pick(rng, ("blue", "green", "white")), patterned=0.0)
    width = {"flat": rng.uniform(0.8, 1.0), "wide": rng.uniform(1.15, 1.4), "tube": rng.uniform(0.7, 0.85)}[kind]
    height = width * (rng.uniform(0.72, 0.8) if kind == "tube" else rng.uniform(0.54, 0.66))
    thick, rim = rng.uniform(0.035, 0.06), rng.uniform(0.02, 0.05)
    lift = {"flat": rng.uniform(0.14, 0.28), "wide": rng.uniform(0.07, 0.13), "tube": 0.08}[kind]
    middle = lift + height / 2
    screen = Parts([(case, box((width, height, thick), (0, middle, 0)))])
    screen.append((glass, box((width - 2 * rim, height - 2 * rim, 0.012), (0, middle, thick / 2 + 0.002))))
    parts = Parts()
    features = [article(f"{case.colour} frame")]
    if kind == "tube":
        deep = width * rng.uniform(0.55, 0.75)
        hull = turned(box((width * 0.96, deep, height * 0.96), top=(0.5, 0.5)), -90, X)
        parts.add(case, moved(hull, (0, middle, -deep / 2)))
        parts.add(case, cylinder(width * 0.3, 0.08, (0, 0.04, -deep * 0.35), segments=24))
        features.append("a deep case")
    elif kind == "wide":
        for side in (-1, 1):
            for z in (-1, 1):
                path = np.array([(side * width * 0.33, lift, 0), (side * width * 0.38, 0.01, z * 0.14)])
                parts.add(case, tube(path, 0.016))
        features.append("two feet")
    else:
        parts += _stand(rng, case, width, lift)
        features.append("a stand")
    lean = -rng.uniform(0, 9) if kind == "flat" else 0.0
    parts += [(part, turned(solid, lean, X, about=(0, middle, 0))) for part, solid in screen]
    return Design(tuple(parts), case, kind, tuple(features))


def _stand(rng: np.random.Generator, case: Finish, width: float, lift: float) -> list[Part]:
    foot = width * rng.uniform(0.3, 0.5)
    neck = box((rng.uniform(0.06, 0.14), lift + 0.12, 0.035), (0, lift / 2 + 0.06, -0.04))
    if rng.random() < 0.5:
        return [
            (case, neck),
            (case, moved(prism(rounded_rectangle(foot, foot * 0.65, roundness=1), 0.025, axis=Y), (0, 0.0125, 0))),
        ]
    return [(case, neck), (case, box((foot, 0.025, foot * 0.6), (0, 0.0125, 0)))]


def laptop(rng: np.random.Generator) -> Design:
    """Return an open laptop: a base with keys and a screen hinged at its back edge."""
    case = finish(
        rng, ("metal", "plastic"), colour=pick(rng, ("grey", "grey", "black", "white", "blue", "pink")), patterned=0.0
    )
    glass = finish(rng, "glass", colour=pick(rng, ("blue", "green", "white")), patterned=0.0)
    keys = finish(rng, "plastic", colour="white" if case.colour == "black" else "black", patterned=0.0)
    width, depth = rng.uniform(0.9, 1.1), rng.uniform(0.6, 0.75)
    thick, lid, opening = rng.uniform(0.03, 0.06), rng.uniform(0.02, 0.035), rng.uniform(92, 128)
    parts = Parts([(case, box((width, thick, depth), (0, thick / 2, 0)))])
    rows, columns = int(rng.integers(4, 6)), int(rng.integers(9, 13))
    parts += _keys(keys, rows, columns, width * 0.86, depth * 0.48, (0, thick, -depth * 0.18))
    features = [f"{keys.colour} keys", article(f"{glass.colour} screen")]
    if rng.random() < 0.8:
        parts.add(keys, box((width * 0.24, 0.008, depth * 0.2), (0, thick, depth * 0.34)))
        features.append("a touchpad")
    rim = rng.uniform(0.03, 0.06)
    screen = [
        (case, box((width, depth, lid), (0, depth / 2, 0))),
        (glass, box((width - 2 * rim, depth - 2 * rim, 0.01), (0, depth / 2, lid / 2 + 0.002))),
    ]
    for part, solid in screen:
        parts.add(part, moved(turned(solid, 90 - opening, X), (0, thick, -depth / 2)))
    return Design(tuple(parts), case, "open", tuple(features))


def _keys(
    finished: Finish, rows: int, columns: int, width: float, depth: float, at: tuple[float, float, float]
) -> list[Part]:
    """A block of raised keys, the row nearest the front with a space bar in its middle third."""
    pitch_x, pitch_z = width / columns, depth / rows
    parts = Parts()
    for row in range(rows):
        for column in range(columns):
            if row == rows - 1 and columns // 3 <= column < columns - columns // 3:
                continue
            x = (column + 0.5) * pitch_x - width / 2
            z = (row + 0.5) * pitch_z - depth / 2
            parts.add(finished, box((pitch_x * 0.8, 0.03, pitch_z * 0.8), (at[0] + x, at[1], at[2] + z), top=0.85))
    bar = (columns - 2 * (columns // 3)) * pitch_x
    parts.add(finished, box((bar * 0.95, 0.03, pitch_z * 0.8), (at[0], at[1], at[2] + depth / 2 - pitch_z / 2)))
    return parts


def computer_keyboard(rng: np.random.Generator) -> Design:
    """Return a keyboard lying flat: a long slab, higher at its back, with rows of keys and perhaps a number block."""
    case = finish(
        rng,
        ("plastic", "plastic", "metal"),
        colour=pick(rng, ("black", "white", "grey", "beige", "pink", "blue")),
        patterned=0.0,
    )
    keys = finish(rng, "plastic", colour=pick(rng, ("white", "black", "grey", "red", "green")), patterned=0.0)
    width, depth, thick = rng.uniform(1.0, 1.3), rng.uniform(0.36, 0.46), rng.uniform(0.035, 0.06)
    tilt, number = rng.uniform(2, 8), rng.random() < 0.6
    rows = int(rng.integers(4, 7))
    inner = width * 0.94
    main = inner * (0.74 if number else 1.0)
    solids = Parts([(case, box((width, thick, depth), (0, thick / 2, 0), top=(0.985, 0.96)))])
    wrist = rng.random() < 0.4
    back = -depth * 0.04
    solids += _keys(keys, rows, int(rng.integers(10, 14)), main, depth * 0.8, ((main - inner) / 2, thick, back))
    features = [f"{keys.colour} keys", counted(rows, "row") + " of keys"]
    if number:
        block = inner * 0.21
        for row in range(rows):
            for column in range(3):
                x = inner / 2 - block + (column + 0.5) * block / 3
                z = back + ((row + 0.5) / rows - 0.5) * depth * 0.8
                solids.add(keys, box((block / 3 * 0.8, 0.03, depth * 0.8 / rows * 0.8), (x, thick, z), top=0.85))
        features.append("a number pad")
    if wrist:
        solids.add(case, cushion((width * 0.98, thick * 0.8, 0.12), (0, thick * 0.4, depth / 2 + 0.05), roundness=0.3))
        features.append("a wrist rest")
    parts = [(part, turned(solid, tilt, X, about=(0, 0, depth / 2))) for part, solid in solids]
    return Design(tuple(parts), case, "", tuple(features))
