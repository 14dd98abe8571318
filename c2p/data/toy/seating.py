"""Families of seats: chair, sofa, bench, pillow. Lengths are about metres; the front looks to +z."""

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
    draped,
    lathe,
    loft,
    moved,
    rounded_rectangle,
    tube,
    turned,
)


def chair(rng: np.random.Generator) -> Design:
    """Return a dining chair, an armchair-like one, an office chair or a stool with a back."""
    width, depth, height = rng.uniform(0.40, 0.54), rng.uniform(0.40, 0.52), rng.uniform(0.40, 0.52)
    frame = finish(rng, ("wooden", "wooden", "metal", "plastic"), patterned=0.0)
    cover = frame if rng.random() < 0.5 else finish(rng, ("fabric", "leather", "plastic"))
    kind = pick(rng, ("", "", "", "office", "round"))
    parts = Parts()
    seat_thickness = rng.uniform(0.03, 0.08)
    if kind == "round":
        parts.add(cover, cylinder(width / 2, seat_thickness, (0, height, 0), segments=28))
    else:
        parts.add(cover, cushion((width, seat_thickness, depth), (0, height, 0), roundness=0.15))
    features = [article(f"{cover.colour} seat")]
    if kind == "office":
        spokes = int(rng.integers(4, 7))
        parts += _star_foot(frame, spokes, height)
        features.append(counted(spokes, "wheel"))
    else:
        parts += _four_legs(frame, rng, width, depth, height, inset=0.8 if kind == "round" else 1.0)
        features.append("four legs")
    parts += _chair_back(rng, frame, cover, width, depth, height, features)
    if rng.random() < 0.4:
        arm = rng.uniform(0.18, 0.26)
        for side in (-1, 1):
            x = side * (width / 2 + 0.01)
            parts.add(frame, box((0.05, 0.035, depth * 0.9), (x, height + arm, 0)))
            parts.add(frame, box((0.035, arm, 0.035), (x, height + arm / 2, depth * 0.36)))
        features.append("armrests")
    return Design(tuple(parts), cover, kind, tuple(features))


def _four_legs(
    frame: Finish, rng: np.random.Generator, width: float, depth: float, height: float, *, inset: float
) -> list[Part]:
    thick = rng.uniform(0.03, 0.055)
    splay = rng.uniform(0.0, 0.06)
    turned_leg = rng.random() < 0.4
    parts = Parts()
    for sx in (-1, 1):
        for sz in (-1, 1):
            x, z = sx * inset * (width - thick) / 2, sz * inset * (depth - thick) / 2
            if turned_leg or splay > 0.03:
                path = np.array([[x + sx * splay, 0, z + sz * splay], [x, height, z]])
                parts.add(frame, tube(path, [thick * 0.35, thick * 0.6]))
            else:
                parts.add(frame, box((thick, height, thick), (x, height / 2, z)))
    if rng.random() < 0.4:
        bar = rng.uniform(0.25, 0.5) * height
        for sz in (-1, 1):
            z = sz * inset * (depth - thick) / 2
            parts.add(frame, box((inset * width - thick, thick * 0.6, thick * 0.6), (0, bar, z)))
    return parts


def _star_foot(frame: Finish, spokes: int, height: float) -> list[Part]:
    parts = Parts([(frame, cylinder(0.03, height - 0.08, (0, 0.08 + (height - 0.08) / 2, 0)))])
    for angle in 2 * np.pi * (np.arange(spokes) + 0.25) / spokes:
        tip = np.array([0.29 * np.cos(angle), 0.07, 0.29 * np.sin(angle)])
        parts.add(frame, tube(np.array([[0, 0.1, 0], tip]), [0.03, 0.02]))
        parts.add(frame, cylinder(0.03, 0.03, (tip[0], 0.03, tip[2]), axis=X, segments=12))
    return parts


def _chair_back(
    rng: np.random.Generator,
    frame: Finish,
    cover: Finish,
    width: float,
    depth: float,
    height: float,
    features: list[str],
) -> list[Part]:
    tall, thick = rng.uniform(0.38, 0.62), rng.uniform(0.03, 0.05)
    z = -depth / 2 + thick / 2
    style = pick(rng, ("panel", "slats", "ladder", "shell"))
    posts = [box((thick, tall, thick), (side * (width - thick) / 2, height + tall / 2, z)) for side in (-1, 1)]
    if style == "panel":
        solids = [*posts, box((width, tall * 0.55, thick * 0.8), (0, height + tall * 0.7, z))]
    elif style == "slats":
        count = int(rng.integers(3, 7))
        xs = np.linspace(-0.5, 0.5, count + 2)[1:-1] * (width - thick)
        solids = [*posts, box((width, thick * 1.6, thick), (0, height + tall, z))]
        solids += [box((thick * 0.7, tall, thick * 0.5), (x, height + tall / 2, z)) for x in xs]
        features.append(counted(count, "slat"))
    elif style == "ladder":
        count = int(rng.integers(2, 5))
        ys = height + tall * np.linspace(0.3, 0.95, count)
        solids = [*posts, *(box((width - thick, tall * 0.14, thick * 0.6), (0, y, z)) for y in ys)]
        features.append("a ladder back")
    else:
        solids = [cushion((width, tall, thick * 1.8), (0, height + tall / 2, z), roundness=rng.uniform(0.2, 0.6))]
        features.append("a padded back")
    lean = -rng.uniform(2, 14)
    part = cover if style == "shell" else frame
    return [(part, turned(solid, lean, X, about=(0, height, z))) for solid in solids]


def sofa(rng: np.random.Generator) -> Design:
    """Return a sofa of two to four seats, straight or with a corner part."""
    seats = int(rng.integers(2, 5))
    depth, high = rng.uniform(0.75, 0.95), rng.uniform(0.34, 0.44)
    arm, arm_height = rng.uniform(0.12, 0.26), rng.uniform(0.52, 0.66)
    seat = rng.uniform(0.52, 0.66)
    back_height, back = rng.uniform(0.72, 0.95), rng.uniform(0.16, 0.26)
    cover = finish(rng, ("fabric", "fabric", "leather"))
    loose = cover if rng.random() < 0.6 else finish(rng, "fabric")
    feet = finish(rng, ("wooden", "metal"), patterned=0.0)
    foot, edge = rng.uniform(0.04, 0.14), rng.uniform(0.1, 0.3)
    total, base = seats * seat + 2 * arm, high * 0.6
    thick, level = high - base + 0.06, (high + base) / 2
    parts = Parts([(cover, box((total, base - foot, depth), (0, (base + foot) / 2, 0)))])
    rest = (0, (back_height + foot) / 2, (back - depth) / 2)
    parts.add(cover, cushion((total, back_height - foot, back), rest, roundness=edge))
    for side in (-1, 1):
        at = (side * (total - arm) / 2, (arm_height + foot) / 2, 0)
        parts.add(cover, cushion((arm, arm_height - foot, depth), at, roundness=edge))
    pad = turned(cushion((seat * 0.92, (back_height - high) * 0.85, 0.16), roundness=0.35), -12, X)
    pad_at = (high + (back_height - high) * 0.43 + 0.02, -depth / 2 + back + 0.06)
    padded = rng.random() < 0.8
    for x in (np.arange(seats) - (seats - 1) / 2) * seat:
        parts.add(loose, cushion((seat * 0.98, thick, depth - back), (x, level, back / 2), roundness=0.2))
        if padded:
            parts.add(loose, moved(pad, (x, *pad_at)))
    corners = [(sx * (total / 2 - 0.08), sz * (depth / 2 - 0.08)) for sx in (-1, 1) for sz in (-1, 1)]
    parts.add(feet, *(cylinder(0.03, foot, (x, foot / 2, z), segments=8) for x, z in corners))
    features = (counted(seats, "seat"), "two armrests")
    if rng.random() >= 0.25:
        return Design(tuple(parts), cover, "", features)
    x, long = pick(rng, (-1, 1)) * (seats - 1) / 2 * seat, rng.uniform(0.6, 0.9)
    z = (depth + long) / 2
    parts.add(cover, box((seat, base - foot, long), (x, (base + foot) / 2, z)))
    parts.add(loose, cushion((seat, thick, long), (x, level, z), roundness=0.2))
    return Design(tuple(parts), cover, "corner", (*features, "a footrest"))


def bench(rng: np.random.Generator) -> Design:
    """Return a park bench of slats, a plain bench or a stone bench; long, low and narrow."""
    length, depth, height = rng.uniform(1.2, 2.1), rng.uniform(0.32, 0.48), rng.uniform(0.38, 0.48)
    kind = pick(rng, ("park", "park", "", "garden"))
    boards = finish(rng, "stone" if kind == "garden" else ("wooden", "wooden", "plastic", "metal"), patterned=0.0)
    frame = boards if rng.random() < 0.4 else finish(rng, ("metal", "stone", "wooden"), patterned=0.0)
    parts = Parts()
    features: list[str] = []
    slats = int(rng.integers(3, 7)) if kind == "park" else 1
    pitch, thick = depth / slats, rng.uniform(0.03, 0.05)
    slat = box((length, thick, pitch * (0.7 if slats > 1 else 1)))
    parts.add(boards, *(moved(slat, (0, height, (i + 0.5) * pitch - depth / 2)) for i in range(slats)))
    supports = 2 if length < 1.7 else 3
    slab = box((rng.uniform(0.06, 0.16), height - 0.02, depth * 0.8), (0, height / 2 - 0.01, 0), top=0.9)
    posts = [box((0.05, height, 0.05), (0, height / 2, s * depth * 0.4)) for s in (-1, 1)]
    trestle = [*posts, box((0.05, 0.04, depth), (0, height - 0.035, 0))]
    for x in np.linspace(-0.5, 0.5, supports) * length * rng.uniform(0.72, 0.92):
        parts.add(frame, *(moved(solid, (x, 0, 0)) for solid in (trestle if kind == "park" else [slab])))
    features.append(counted(supports, "support"))
    if kind == "park" or (kind == "" and rng.random() < 0.4):
        parts += _bench_back(rng, boards, frame, length, depth, height)
        features.append("a backrest")
        if rng.random() < 0.5:
            for side in (-1, 1):
                x = side * length * 0.46
                parts.add(frame, box((0.05, 0.035, depth), (x, height + 0.2, 0)))
                parts.add(frame, box((0.04, 0.2, 0.04), (x, height + 0.1, depth * 0.42)))
            features.append("armrests")
    else:
        features.append("no back")
    if slats > 1:
        features.append(counted(slats, "slat"))
    return Design(tuple(parts), boards, kind, tuple(features))


def _bench_back(
    rng: np.random.Generator, boards: Finish, frame: Finish, length: float, depth: float, height: float
) -> list[Part]:
    tall, count, z = rng.uniform(0.32, 0.48), int(rng.integers(2, 5)), -depth / 2
    solids = [
        (boards, box((length, tall / count * 0.65, 0.03), (0, height + tall * (i + 0.75) / count, z)))
        for i in range(count)
    ]
    solids += [
        (frame, box((0.05, tall, 0.04), (x, height + tall / 2, z - 0.03))) for x in (-length * 0.38, length * 0.38)
    ]
    lean = -rng.uniform(4, 16)
    return [(part, turned(solid, lean, X, about=(0, height, z))) for part, solid in solids]


def pillow(rng: np.random.Generator) -> Design:
    """Return a stuffed pillow standing on its edge, its face to the front: square, long, round or a bolster."""
    kind = pick(rng, ("square", "square", "long", "round", "bolster"))
    cover = finish(rng, ("fabric", "fabric", "leather"), patterned=0.5)
    parts = Parts()
    features: list[str] = [article(f"{cover.pattern or 'plain'} cover")]
    if kind == "bolster":
        length, radius = rng.uniform(0.7, 1.0), rng.uniform(0.12, 0.18)
        profile = [
            (0, -length / 2),
            (radius * 0.85, -length / 2),
            (radius, -length * 0.4),
            (radius, length * 0.4),
            (radius * 0.85, length / 2),
            (0, length / 2),
        ]
        parts.add(cover, turned(lathe(profile), 90, Z))
        features.append("round ends")
        return Design(tuple(parts), cover, kind, tuple(features))
    width = rng.uniform(0.9, 1.2) if kind == "long" else rng.uniform(0.55, 0.7)
    height = width if kind == "round" else rng.uniform(0.5, 0.62)
    thick = rng.uniform(0.16, 0.26)
    parts.add(cover, _stuffed(width, height, thick, corners=0.0 if kind == "round" else rng.uniform(0.5, 1.0)))
    if kind == "round" or rng.random() < 0.4:
        trim = finish(rng, "fabric", patterned=0.0)
        parts.add(trim, cushion((0.07, 0.07, thick * 1.04), roundness=1.0, detail=12))
        features.append(article(f"{trim.colour} button"))
    return Design(tuple(parts), cover, kind, tuple(features))


def _stuffed(width: float, height: float, thick: float, *, corners: float) -> Solid:
    """Two bulging faces sewn along an outline whose corners stick out, as a filled pillow's do."""
    outline = rounded_rectangle(1.0, 1.0, roundness=1.0 if corners == 0 else 0.25, count=40)
    if corners:
        outline = (
            outline * (1 - 0.22 * corners * (1 - np.abs(np.sin(2 * np.arctan2(outline[:, 1], outline[:, 0])))))[:, None]
        )
    shrink = np.array([0.0, 0.3, 0.55, 0.75, 0.9, 1.0, 0.9, 0.75, 0.55, 0.3, 0.0])
    bulge = np.array([-1.0, -0.93, -0.78, -0.55, -0.3, 0.0, 0.3, 0.55, 0.78, 0.93, 1.0]) * thick / 2
    rings = np.zeros((len(shrink), len(outline), 3))
    rings[..., 0] = shrink[:, None] * outline[:, 0] * width
    rings[..., 1] = shrink[:, None] * outline[:, 1] * height
    rings[..., 2] = bulge[:, None]
    return draped(loft(rings))
