"""Families of case furniture: table, bed, cabinet, bookshelf. Lengths are about metres; the front looks to +z."""

from itertools import pairwise

import numpy as np

from c2p.data.toy.design import Design, Part, Parts, article, counted
from c2p.data.toy.finishes import Finish, finish, pick
from c2p.data.toy.solids import Z, box, cushion, cylinder, lathe, tube


def table(rng: np.random.Generator) -> Design:
    """Return a dining table, a round one on a foot, a low coffee table or a trestle table."""
    kind = pick(rng, ("", "", "round", "coffee", "trestle"))
    wood = finish(rng, ("wooden", "wooden", "metal", "plastic"), patterned=0.0)
    top_finish = wood if rng.random() < 0.6 else finish(rng, ("wooden", "glass", "stone"), patterned=0.0)
    height = rng.uniform(0.35, 0.48) if kind == "coffee" else rng.uniform(0.68, 0.85)
    thick = rng.uniform(0.025, 0.06)
    features = [article(f"{top_finish.substance} top")]
    parts = Parts()
    if kind == "round":
        radius = rng.uniform(0.42, 0.7)
        parts.add(top_finish, cylinder(radius, thick, (0, height - thick / 2, 0), segments=32))
        parts += _pedestal(rng, wood, radius, height - thick)
        features.append("one foot")
        return Design(tuple(parts), wood, kind, tuple(features))
    width, depth = rng.uniform(0.9, 1.8), rng.uniform(0.6, 0.95)
    parts.add(top_finish, box((width, thick, depth), (0, height - thick / 2, 0)))
    under = height - thick
    if kind == "trestle":
        for x in (-width * 0.36, width * 0.36):
            for side in (-1, 1):
                path = np.array([[x, 0, side * depth * 0.45], [x, under, side * depth * 0.08]])
                parts.add(wood, tube(path, 0.03, sides=4))
        parts.add(wood, box((width * 0.72, 0.04, 0.04), (0, under * 0.45, 0)))
        features.append("crossed supports")
    else:
        parts += _table_legs(rng, wood, width, depth, under)
        features.append("four legs")
        if rng.random() < 0.6:
            apron = rng.uniform(0.05, 0.12)
            parts.add(wood, box((width * 0.9, apron, depth * 0.86), (0, under - apron / 2, 0)))
        if kind == "coffee" and rng.random() < 0.6:
            parts.add(wood, box((width * 0.9, thick * 0.7, depth * 0.86), (0, under * 0.35, 0)))
            features.append("a lower shelf")
    return Design(tuple(parts), wood, kind, tuple(features))


def _table_legs(rng: np.random.Generator, wood: Finish, width: float, depth: float, under: float) -> list[Part]:
    thick, inset, taper = rng.uniform(0.04, 0.09), rng.uniform(0.02, 0.1), rng.random() < 0.5
    parts = Parts()
    for sx in (-1, 1):
        for sz in (-1, 1):
            x, z = sx * (width / 2 - thick / 2 - inset), sz * (depth / 2 - thick / 2 - inset)
            if taper:
                parts.add(wood, tube(np.array([[x, 0, z], [x, under, z]]), [thick * 0.3, thick * 0.6]))
            else:
                parts.add(wood, box((thick, under, thick), (x, under / 2, z)))
    return parts


def _pedestal(rng: np.random.Generator, wood: Finish, radius: float, under: float) -> list[Part]:
    foot, stem = radius * rng.uniform(0.5, 0.75), rng.uniform(0.03, 0.07)
    profile = [
        (0, 0),
        (foot, 0),
        (foot, 0.03),
        (stem * 1.3, 0.09),
        (stem, under * 0.5),
        (stem * 1.3, under),
        (0, under),
    ]
    if rng.random() < 0.5:
        return [(wood, lathe(profile))]
    parts = Parts([(wood, cylinder(stem, under, (0, under / 2, 0)))])
    for angle in 2 * np.pi * (np.arange(3) + 0.25) / 3:
        tip = (foot * np.cos(angle), 0.02, foot * np.sin(angle))
        parts.add(wood, tube(np.array([(0, under * 0.35, 0), tip]), [0.035, 0.025]))
    return parts


def bed(rng: np.random.Generator) -> Design:
    """Return a single or double bed, a four-poster or a bunk bed; the foot end looks to +z."""
    kind = pick(rng, ("single", "double", "double", "four-poster", "bunk"))
    width = rng.uniform(0.85, 1.0) if kind in ("single", "bunk") else rng.uniform(1.35, 1.8)
    length, base = rng.uniform(1.9, 2.1), rng.uniform(0.2, 0.36)
    frame = finish(rng, ("wooden", "wooden", "metal"), patterned=0.0)
    blanket = finish(rng, "fabric", patterned=0.5)
    linen = finish(rng, "fabric", colour=pick(rng, ("white", "beige", "grey")), patterned=0.0)
    levels = [base, base + rng.uniform(0.85, 1.0)] if kind == "bunk" else [base]
    parts = Parts()
    for level in levels:
        parts += _mattress(rng, frame, blanket, linen, width, length, level)
    pillows = 1 if width < 1.1 else 2
    features = [counted(pillows, "pillow"), article(f"{blanket.look} blanket")]
    head = levels[-1] + rng.uniform(0.35, 0.75)
    foot = base + rng.uniform(0.0, 0.35)
    if kind == "bunk":
        parts += _posts(frame, width, length, levels[-1] + 0.45)
        parts += _ladder(frame, width * 0.25, length / 2 + 0.06, levels)
        return Design(tuple(parts), frame, kind, (*features, "four posts", "a ladder"))
    parts += _headboard(rng, frame, width, length, head)
    parts.add(frame, box((width, foot - 0.05, 0.05), (0, (foot + 0.05) / 2, length / 2)))
    if kind == "four-poster":
        tall = rng.uniform(1.7, 2.0)
        parts += _posts(frame, width, length, tall)
        parts += [(frame, box((0.05, 0.05, length), (x, tall, 0))) for x in (-width / 2, width / 2)]
        parts += [(frame, box((width, 0.05, 0.05), (0, tall, z))) for z in (-length / 2, length / 2)]
        return Design(tuple(parts), frame, kind, (*features, "four posts", "a canopy"))
    parts += _posts(frame, width - 0.1, length - 0.1, base)
    return Design(tuple(parts), frame, kind, (*features, "a headboard"))


def _posts(frame: Finish, width: float, length: float, tall: float) -> list[Part]:
    corners = [(sx * width / 2, sz * length / 2) for sx in (-1, 1) for sz in (-1, 1)]
    return [(frame, box((0.07, tall, 0.07), (x, tall / 2, z))) for x, z in corners]


def _ladder(frame: Finish, x: float, z: float, levels: list[float]) -> list[Part]:
    tall = levels[1] + 0.3
    rungs = np.linspace(levels[0] + 0.1, levels[1], 5)
    parts = Parts([(frame, box((0.3, 0.04, 0.04), (x, y, z))) for y in rungs])
    return parts + [(frame, box((0.04, tall, 0.04), (x + side * 0.15, tall / 2, z))) for side in (-1, 1)]


def _headboard(rng: np.random.Generator, frame: Finish, width: float, length: float, head: float) -> list[Part]:
    z = -length / 2
    if rng.random() < 0.5:
        return [(frame, box((width * 1.03, head, 0.06), (0, head / 2, z)))]
    count = int(rng.integers(5, 10))
    bars = Parts(
        [(frame, box((0.035, head, 0.035), (x, head / 2, z))) for x in np.linspace(-0.48, 0.48, count) * width]
    )
    return [*bars, (frame, box((width * 1.03, 0.07, 0.06), (0, head, z)))]


def _mattress(
    rng: np.random.Generator, frame: Finish, blanket: Finish, linen: Finish, width: float, length: float, base: float
) -> list[Part]:
    thick = rng.uniform(0.15, 0.26)
    covered = length * rng.uniform(0.55, 0.75)
    parts = Parts(
        [
            (frame, box((width, 0.1, length), (0, base, 0))),
            (linen, cushion((width * 0.97, thick, length * 0.97), (0, base + thick / 2, 0), roundness=0.12)),
            (
                blanket,
                cushion(
                    (width * 1.02, thick, covered),
                    (0, base + thick / 2 + 0.025, (length - covered) / 2),
                    roundness=0.12,
                ),
            ),
        ]
    )
    count = 1 if width < 1.1 else 2
    for x in (np.arange(count) - (count - 1) / 2) * width / count:
        size = (width / count * 0.8, 0.14, 0.38)
        parts.add(linen, cushion(size, (x, base + thick + 0.04, -length / 2 + 0.28), roundness=0.5))
    return parts


def cabinet(rng: np.random.Generator) -> Design:
    """Return a closed case with doors, drawers or both, on a plinth or on feet."""
    wood = finish(rng, ("wooden", "wooden", "wooden", "metal", "plastic"), patterned=0.0)
    front = wood if rng.random() < 0.5 else finish(rng, ("wooden", "plastic"), patterned=0.0)
    knob = finish(rng, "metal", patterned=0.0)
    kind = pick(rng, ("tall", "wide", "low"))
    height = {"tall": rng.uniform(1.1, 1.5), "wide": rng.uniform(0.8, 1.0), "low": rng.uniform(0.55, 0.75)}[kind]
    width = {"tall": rng.uniform(0.6, 0.9), "wide": rng.uniform(1.1, 1.6), "low": rng.uniform(0.7, 1.1)}[kind]
    depth, foot = rng.uniform(0.38, 0.55), rng.uniform(0.04, 0.18)
    body = height - foot
    parts = Parts([(wood, box((width, body, depth), (0, foot + body / 2, 0)))])
    if rng.random() < 0.6:
        parts.add(wood, box((width * 1.06, 0.04, depth * 1.08), (0, height + 0.02, 0.01)))
    if foot > 0.1:
        legs = [(sx * (width / 2 - 0.04), sz * (depth / 2 - 0.04)) for sx in (-1, 1) for sz in (-1, 1)]
        parts += [(wood, tube(np.array([[x, 0, z], [x, foot, z]]), [0.02, 0.03])) for x, z in legs]
    else:
        parts.add(wood, box((width * 0.94, foot, depth * 0.9), (0, foot / 2, 0)))
    columns = int(rng.integers(1, 3)) if kind == "tall" else int(rng.integers(2, 4))
    rows = int(rng.integers(2, 6)) if kind != "low" else int(rng.integers(2, 4))
    doors = int(rng.integers(0, rows)) if rng.random() < 0.65 else 0
    parts += _fronts(rng, front, knob, (width, body, depth), foot, columns, rows, doors)
    features = [counted(columns * (rows - doors), "drawer")] if columns * (rows - doors) <= 10 else ["many drawers"]
    if doors:
        features.append(counted(columns, "door"))
    return Design(tuple(parts), wood, kind, tuple(features))


def _fronts(
    rng: np.random.Generator,
    front: Finish,
    knob: Finish,
    size: tuple[float, float, float],
    foot: float,
    columns: int,
    rows: int,
    doors: int,
) -> list[Part]:
    """Drawer and door fronts standing out of the case, `doors` rows joined into one door a column at the bottom."""
    width, body, depth = size
    bars, gap, out = rng.random() < 0.5, 0.025, rng.uniform(0.02, 0.04)
    pitch_x, pitch_y = width / columns, body / rows
    cells = [(c, r, 1) for c in range(columns) for r in range(doors, rows)]
    cells += [(c, 0, doors) for c in range(columns)] if doors else []
    parts = Parts()
    for column, row, span in cells:
        x, y = (column + 0.5) * pitch_x - width / 2, foot + (row + span / 2) * pitch_y
        parts.add(front, box((pitch_x - 2 * gap, span * pitch_y - 2 * gap, out), (x, y, (depth + out) / 2)))
        z = depth / 2 + out + 0.015
        inner = -1 if column >= columns / 2 else 1
        at = (x + inner * (pitch_x * 0.36 if span > 1 or (doors and row == 0) else 0), y, z)
        if bars:
            parts.add(knob, box((0.025, 0.16, 0.03) if span > 1 else (0.18, 0.025, 0.03), at))
        else:
            parts.add(knob, cylinder(0.025, 0.03, at, axis=Z, segments=10))
    return parts


def bookshelf(rng: np.random.Generator) -> Design:
    """Return an open shelf with boards, uprights and rows of books."""
    wood = finish(rng, ("wooden", "wooden", "wooden", "metal"), patterned=0.0)
    height, width, depth = rng.uniform(1.3, 2.0), rng.uniform(0.7, 1.3), rng.uniform(0.25, 0.36)
    boards, columns, thick = int(rng.integers(3, 7)), int(rng.integers(1, 4)), rng.uniform(0.025, 0.04)
    parts = Parts()
    for x in np.linspace(-0.5, 0.5, columns + 1) * (width - thick):
        parts.add(wood, box((thick, height, depth), (x, height / 2, 0)))
    levels = np.linspace(thick / 2, height - thick / 2, boards + 1)
    parts += [(wood, box((width, thick, depth), (0, y, 0))) for y in levels]
    backed = rng.random() < 0.6
    if backed:
        parts.add(wood, box((width, height, 0.012), (0, height / 2, -depth / 2)))
    features = [counted(boards, "shelf", "shelves"), counted(columns, "column")]
    if rng.random() < 0.85:
        covers = [finish(rng, ("leather", "plastic"), patterned=0.0) for _ in range(4)]
        fill = rng.uniform(0.4, 0.95)
        cell = (width - thick) / columns
        for column in range(columns):
            for level, above in pairwise(levels):
                if rng.random() < fill:
                    start = -width / 2 + thick + column * cell
                    parts += _books(rng, covers, start, cell - thick, level + thick / 2, above - level - thick, depth)
        features.append("books")
    return Design(tuple(parts), wood, "", tuple(features))


def _books(
    rng: np.random.Generator, covers: list[Finish], start: float, room: float, floor: float, space: float, depth: float
) -> list[Part]:
    parts = Parts()
    x, end = start, start + room * rng.uniform(0.5, 1.0)
    while True:
        thick = rng.uniform(0.035, 0.08)
        if x + thick > end:
            return parts
        tall = space * rng.uniform(0.6, 0.92)
        deep = depth * rng.uniform(0.6, 0.8)
        parts.add(pick(rng, covers), box((thick * 0.94, tall, deep), (x + thick / 2, floor + tall / 2, depth * 0.05)))
        x += thick
