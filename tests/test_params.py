"""Parameters: every profile is valid, and each kind of mistake is one line that names the key."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from c2p.params import ParameterError, Params, build, load
from c2p.profiles import leave_out

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def raw() -> dict:
    return yaml.safe_load((ROOT / "profiles/demo.yaml").read_text())


def test_the_committed_parameters_are_a_profile() -> None:
    assert load(ROOT / "params.yaml") == load(ROOT / "profiles/demo.yaml")


@pytest.mark.parametrize("name", ["demo", "paper", "code", "plus"])
def test_profiles_are_valid(name: str) -> None:
    assert load(ROOT / f"profiles/{name}.yaml").profile == name


def test_meshes_needs_only_its_path() -> None:
    values = yaml.safe_load((ROOT / "profiles/meshes.yaml").read_text())
    with pytest.raises(ParameterError, match=r"download\.meshes.*--set"):
        build(values)
    values["download"]["meshes"] = "somewhere"
    assert build(values).download.source == "meshes"


def test_paper_presets_hold_the_papers_numbers() -> None:
    paper, code = (load(ROOT / f"profiles/{name}.yaml") for name in ("paper", "code"))
    for profile in (paper, code):
        assert (profile.pretrain.epochs, profile.pretrain.batch, profile.pretrain.lr) == (100, 256, 6e-3)
        assert (profile.pretrain.weight_decay, profile.pretrain.optimizer) == (1e-4, "lamb")
        assert (profile.render.size, profile.depth.size, profile.sample.points) == (224, 224, 1024)
        assert (profile.adapter.lr, profile.adapter.weight_decay, profile.adapter.batch) == (1e-3, 1e-4, 32)
    assert (paper.pretrain.temperature, code.pretrain.temperature) == (0.7, 0.07)
    assert (paper.depth.projection, paper.depth.dilation) == ("perspective", 2)
    assert (code.depth.projection, code.depth.footprint, code.depth.radius) == ("orthographic", "disc", 0.02)


def test_plus_is_code_with_one_dense_camera_and_one_cosine() -> None:
    plus, code = (load(ROOT / f"profiles/{name}.yaml") for name in ("plus", "code"))
    assert plus.depth.footprint == "surface" and plus.depth.projection == "perspective"
    assert (plus.depth.fov, plus.depth.distance) == (plus.render.fov, plus.render.distance)
    assert (plus.pretrain.precision, plus.pretrain.schedule, plus.render.centre) == ("bfloat16", "cosine", "surface")
    same = replace(
        plus,
        profile=code.profile,
        depth=code.depth,
        render=replace(plus.render, supersample=1, centre="vertices"),
        pretrain=replace(plus.pretrain, precision=code.pretrain.precision, schedule=code.pretrain.schedule),
    )
    assert same == code


def test_every_profile_draws_five_subsets_and_a_curve(raw: dict) -> None:
    for path in (ROOT / "profiles").glob("*.yaml"):
        values = yaml.safe_load(path.read_text())
        values["download"]["meshes"] = "somewhere"
        few = build(values).fewshot
        assert len(few.seeds) >= 5 and few.shots == 16 and few.curve == (1, 2, 4, 8)


def test_clouds_need_their_files(raw: dict) -> None:
    raw["download"]["benchmarks"].append("clouds")
    with pytest.raises(ParameterError, match=r"download\.clouds: got \[\]; allowed: the files of the set clouds"):
        build(raw)
    for files, said in ((["a.h5", "b.h5", "c.h5"], r"download\.clouds: got .*; allowed: one file"), ("a.h5", "a list")):
        raw["download"]["clouds"] = files
        with pytest.raises(ParameterError, match=said):
            build(raw)
    raw["download"] |= {"clouds": ["a.h5"], "clouds_classes": ["mug", "mug"]}
    with pytest.raises(ParameterError, match=r"download\.clouds_classes: got .*; allowed: entries that differ"):
        build(raw)
    raw["download"]["clouds_classes"] = ["mug "]
    with pytest.raises(ParameterError, match=r"download\.clouds_classes: got 'mug '"):
        build(raw)
    raw["download"]["clouds_classes"] = []
    raw["fewshot"]["dataset"] = "clouds"
    assert build(raw).download.clouds == ("a.h5",)


def test_every_profile_is_tested() -> None:
    assert {path.stem for path in (ROOT / "profiles").glob("*.yaml")} == {"demo", "meshes", "paper", "code", "plus"}


def test_a_surface_has_no_weighted_mean(raw: dict) -> None:
    raw["depth"] |= {"footprint": "surface", "aggregation": "weighted"}
    with pytest.raises(ParameterError, match=r"depth\.aggregation: got 'weighted'; allowed: minimum where"):
        build(raw)


@pytest.mark.parametrize(
    ("section", "key", "value", "said"),
    [
        ("pretrain", "learning_rate", 1, "unknown key"),
        ("cg3d", "alignment", "sound", "one of both, image, text"),
        ("cg3d", "templates", ["a photo"], "exactly one {}"),
        ("cg3d", "scale", 0.5, "at least 1"),
        ("cg3d", "lr_min", 1.0, "cg3d.lr"),
        ("point_encoder", "heads", 5, "a multiple of point_encoder.heads"),
        ("cg3d_student", "patch", 7, "a divisor of size"),
        ("cg3d_finetune", "shares", [0.1, 0.0], "more than 0"),
        ("pretrain", "lr", "1e-3", "write 1.0e-3"),
        ("pretrain", "lr", float("nan"), "finite number"),
        ("pretrain", "lr", 0.0, "more than 0"),
        ("fewshot", "curve", [1, 0], "at least 1"),
        ("fewshot", "curve", [2, 2], "entries that differ"),
        ("pretrain", "lr_min", 1.0, "pretrain.lr"),
        ("pretrain", "seeds", [], "at least one"),
        ("pretrain", "seeds", [1, 1], "entries that differ"),
        ("pretrain", "seeds", 3, "a list"),
        ("pretrain", "seeds", [-1], "0 to 4294967295"),
        ("teacher", "seed", 2**70, "0 to 4294967295"),
        ("zeroshot", "template", "a {} {name}", "no other braces"),
        ("pretrain", "intra", 1, "true or false"),
        ("pretrain", "precision", "float16", "one of float32, bfloat16"),
        ("pretrain", "keep_best", 0, "at least 1"),
        ("render", "size", True, "a whole number"),
        ("render", "size", 4, "at least 8"),
        ("render", "views", "eleven", "one of ten, six, one"),
        ("render", "distance", 0.5, "outside the unit sphere"),
        ("render", "max_reject_rate", 1.5, "0 to 1"),
        ("depth", "jitter", 1.0, "less than 1"),
        ("depth", "reach", 0.0, "more than 0"),
        ("download", "source", "imagenet", "one of toy"),
        ("download", "benchmarks", [], "at least one"),
        ("fewshot", "dataset", "meshes", "one of download.benchmarks"),
        ("zeroshot", "template", "a photo", "exactly one {}"),
        ("zeroshot", "templates", ["a {}", "clip-90"], "or one of clip-80, clip-7"),
        ("ablations", "dilations", [0, 1], "at least 1"),
    ],
)
def test_mistakes_are_named(raw: dict, section: str, key: str, value: object, said: str) -> None:
    raw[section][key] = value
    with pytest.raises(ParameterError) as error:
        build(raw)
    message = str(error.value)
    assert said in message and f"{section}.{key}" in message and "\n" not in message


def test_a_missing_section_or_key_is_named(raw: dict) -> None:
    without = copy.deepcopy(raw)
    del without["depth"]
    with pytest.raises(ParameterError, match="depth: missing"):
        build(without)
    del raw["depth"]["fov"]
    with pytest.raises(ParameterError, match=r"depth\.fov: missing"):
        build(raw)


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "a: [", "\x00"])
def test_files_that_are_no_parameters(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ParameterError) as error:
        load(path)
    assert "\n" not in str(error.value)


def test_an_absent_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="c2p profile use demo"):
        load(tmp_path / "params.yaml")


def test_parameters_are_frozen(raw: dict) -> None:
    params = build(raw)
    assert isinstance(params, Params)
    with pytest.raises(AttributeError):
        params.depth.size = 3  # type: ignore[misc]


def test_a_part_is_left_out_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    with pytest.raises(ParameterError, match=r"no such parameter file"):
        leave_out(tmp_path, ["cg3d"])
    path.write_text((ROOT / "profiles/demo.yaml").read_text())
    before = load(path)
    assert leave_out(tmp_path, []) == []
    with pytest.raises(ParameterError, match=r"without: got 'shards'; allowed: cg3d"):
        leave_out(tmp_path, ["cg3d", "shards"])
    assert load(path) == before
    assert leave_out(tmp_path, ["cg3d"]) == ["cg3d.run: true -> false"]
    after = load(path)
    assert not after.cg3d.run and replace(after, cg3d=before.cg3d) == before
    assert path.read_text().count("#") >= (ROOT / "profiles/demo.yaml").read_text().count("#") - 1
    written = path.stat().st_mtime_ns
    assert leave_out(tmp_path, ["cg3d"]) == [] and path.stat().st_mtime_ns == written
