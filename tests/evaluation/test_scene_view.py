"""What scenes look like on a page and in a picture."""

import base64
import json
import re

import numpy as np
import pytest

from c2p.evaluation import scene_view
from c2p.evaluation.scene_names import answer
from c2p.evaluation.scene_picture import DIM, GROUND, HEIGHT, LIT, WIDTH, drawn, scenes_sheet, search_sheet
from c2p.evaluation.scene_view import ShownScene, Vocabulary, colour, scene_page
from c2p.evaluation.sheet import PAPER

HOSTILE = '</script><script>alert("x")</script>'
WORDS = Vocabulary(("chair", "table", HOSTILE), ("a red chair", "table"), scale=10.0)


def _scene(*, truth: bool = True) -> ShownScene:
    generator = np.random.default_rng(0)
    points = generator.uniform(-1, 1, (300, 3)) * [3, 1, 2] + [100, 5, -40]
    numbers = np.repeat([0, 1, 2, -1], [100, 100, 90, 10])
    cosines = np.array([[0.9, 0.2, 0.1, 0.95, 0.0], [0.1, 0.8, 0.3, 0.7, 0.1]])
    return ShownScene("a scene", points, numbers, cosines, np.repeat([3, 0, 1], 100) if truth else None)


def _data(page: str) -> dict[str, list]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found
    return json.loads(found[1])


def test_a_page_holds_the_scene_and_what_every_text_lights_up() -> None:
    scene = _scene()
    page = scene_page([scene], WORDS, title="Scenes", note="a note")
    assert page == scene_page([scene], WORDS, title="Scenes", note="a note")
    data = _data(page)
    told = data["scenes"][0]
    grid = np.frombuffer(base64.b64decode(told["points"]), "<u2").reshape(-1, 3)
    low = scene.points.min(0)
    assert np.abs(grid / 65535 * told["size"] + low - scene.points).max() <= told["size"] / 65535
    segments = np.frombuffer(base64.b64decode(told["segments"]), "<u2").astype(int) - 1
    assert (segments == scene.numbers).all()
    assert (np.frombuffer(base64.b64decode(told["truth"]), "<u2") == scene.truth).all()
    assert told["counts"] == [100, 100, 90] and [names[0][0] for names in told["names"]] == [0, 1]
    assert told["lit"] == [[1, 0], [0, 1], [0, 0], [1, 0], [0, 1]]  # the query `table` asks what the label asks
    assert told["scores"][4] == told["scores"][1]


def test_a_page_asks_nobody_and_runs_no_labels() -> None:
    page = scene_page([_scene(truth=False)], WORDS, title=HOSTILE, note=HOSTILE)
    assert not re.search(r"https?:|//[a-z]|src=|@import|url\(|fetch\(|XMLHttp", page)
    assert page.count("<script") == 2 and 'alert("' not in page
    assert _data(page)["labels"][2] == HOSTILE and _data(page)["scenes"][0]["truth"] is None


def test_large_scenes_are_thinned_for_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene_view, "SHOWN", 50)
    told = _data(scene_page([_scene()], WORDS, title="t", note=""))["scenes"][0]
    assert len(base64.b64decode(told["points"])) == 50 * 6 and told["counts"] == [100, 100, 90]


def test_asking_is_answering() -> None:
    generator = np.random.default_rng(0)
    unit = [v / np.linalg.norm(v, axis=-1, keepdims=True) for v in generator.normal(size=(3, 7, 8))]
    features, text, more = unit[0][:, None], unit[1][:3], unit[2][:2]
    cosines = np.concatenate([features[:, 0] @ text.T, features[:, 0] @ more.T], axis=1)
    words = Vocabulary(("a", "b", "c"), ("d", "e"), scale=7.0)
    for place in range(5):
        query, labels = (more[place - 3], text) if place > 2 else (text[place], np.delete(text, place, axis=0))
        wanted = answer(features, labels, query, scale=7.0)
        scores, lit = words.ask(cosines, place)
        assert scores == pytest.approx(wanted.scores) and (lit == wanted.lit).all()
    assert words.ask(cosines[:0], 1)[0].shape == (0,)


def test_near_points_hide_far_ones_and_paper_stays_paper() -> None:
    cube = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
    toward = np.array([-np.sin(np.radians(35)), 0, np.cos(np.radians(35))]) * np.cos(np.radians(28))
    toward[1] = np.sin(np.radians(28))
    pair = np.stack([-0.5 * toward, 0.5 * toward])
    for order in ([0, 1], [1, 0]):
        ink = np.array([[255, 0, 0], [0, 0, 255]], dtype=np.uint8)
        picture = drawn(
            np.concatenate([cube, pair[order]]), np.concatenate([np.full((8, 3), 200, np.uint8), ink[order]])
        )
        colours = {tuple(c) for c in picture.reshape(-1, 3).tolist()}
        assert (0, 0, 255) in colours and (255, 0, 0) not in colours and PAPER in colours
    assert picture.shape == (HEIGHT, WIDTH, 3) and picture.dtype == np.uint8


def _inks(image: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(c) for c in np.asarray(image.convert("RGB")).reshape(-1, 3).tolist()}


def test_sheets_show_truth_names_and_what_is_lit() -> None:
    known, unknown = _scene(), _scene(truth=False)
    sheet = scenes_sheet([known, known], WORDS, ["chair", "a red chair"], note="note")
    assert {colour(0), colour(1), GROUND, DIM, PAPER} <= _inks(sheet)
    assert sheet.tobytes() == scenes_sheet([known, known], WORDS, ["chair", "a red chair"], note="note").tobytes()
    lit, plain = search_sheet(unknown, WORDS), search_sheet(unknown, Vocabulary(WORDS.labels, (), 10.0))
    assert plain.width < lit.width < sheet.width + 1 and plain.height == lit.height < sheet.height
    reddest = max(_inks(lit), key=lambda ink: ink[0] - ink[2])
    assert np.abs(np.array(reddest) - LIT).max() < 60
    assert max(ink[0] - ink[2] for ink in _inks(plain)) < reddest[0] - reddest[2]
