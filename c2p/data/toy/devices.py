"""Families with a face: display, laptop, computer keyboard, guitar, lamp, bag. Their faces look to +z."""

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
    prism,
    rounded_rectangle,
    smooth,
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
    screen: list[Part] = [(case, box((width, height, thick), (0, middle, 0)))]
    screen.append((glass, box((width - 2 * rim, height - 2 * rim, 0.012), (0, middle, thick / 2 + 0.002))))
    parts: list[Part] = []
    features = [f"{case.colour} frame"]
    if kind == "tube":
        deep = width * rng.uniform(0.55, 0.75)
        hull = turned(box((width * 0.96, deep, height * 0.96), top=(0.5, 0.5)), -90, X)
        parts.append((case, moved(hull, (0, middle, -deep / 2))))
        parts.append((case, cylinder(width * 0.3, 0.08, (0, 0.04, -deep * 0.35), segments=24)))
        features.append("a deep case")
    elif kind == "wide":
        for side in (-1, 1):
            for z in (-1, 1):
                path = np.array([(side * width * 0.33, lift, 0), (side * width * 0.38, 0.01, z * 0.14)])
                parts.append((case, tube(path, 0.016)))
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
    parts: list[Part] = [(case, box((width, thick, depth), (0, thick / 2, 0)))]
    rows, columns = int(rng.integers(4, 6)), int(rng.integers(9, 13))
    parts += _keys(keys, rows, columns, width * 0.86, depth * 0.48, (0, thick, -depth * 0.18))
    features = [f"{keys.colour} keys", f"{glass.colour} screen"]
    if rng.random() < 0.8:
        parts.append((keys, box((width * 0.24, 0.008, depth * 0.2), (0, thick, depth * 0.34))))
        features.append("a touchpad")
    rim = rng.uniform(0.03, 0.06)
    screen = [
        (case, box((width, depth, lid), (0, depth / 2, 0))),
        (glass, box((width - 2 * rim, depth - 2 * rim, 0.01), (0, depth / 2, lid / 2 + 0.002))),
    ]
    for part, solid in screen:
        parts.append((part, moved(turned(solid, 90 - opening, X), (0, thick, -depth / 2))))
    return Design(tuple(parts), case, "open", tuple(features))


def _keys(
    finished: Finish, rows: int, columns: int, width: float, depth: float, at: tuple[float, float, float]
) -> list[Part]:
    """A block of raised keys, the row nearest the front with a space bar in its middle third."""
    pitch_x, pitch_z = width / columns, depth / rows
    parts: list[Part] = []
    for row in range(rows):
        for column in range(columns):
            if row == rows - 1 and columns // 3 <= column < columns - columns // 3:
                continue
            x = (column + 0.5) * pitch_x - width / 2
            z = (row + 0.5) * pitch_z - depth / 2
            parts.append((finished, box((pitch_x * 0.8, 0.03, pitch_z * 0.8), (at[0] + x, at[1], at[2] + z), top=0.85)))
    bar = (columns - 2 * (columns // 3)) * pitch_x
    parts.append((finished, box((bar * 0.95, 0.03, pitch_z * 0.8), (at[0], at[1], at[2] + depth / 2 - pitch_z / 2))))
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
    solids: list[Part] = [(case, box((width, thick, depth), (0, thick / 2, 0), top=(0.985, 0.96)))]
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
                solids.append((keys, box((block / 3 * 0.8, 0.03, depth * 0.8 / rows * 0.8), (x, thick, z), top=0.85)))
        features.append("a number pad")
    if wrist:
        solids.append(
            (case, cushion((width * 0.98, thick * 0.8, 0.12), (0, thick * 0.4, depth / 2 + 0.05), roundness=0.3))
        )
        features.append("a wrist rest")
    parts = [(part, turned(solid, tilt, X, about=(0, 0, depth / 2))) for part, solid in solids]
    return Design(tuple(parts), case, "", tuple(features))


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
