"""The stage cg3d_scenes and `c2p scene`, with encoders that were not trained."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from made_lab import CLASSES, REPOSITORY, Lab
from PIL import Image

import c2p
from c2p import params
from c2p.cg3d_params import PointEncoder
from c2p.cli import main
from c2p.data.benchmarks import Benchmark, write_benchmark
from c2p.data.files import write_json
from c2p.data.pointset import PointSet
from c2p.evaluation.cg3d_features import cloud_features, open_speakers
from c2p.evaluation.scene_names import best_cosines, point_labels, segment_clouds, segment_features
from c2p.evaluation.scene_segments import Clustering, segment
from c2p.evaluation.scenes import make_scenes
from c2p.geometry.points import normalise_points
from c2p.models.clip import load_clip
from c2p.models.folder import clip_digest
from c2p.models.point_model import PointModel, create_point_encoder, save_point_model
from c2p.models.preprocessing import write_preprocessing
from tasks.shard_map import serial
from tasks.stage import Call, run_stage

SIZE = PointEncoder(kind="transformer", width=16, depth=1, neighbours=4, heads=2, groups=6, token_width=8, blocks=1)
SEEDS = (0, 4)
POINTS = 200
SCENES = {
    "scenes": 2,
    "tuning_scenes": 2,
    "objects": 3,
    "floor_points": 200,
    "gap": 0.8,
    "scale": 1.2,
    "noise": 0.002,
    "turns": 2,
    "methods": ["dbscan", "hdbscan"],
    "reaches": [0.01, 3.0],
    "neighbours": [3],
    "queries": ["a thing"],
    "seed": 0,
}


def clouds(seed: int, each: int, prefix: str) -> PointSet:
    """Surfaces of boxes, poles and plates: as conftest's clouds, with points enough for segments."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(3), each)
    extents = np.array([[1.0, 1.0, 1.0], [0.1, 1.0, 0.1], [1.0, 0.1, 1.0]])[labels]
    points = generator.uniform(-1, 1, size=(len(labels), POINTS, 3))
    axis = generator.integers(0, 3, points.shape[:2])
    np.put_along_axis(points, axis[..., None], np.sign(np.take_along_axis(points, axis[..., None], 2)), 2)
    points = normalise_points(points * extents[:, None] * generator.uniform(0.9, 1.1, size=(len(labels), 1, 3)))
    return PointSet(tuple(f"{prefix}-{n:03d}" for n in range(len(labels))), points.astype(np.float32), labels)


@pytest.fixture(scope="module")
def project(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project's folder with what the stage reads; its outputs are there too."""
    root = tmp_path_factory.mktemp("scenes")
    values = yaml.safe_load((REPOSITORY / "profiles/demo.yaml").read_text())
    values["cg3d"]["seeds"], values["sample"]["points"] = list(SEEDS), 48
    values["cg3d_scenes"] = SCENES
    (root / "params.yaml").write_text(yaml.safe_dump(values))
    (root / "dvc.yaml").touch()
    shutil.copytree(lab.clip, root / "models/cg3d_clip")
    for seed in SEEDS:
        clip = load_clip(lab.clip)
        model = PointModel(
            create_point_encoder(SIZE, clip.width, seed=seed),
            SIZE,
            clip.width,
            clip_digest(root / "models/cg3d_clip"),
            None,
        )
        save_point_model(model, root / f"models/cg3d/seed-{seed}")
        write_preprocessing(params.load(root / "params.yaml"), root / f"models/cg3d/seed-{seed}")
        history = [{"epoch": 1, "validation_accuracy": 50.0 - seed, "validation_class_mean": 50.0}]
        write_json(root / f"models/cg3d/seed-{seed}/checkpoints/history.json", history)
    for number, name in enumerate(("modelnet40", "validation")):
        bench = Benchmark(name, CLASSES, clouds(number, 2, "train"), clouds(10 + number, 4, name))
        write_benchmark(root / f"data/benchmarks/{name}.parquet", bench)
    run_stage(Call("cg3d_scenes"), root=root, map_=serial)
    return root


def _metrics(project: Path) -> dict[str, Any]:
    return json.loads((project / "metrics/cg3d_scenes.json").read_text())


def _slow_miou(truth: np.ndarray, said: np.ndarray) -> float:
    """Over the objects' classes of all scenes together."""
    ious = []
    for label in range(len(CLASSES)):
        both, either = ((truth == label) & (said == label)).sum(), ((truth == label) | (said == label)).sum()
        if either:
            ious.append(both / either)
    return 100 * float(np.mean(ious))


def test_the_stage_scores_what_the_encoders_say(project: Path) -> None:
    metrics = _metrics(project)
    settings = params.load(project / "params.yaml").cg3d_scenes
    scenes = make_scenes(clouds(10, 4, "modelnet40"), CLASSES, settings, count=2)  # test objects
    told = json.loads((project / "data/cg3d_scenes/clustering.json").read_text())
    chosen = Clustering(**told["chosen"])
    assert [row["reach"] for row in told["tried"] if row["method"] == "dbscan"][-1] == 0.01  # the worst
    speakers = open_speakers(project / "models/cg3d_clip", project / "models/cg3d", SEEDS)
    labels = c2p.load(project / "models/cg3d/seed-0").encode_labels(CLASSES)
    truth = np.concatenate([scene.labels for scene in scenes])
    for row, ours in (("named", True), ("true_masks", False)):
        for seed, model in speakers.models.items():
            said = []
            for scene in scenes:
                numbers = segment(scene.points, chosen) if ours else scene.instances
                features = segment_features(
                    segment_clouds(scene.points, numbers, 48), lambda c, m=model: cloud_features(m, c), turns=2
                )
                best = best_cosines(features, labels).argmax(1)
                said.append(point_labels(numbers, best, floor=3))
            assert metrics[row]["seeds"][str(seed)] == pytest.approx(_slow_miou(truth, np.concatenate(said)), abs=1e-3)
    assert metrics["right_names"]["mean"] >= metrics["named"]["mean"]
    assert metrics["scenes"] == 2 and metrics["objects"] == 6 and metrics["points"] == len(truth)
    assert metrics["covering"] > 0.8 and set(metrics["ious"]) == set(CLASSES) and set(metrics["by_scene"]) == {"1", "2"}
    assert 0 < metrics["random_names"]["mean"] < metrics["right_names"]["mean"]


def test_the_stage_leaves_picture_and_page_and_the_same_bytes_again(project: Path, tmp_path: Path) -> None:
    folder = project / "data/cg3d_scenes"
    assert sorted(path.name for path in folder.iterdir()) == ["clustering.json", "scenes.html", "scenes.png"]
    assert Image.open(folder / "scenes.png").size[0] > 1000
    assert "a thing" in (folder / "scenes.html").read_text()
    copy = tmp_path / "again"
    shutil.copytree(project, copy)
    shutil.rmtree(copy / "data/cg3d_scenes")
    run_stage(Call("cg3d_scenes"), root=copy, map_=serial)
    for path in (*folder.iterdir(), project / "metrics/cg3d_scenes.json"):
        assert path.read_bytes() == (copy / path.relative_to(project)).read_bytes(), path


def test_left_out_it_is_empty_at_once(tmp_path: Path) -> None:
    values = yaml.safe_load((REPOSITORY / "profiles/demo.yaml").read_text())
    values["cg3d"]["run"] = False
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    run_stage(Call("cg3d_scenes"), root=tmp_path, map_=serial)
    assert json.loads((tmp_path / "metrics/cg3d_scenes.json").read_text()) == {}
    assert list((tmp_path / "data/cg3d_scenes").iterdir()) == []


@pytest.fixture
def room(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scene's file, in another unit and place; the project is the current folder."""
    settings = params.load(project / "params.yaml").cg3d_scenes
    scene = make_scenes(clouds(30, 4, "new"), CLASSES, settings, count=1)[0]
    path = tmp_path / "room.npy"
    np.save(path, scene.points.astype(np.float64) * 100 + [5000, 0, 300])
    monkeypatch.chdir(project)
    return path


def test_a_scene_is_named_and_searched(room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["scene", str(room), "--labels", "box,pole,plate", "--query", "a thing", "--query", "pole"]
    assert main([*asked, "--json", "--show", str(tmp_path / "room.html")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["segments"]) == 3 and told["points"] == 200 + 3 * POINTS
    assert told["floor"] + told["without_segment"] + sum(s["points"] for s in told["segments"]) == told["points"]
    assert all(sum(label["probability"] for label in s["labels"]) == pytest.approx(1) for s in told["segments"])
    poles = [s["segment"] for s in told["segments"] if s["labels"][0]["label"] == "pole"]
    assert [query["text"] for query in told["queries"]] == ["a thing", "pole"]
    assert told["queries"][1]["segments"] == poles
    thing = told["queries"][0]
    assert thing["points"] == sum(s["points"] for s in told["segments"] if s["segment"] in thing["segments"])
    assert told["segments"][0]["low"][0] > 4000  # in the file's own frame
    assert "room.npy" in (tmp_path / "room.html").read_text()

    assert main([*asked, "--show", str(tmp_path / "room.png")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "800 points" in lines[0] and lines[4].startswith("  “a thing” lights up") and "room.png" in lines[-1]
    assert Image.open(tmp_path / "room.png").size[0] > 800


def test_depth_encoders_name_scenes_too(room: Path, lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--encoder", str(lab.encoders / "seed-0"), "--turns", "1", "--params", "params.yaml"]
    assert main(["scene", str(room), "--labels", "box,pole", *given]) == 0
    assert capsys.readouterr().out.count("points  ") == 3


@pytest.mark.parametrize(
    "more, said",
    [
        (["--labels", "box"], "labels: got 1; allowed: at least two names"),
        (["--labels", "box,pole", "--query", " "], "--query: got an empty text; allowed: words"),
        (["--labels", "box,pole", "--turns", "0"], "--turns: got 0; allowed: at least 1"),
        (["--labels", "box,pole", "--reach", "-1"], "clustering: reach -1.0; allowed: more than 0"),
        (["--labels", "box,pole", "--show", "room.gif"], "--show: got 'room.gif'; allowed: a name that ends in .html"),
        (["--labels", "box,pole", "--encoder", "nowhere"], "nowhere: no such folder"),
        (["--labels", "box,pole", "--method", "dbscan", "--reach", "0.001"], "no segment of at least 64 points"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    room: Path, more: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["scene", str(room), *more]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_other_files_are_refused(room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mesh = tmp_path / "box.off"
    mesh.write_text("OFF\n4 4 0\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 1 2\n3 0 1 3\n3 0 2 3\n3 1 2 3\n")
    for file, said in ((mesh, "a mesh; allowed: a cloud"), (tmp_path / "no.npy", "no such file")):
        assert main(["scene", str(file), "--labels", "box,pole"]) == 2
        assert said in capsys.readouterr().err
