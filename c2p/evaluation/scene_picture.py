"""Scenes as one picture: what they hold, what the segments were named, and what a text lights up.

Letters: S points of a scene, M segments, H W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, radians, sin

import numpy as np
from PIL import Image

from c2p.evaluation.label_places import PLATE, spread
from c2p.evaluation.scene_names import point_labels, point_scores
from c2p.evaluation.scene_segments import FLOOR, NONE
from c2p.evaluation.scene_view import SHOWN, ShownScene, Vocabulary, colour, thinned
from c2p.evaluation.sheet import FAINT, GAP, MARGIN, PAPER, SMALL, TEXT, TITLE, Sheet, fitted, label_width

WIDTH, HEIGHT = 420, 270
"""Of a panel, pixels."""
TURN, TILT = 35.0, 28.0
"""Degrees that the camera stands to the side of z and above the ground."""
DISTANCE = 2.6
"""Of the camera from the scene's middle, in its longest side."""
ZOOM = 1.9
DOT = 0.0038
"""Radius of a point, in the scene's longest side."""
SHADOW, STEEP = 0.42, 9.0
"""Darkest shadow on what lies behind its neighbour, and how fast it comes."""
GROUND, DIM, LIT = (214, 219, 225), (203, 209, 216), (217, 72, 15)
"""Colours of the floor, of what a text leaves dark, and of what it lights up."""
LONGEST = 140
"""Of a segment's name, pixels."""
HEAD = 30
"""Height of a panel's title, pixels."""


@dataclass(frozen=True)
class Panel:
    """A scene in colours."""

    title: str
    colours: np.ndarray
    """(S, 3) uint8."""
    names: tuple[tuple[int, str], ...]
    """Words to put above segments, by their numbers."""


def scenes_sheet(scenes: Sequence[ShownScene], words: Vocabulary, queries: Sequence[str], *, note: str) -> Image.Image:
    """A row a scene: the truth where it is known, the names, and what the scene's query lights up.

    queries: a text a scene, of the vocabulary, or empty: no such panel.
    """
    scenes = [thinned(scene, SHOWN) for scene in scenes]
    rows = [_panels(scene, words, query) for scene, query in zip(scenes, queries, strict=True)]
    columns = max(len(row) for row in rows)
    sheet = Sheet(2 * MARGIN + columns * (WIDTH + GAP) - GAP, 56 + len(rows) * (HEAD + HEIGHT + GAP) + MARGIN)
    sheet.text((MARGIN, 12), note, size=SMALL, ink=FAINT, width=sheet.image.width - 2 * MARGIN)
    for number, (scene, row) in enumerate(zip(scenes, rows, strict=True)):
        top = 40 + number * (HEAD + HEIGHT + GAP)
        for column, panel in enumerate(row):
            title = panel.title if column else f"{scene.title}: {panel.title}"
            _put(sheet, (MARGIN + column * (WIDTH + GAP), top), scene, panel, title, bold=not column)
    return sheet.image


def search_sheet(scene: ShownScene, words: Vocabulary) -> Image.Image:
    """One scene: its names, and a panel for each query, three in a row."""
    scene = thinned(scene, SHOWN)
    panels = [_named(scene, words), *(_lit(scene, words, query) for query in words.queries)]
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    sheet = Sheet(2 * MARGIN + columns * (WIDTH + GAP) - GAP, 48 + rows * (HEAD + HEIGHT + GAP) + MARGIN)
    sheet.text((MARGIN, 12), scene.title, size=TITLE, bold=True, width=sheet.image.width - 2 * MARGIN)
    for number, panel in enumerate(panels):
        corner = MARGIN + number % columns * (WIDTH + GAP), 40 + number // columns * (HEAD + HEIGHT + GAP)
        _put(sheet, corner, scene, panel, panel.title, bold=False)
    return sheet.image


def drawn(points: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Points in perspective with shadows at edges, near ones before far ones.

    points: (S, 3); colours: (S, 3) uint8. Returns (H, W, 3) uint8.
    """
    place, depth, radius = _projected(_framed(points, points))
    middle, reach = np.rint(place).astype(int), int(np.ceil(radius.max(initial=1)))
    cells, owners = [], []
    for down in range(-reach, reach + 1):
        for across in range(-reach, reach + 1):
            column, row = middle[:, 0] + across, middle[:, 1] + down
            inside = (column >= 0) & (column < WIDTH) & (row >= 0) & (row < HEIGHT)
            inside &= across**2 + down**2 <= radius**2 + 0.3
            cells.append((row * WIDTH + column)[inside])
            owners.append(np.flatnonzero(inside))
    cell, owner = np.concatenate(cells), np.concatenate(owners)
    order = np.argsort(-depth[owner], kind="stable")  # of several values for a pixel numpy keeps the last: the nearest
    cell, owner = cell[order], owner[order]
    nearest = np.full(HEIGHT * WIDTH, np.inf)
    picture = np.full((HEIGHT * WIDTH, 3), PAPER, np.uint8)
    nearest[cell], picture[cell] = depth[owner], colours[owner]
    return _shaded(picture.reshape(HEIGHT, WIDTH, 3), nearest.reshape(HEIGHT, WIDTH))


def _put(sheet: Sheet, corner: tuple[int, int], scene: ShownScene, panel: Panel, title: str, *, bold: bool) -> None:
    """Draw a panel below its title."""
    left, top = corner
    sheet.text((left, top + 6), title, size=TEXT, width=WIDTH, bold=bold)
    sheet.picture((left, top + HEAD), drawn(scene.points, panel.colours))
    _write_names(sheet, (left, top + HEAD), scene, panel)


def _panels(scene: ShownScene, words: Vocabulary, query: str) -> list[Panel]:
    known = [] if scene.truth is None else [Panel("truth", _inked(scene.truth, words), ())]
    return [*known, _named(scene, words), *([_lit(scene, words, query)] if query else [])]


def _named(scene: ShownScene, words: Vocabulary) -> Panel:
    best = scene.cosines[:, : len(words.labels)].argmax(1) if len(scene.cosines) else np.zeros(0, int)
    said = point_labels(scene.numbers, best, floor=len(words.labels))
    names = tuple((number, words.labels[k]) for number, k in enumerate(best, FLOOR + 1))
    return Panel("named", _inked(said, words), names)


def _lit(scene: ShownScene, words: Vocabulary, query: str) -> Panel:
    scores, lit = words.ask(scene.cosines, [*words.labels, *words.queries].index(query))
    share = np.where(lit, 0.55 + 0.45 * scores, 0.35 * scores)
    ink = np.array(DIM) + point_scores(scene.numbers, share)[:, None] * (np.array(LIT) - np.array(DIM))
    ink[scene.numbers == FLOOR] = GROUND
    found = tuple((int(number), query) for number in np.flatnonzero(lit) + 1)
    return Panel(f"“{query}” lights up" + ("" if found else " nothing"), ink.round().astype(np.uint8), found)


def _inked(labels: np.ndarray, words: Vocabulary) -> np.ndarray:
    """Colours of labels: (S,) to (S, 3) uint8."""
    table = np.array([*(colour(k) for k in range(len(words.labels))), GROUND, DIM], dtype=np.uint8)
    return table[np.where(labels == NONE, len(table) - 1, labels)]


def _write_names(sheet: Sheet, corner: tuple[int, int], scene: ShownScene, panel: Panel) -> None:
    """Put names above their segments, with a line to those that had to give way."""
    shown = [(own, name) for n, name in panel.names if len(own := scene.points[scene.numbers == n])]
    if not shown:
        return
    tops = np.array([[own[:, 0].mean(), own[:, 1].max(), own[:, 2].mean()] for own, _ in shown])
    names = [fitted(name, LONGEST, size=SMALL) for _, name in shown]
    anchors, _, _ = _projected(_framed(tops, scene.points))
    places = spread(anchors, np.array([label_width(name) for name in names]), size=(WIDTH, HEIGHT))
    for place, anchor in zip(places + corner, anchors + corner, strict=True):
        if np.abs(place - anchor).max() > PLATE:
            sheet.leader((place[0], place[1] - PLATE / 2), (anchor[0], anchor[1]))
    for (x, y), name in zip(places + corner, names, strict=True):
        sheet.label((float(x), float(y)), name)


def _framed(points: np.ndarray, scene: np.ndarray) -> np.ndarray:
    """Points in the frame of a scene: its middle at the origin, its longest side 1."""
    low, high = scene.min(0), scene.max(0)
    framed: np.ndarray = (points - (low + high) / 2) / (float((high - low).max()) or 1.0)
    return framed


def _projected(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places (S, 2), columns and rows, distances (S,), and radii (S,) in pixels, of points in a scene's frame."""
    turn, tilt = radians(TURN), radians(TILT)
    across = points[:, 0] * cos(turn) + points[:, 2] * sin(turn)
    ahead = points[:, 2] * cos(turn) - points[:, 0] * sin(turn)
    up = points[:, 1] * cos(tilt) - ahead * sin(tilt)
    depth = DISTANCE - ahead * cos(tilt) - points[:, 1] * sin(tilt)
    focal = ZOOM * min(0.9 * WIDTH, 1.15 * HEIGHT)
    place = np.stack([WIDTH / 2 + across * focal / depth, 0.47 * HEIGHT - up * focal / depth], axis=1)
    size = DOT * np.sqrt(min(4.0, 12_000 / max(len(points), 1)))
    return place, depth, np.maximum(size * focal / depth, 0.6)


def _shaded(picture: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Darken what lies behind a neighbouring pixel: (H, W, 3) uint8 and (H, W) distances, infinite on paper."""
    behind = np.zeros_like(depth)
    padded = np.pad(depth, 1, constant_values=np.inf)
    known = np.isfinite(depth)
    for down, across in ((0, 1), (2, 1), (1, 0), (1, 2)):
        other = padded[down : down + depth.shape[0], across : across + depth.shape[1]]
        behind[known] += np.maximum(0.0, depth[known] - np.where(np.isfinite(other), other, np.inf)[known])
    shade = 1 - SHADOW * np.minimum(1, STEEP * behind)
    return (picture * shade[..., None]).round().astype(np.uint8)
