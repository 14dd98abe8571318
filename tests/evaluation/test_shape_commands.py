"""`c2p classify` and `c2p retrieve` as a user meets them."""

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import c2p
from c2p.cli import main
from c2p.data.shapes import open_shape
from c2p.evaluation import sheet
from c2p.evaluation.classify import percent
from c2p.evaluation.labels import read_labels
from c2p.evaluation.portraits import BACKDROP, cloud_views, mesh_views
from c2p.evaluation.sheet import fitted, text_width

OFF = "OFF\n4 4 0\n0 0 0\n1 0 0\n0 {height} 0\n0 0 1\n3 0 1 2\n3 0 1 3\n3 0 2 3\n3 1 2 3\n"
LABELS = "box,pole,a plate"


@pytest.fixture
def shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder outside any project, with meshes, a cloud, broken files and a picture."""
    place = tmp_path / "shapes"
    place.mkdir()
    for number in range(4):
        (place / f"mesh-{number}.off").write_text(OFF.format(height=1 + 2 * number))
    np.save(place / "cloud.npy", np.random.default_rng(0).normal(size=(80, 3)))
    np.save(place / "small.npy", np.random.default_rng(0).normal(size=(8, 3)))
    (place / "bad.off").write_text("OFF\nnonsense\n")
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (50, 70, 3), dtype=np.uint8)).save(place / "picture.jpg")
    with zipfile.ZipFile(tmp_path / "shapes.zip", "w") as file:
        file.write(place / "mesh-1.off", "a/mesh-1.off")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("C2P_WORKERS", "1")
    return place


def test_classify_prints_what_the_interface_gives(
    shapes: Path, place: Path, encoder: c2p.Encoder, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ["shapes/mesh-1.off", "shapes/cloud.npy", "shapes.zip:a/mesh-1.off"]
    assert main(["classify", *files, "--labels", LABELS, "--encoder", str(place), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["file"] for row in told] == files and [row["kind"] for row in told] == ["mesh", "cloud", "mesh"]
    assert told[0]["labels"] == told[2]["labels"]
    for row in told[:2]:
        expected = encoder.classify(encoder.read_points(row["file"]), LABELS.split(","))[0]
        shares = {entry["label"]: entry["probability"] for entry in row["labels"]}
        assert [shares[label] for label in LABELS.split(",")] == pytest.approx(expected, abs=1e-6)
        assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert main(["classify", *files[::-1], "--labels", "a plate,box,pole", "--encoder", str(place), "--top", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 9 and lines[0] == files[2]
    assert [re.split(r"\s{2,}|\s+\d", line.strip())[0] for line in lines[7:]] == [
        entry["label"] for entry in told[0]["labels"][:2]
    ]


def test_labels_from_a_file(shapes: Path) -> None:
    Path("labels.txt").write_text("\ufeffarmchair, red\n\n  stool \r\n", encoding="utf-8")
    assert read_labels("@labels.txt") == ["armchair, red", "stool"]
    Path("labels.txt").write_bytes(b"\xff\xfe\x00")
    for text, said in (("@labels.txt", "UTF-8"), ("@none.txt", "no such file"), ("a,,a", "'a' is there twice")):
        with pytest.raises(ValueError, match=said):
            read_labels(text)


def test_the_picture_shows_views_maps_and_bars(shapes: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = ",".join(["word", *("w" * n for n in range(1, 16))])
    arguments = ["classify", "shapes/mesh-1.off", "--labels", labels, "--encoder", str(place), "--show"]
    assert main(arguments) == 0
    assert main(["classify", "shapes/cloud.npy", *arguments[2:], "cloud.png"]) == 0
    assert "classify.png: views" in capsys.readouterr().out
    with Image.open("classify.png") as image, Image.open("cloud.png") as other:
        mesh, cloud = np.asarray(image).astype(int), np.asarray(other).astype(int)
    assert mesh.shape[1] == cloud.shape[1] and mesh.shape[0] - cloud.shape[0] == 156, "a row of views more"
    accent = (mesh == sheet.ACCENT).all(2)
    assert accent[:400].sum() == 0 and accent[400:].sum() > 500, "the best bar has the colour"
    views = mesh[95:240]
    assert ((views < 200).sum() > 500) and (views == BACKDROP).all(2).sum() > 10_000, "shapes before a backdrop"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["shapes/mesh-1.off", "--labels", "chair"], "got 1; allowed: at least two names"),
        (["shapes/mesh-1.off", "--labels", "a,b,a"], "'a' is there twice"),
        (["shapes/mesh-1.off", "--labels", "@absent"], "no such file"),
        (["shapes/mesh-1.off", "--labels", "a," + "long " * 20], "longer than the encoder reads"),
        (["shapes/mesh-1.off", "--labels", "a,b", "--top", "0"], "--top: got 0"),
        (["--labels", "a,b", "shapes/mesh-0.off", "--show", "shapes/mesh-1.off"], "a name that ends in .png"),
        (["shapes/mesh-1.off", "--labels", "a,b", "--show", "none/x.png"], "in a folder that is not there"),
        (["shapes/bad.off", "--labels", "a,b"], "shapes/bad.off: unreadable"),
        (["shapes/small.npy", "--labels", "a,b"], "shapes/small.npy: 8 points; allowed: at least 64"),
        (["shapes", "--labels", "a,b"], "a folder; name a file in it"),
        (["shapes.zip:../x.off", "--labels", "a,b"], "leaves the archive"),
        (["shapes/mesh-1.off", "--labels", "a,b", "--encoder", "shapes"], "no open_clip_config.json"),
        (["shapes/mesh-1.off", "--labels", "a,b", "--encoder", "absent"], "no such folder"),
        (["shapes/mesh-1.off", "--labels", "a,b", "--params", "absent.yaml"], "no such parameter file"),
    ],
)
def test_slips_of_classify_are_one_line(
    shapes: Path, place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    before = (shapes / "mesh-1.off").read_bytes()
    assert main(["classify", "--encoder", str(place), *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and error.startswith("c2p: ")
    assert (shapes / "mesh-1.off").read_bytes() == before


def test_retrieve_by_text_shape_and_picture(
    shapes: Path, place: Path, encoder: c2p.Encoder, capsys: pytest.CaptureFixture[str]
) -> None:
    def ask(*query: str) -> dict[str, Any]:
        assert main(["retrieve", *query, "--in", "shapes", "--encoder", str(place), "--json"]) == 0
        told: dict[str, Any] = json.loads(capsys.readouterr().out)
        return told

    names = ["cloud.npy", *(f"mesh-{n}.off" for n in range(4))]
    features = np.concatenate([encoder.encode_points(encoder.read_points(f"shapes/{name}")) for name in names])
    with Image.open("shapes/picture.jpg") as image:
        picture = encoder.encode_images(image)[0]
    queries = {
        ("a pole",): encoder.encode_text("a pole")[0],
        ("--shape", "shapes/mesh-2.off"): features[3],
        ("--image", "shapes/picture.jpg"): picture,
    }
    for number, (query, feature) in enumerate(queries.items()):
        told = ask(*query)
        cosines = features @ feature
        order = np.argsort(-cosines, kind="stable")
        assert [hit["file"] for hit in told["results"]] == [names[k] for k in order]
        assert [hit["cosine"] for hit in told["results"]] == pytest.approx(cosines[order], abs=1e-5)
        assert told["encoded"] == (0 if number else 7) and told["shapes"] == 5
        assert [row["file"] for row in told["unusable"]] == ["bad.off", "small.npy"]
    assert len(list(Path(".c2p/retrieval").iterdir())) == 1


def test_galleries(shapes: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shapes / "mesh-0.off").rename(shapes / "<b>&mesh.off")
    common = ["--in", "shapes", "--encoder", str(place), "--index", "index", "--top", "5"]
    assert main(["retrieve", "<i>pole</i>", *common, "--show", "page.html"]) == 0
    page = Path("page.html").read_text()
    assert page.count("<li>") == 5 and page.count("data:image/png;base64,") == 5 * 6
    assert "&lt;i&gt;pole" in page and "&lt;b&gt;&amp;mesh.off" in page and "<b>" not in page
    assert not re.search(r"(src|href)=.?(?!data:)\w+:", page), "nothing is fetched"
    heights = {}
    for kind, query in (
        ("text", ["pole"]),
        ("shape", ["--shape", "shapes/mesh-1.off"]),
        ("image", ["--image", "shapes/picture.jpg"]),
    ):
        assert main(["retrieve", *query, *common, "--show", f"{kind}.png"]) == 0
        with Image.open(f"{kind}.png") as image:
            heights[kind] = image.height
    assert heights["text"] < heights["shape"] < heights["image"]
    captured = capsys.readouterr()
    assert (
        "not used: bad.off: unreadable" in captured.err and "5 shapes in shapes, 2 that can't be used" in captured.err
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--in", "shapes"], "got 0 of TEXT"),
        (["a", "--shape", "b", "--in", "shapes"], "got 2 of TEXT"),
        ([" ", "--in", "shapes"], "not empty"),
        (["a", "--in", "empty"], "no shape in it"),
        (["a", "--in", "absent"], "no such folder or archive"),
        (["a", "--in", "shapes/picture.jpg"], "not a readable zip or tar"),
        (["a", "--in", "useless"], "no usable shape among 1, e.g. bad.off: unreadable"),
        (["word " * 30, "--in", "shapes"], "longer than the encoder reads"),
        (["--shape", "shapes/small.npy", "--in", "shapes"], "8 points; allowed: at least 64"),
        (["--shape", "absent.off", "--in", "shapes"], "no such file"),
        (["--image", "shapes/mesh-1.off", "--in", "shapes"], "no readable picture"),
        (["--image", "absent.png", "--in", "shapes"], "no such picture"),
        (["--image", "shapes/picture.jpg", "--in", "shapes", "--teacher", "absent"], "absent: not there"),
        (["a", "--in", "shapes", "--top", "0"], "--top: got 0"),
        (["a", "--in", "shapes", "--show", "x.gif"], "ends in .png or .html"),
        (["a", "--in", "shapes", "--index", "shapes"], "a folder"),
        (["a", "--in", "shapes", "--index", "shapes/bad.off"], "no index of shapes"),
    ],
)
def test_slips_of_retrieve_are_one_line(
    shapes: Path, place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    Path("empty").mkdir()
    Path("useless").mkdir()
    Path("useless/bad.off").write_text("OFF\nnonsense\n")
    assert main(["retrieve", "--encoder", str(place), *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and error.startswith("c2p: ")


def test_a_killed_reader_is_a_failure(
    shapes: Path, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from c2p.data import shapereading

    monkeypatch.setattr("c2p.evaluation.retrieval.read_clouds", _kill)
    assert main(["retrieve", "a", "--in", "shapes", "--encoder", str(place)]) == 1
    assert capsys.readouterr().err == f"c2p: {shapereading.ReadersDied('gone')}\n"


def _kill(*_: object, **__: object) -> object:
    from c2p.data.shapereading import ReadersDied

    raise ReadersDied("gone")
    yield


def test_a_mesh_and_its_points_fill_the_same_part_of_a_picture(encoder: c2p.Encoder, shapes: Path) -> None:
    shape = open_shape("shapes/mesh-1.off", encoder.preprocessing.render, up="y")
    assert shape.mesh is not None
    solid = mesh_views(shape.mesh, encoder.preprocessing.render, "six", 60)
    points = cloud_views(shape.points, "six", 60)
    assert solid.shape == points.shape == (6, 60, 60, 3) and solid.dtype == points.dtype == np.uint8
    for one, other in zip(solid, points, strict=True):
        first, second = ((picture != BACKDROP).any(2) for picture in (one, other))
        assert not first[0, 0] and not second[0, 0] and first.sum() > 50
        assert (first & second).sum() / second.sum() > 0.4, "the perspective's picture is smaller, at the same place"


def test_long_texts_lose_their_middle() -> None:
    long = "data/raw/modelnet40/ModelNet40.zip:ModelNet40/chair/test/chair_0018.off"
    for width in (20, 60, 200, 5000):
        short = fitted(long, width)
        assert text_width(short) <= width
        assert short == long or (sheet.ELLIPSIS in short and long.startswith(short.split(sheet.ELLIPSIS)[0]))
        assert short == long or long.endswith(short.split(sheet.ELLIPSIS)[1])
    assert "\n" not in fitted("two\nlines", 500)


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0.0 %"), (1, "100.0 %"), (0.0001, "< 0.1 %"), (0.99999, "> 99.9 %"), (0.1234, "12.3 %")]
)
def test_shares_as_people_read_them(share: float, text: str) -> None:
    assert percent(share) == text
