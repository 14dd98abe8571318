"""Any method on any file: the protocols' numbers, the table people read, and one clear line for what can't be."""

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from c2p import params
from c2p.cli import main
from c2p.commands.evaluate import _work, parse_shots
from c2p.evaluation import methods
from c2p.evaluation.evaluate import evaluate
from c2p.evaluation.protocols import run_fewshot, run_zeroshot
from c2p.models.clip import create_clip, save_clip


@pytest.fixture(scope="module")
def quick(small_settings: params.Params) -> params.Params:
    """Few epochs, one encoder."""
    return replace(
        small_settings,
        pretrain=replace(small_settings.pretrain, seeds=(0,)),
        adapter=replace(small_settings.adapter, epochs=2),
        pointclip=replace(small_settings.pointclip, epochs=2),
        fullshot=replace(small_settings.fullshot, epochs=2),
        fewshot=replace(small_settings.fewshot, shots=2, curve=(1,), seeds=(0, 1)),
    )


def folders(lab: Any) -> dict[str, Path]:
    return {"encoder": lab.encoders / "seed-0", "clip_dir": lab.clip, "cache": lab.cache}


def test_every_method_wherever_it_is_defined(lab: Any, quick: params.Params) -> None:
    asked = {"slugs": methods.slugs(), "shots": [0, 1, 2, None], "seeds": [0]}
    found = evaluate(quick, lab.benchmarks[0], **asked, **folders(lab))
    assert found["set"] == {"classes": 3, "train": 9, "test": 12, "chance": 33.3333}
    assert list(found["shots"]) == ["0", "1", "2", "all"]
    for shots, by_slug in found["shots"].items():
        expected = [slug for slug in methods.slugs() if methods.pick(slug, learns=shots != "0")]
        assert list(by_slug) == expected
        for summary in by_slug.values():
            assert 0 <= summary["interval"][0] <= summary["mean"] <= summary["interval"][1] <= 100


def test_numbers_are_those_of_the_protocols(lab: Any, quick: params.Params) -> None:
    slugs = ["pointclip", "clip2point", "tip_adapter_clip"]
    asked = {"slugs": slugs, "shots": [2, 0, 1], "seeds": [0, 1]}
    found = evaluate(quick, lab.benchmarks[0], **asked, **folders(lab))["shots"]
    where = {"clip_dir": lab.clip, "encoder_dir": lab.encoders, "benchmarks": lab.benchmarks[:1], "cache": lab.cache}
    few = run_fewshot(quick, **where)["modelnet40"]
    zero = run_zeroshot(quick, **where)["modelnet40"]
    assert list(found) == ["2", "0", "1"], "in the order asked for"
    assert found["2"] == {slug: few[slug] for slug in slugs}
    assert found["1"] == {slug: few["curve"]["1"][slug] for slug in slugs}
    assert found["0"]["pointclip"] == zero["pointclip"]
    assert found["0"]["clip2point"]["mean"] == zero["clip2point"]["seeds"]["0"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slugs": ["clip2point", "best"]}, "method: got 'best'; allowed: pointclip, "),
        ({"slugs": ["linear_probe_clip"], "shots": [0]}, "linear_probe_clip: not defined for shots 0; allowed: 1, 2"),
        ({"slugs": ["pointclip_searched_on_test"], "shots": [1, None]}, "not defined for shots 1, all; allowed: 0"),
        ({"encoder": Path("nowhere")}, "nowhere: no open_clip_config.json"),
        ({"clip_dir": Path("nowhere")}, "nowhere"),
        ({"shots": [4]}, "4 shots; allowed: 1 to 3"),
    ],
)
def test_what_can_not_be_is_named(lab: Any, quick: params.Params, change: dict[str, Any], message: str) -> None:
    asked = {"slugs": ["clip2point"], "shots": [0, 1], "seeds": [0]}
    with pytest.raises(ValueError, match=r"allowed|open_clip_config") as caught:
        evaluate(quick, lab.benchmarks[0], **(asked | folders(lab) | change))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "-1", "1,,2", "many", "1.5"])
def test_shots_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="--shots: got"):
        parse_shots(text)
    assert parse_shots("0, 16,all,16") == [0, 16, None]


@pytest.fixture
def project(lab: Any, quick: params.Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A folder with params.yaml; gives the arguments that the fixtures' places need."""
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(asdict(quick)))))
    monkeypatch.chdir(tmp_path)
    where = [str(lab.encoders / "seed-0"), "--clip", str(lab.clip), "--cache", str(lab.cache), "--workers", "1"]
    return ["evaluate", *where]


def test_the_command_prints_a_table_and_writes_metrics(
    lab: Any, project: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--set", str(lab.benchmarks[0]), "--methods", "clip2point,linear_probe_depth", "--shots", "0,2"]
    assert main([*project, *asked, "--seeds", "0,1", "--out", "metrics.json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "modelnet40: 12 test objects in 3 classes, chance 33.33 %"
    assert len(lines) == 2 + 3 + 1
    assert lines[-1] == "Not defined without training objects: linear_probe_depth."
    metrics = json.loads(Path("metrics.json").read_text())
    probe = metrics["shots"]["2"]["linear_probe_depth"]
    row = next(line for line in lines if line.startswith("Linear probe on the depth"))
    assert f"{probe['mean']:.2f} ± {probe['std']:.2f}" in row
    assert row.split()[-1] == "2"


def test_the_command_lists_methods(project: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*project, "--set", "any", "--methods", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(methods.METHODS)
    assert any("searched on the test set, not comparable" in line and "shots 0 " in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "modelnet11"], "data/benchmarks/modelnet11.parquet: no such set; made here: none; make those"),
        (["--set", "broken.parquet"], "broken.parquet: not a Parquet file"),
        (["--set", "{}", "--methods", ","], "--methods: got nothing"),
        (["--set", "{}", "--methods", "clip4"], "method: got 'clip4'; allowed: pointclip, pointclip_v2,"),
        (["--set", "{}", "--shots", "few"], "--shots: got 'few'; allowed"),
        (["--set", "{}", "--seeds", "-1"], "--seeds: got '-1'; allowed"),
        (["--set", "{}", "--workers", "0"], "--workers: got 0; allowed"),
        (["--set", "{}", "--params", "no.yaml"], "no.yaml: no such parameter file"),
    ],
)
def test_wrong_input_is_one_line(
    lab: Any, project: list[str], arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("broken.parquet").write_bytes(b"no table")
    filled = [str(lab.benchmarks[0]) if argument == "{}" else argument for argument in arguments]
    assert main([*project, *filled]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert message in said[0]


def test_an_encoder_of_another_width(
    lab: Any, quick: params.Params, tmp_path: Path, project: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    narrow = create_clip(quick.teacher)
    save_clip(narrow, tmp_path / "narrow")
    file = tmp_path / "narrow" / "open_clip_config.json"
    config = json.loads(file.read_text())
    config["model_cfg"]["embed_dim"] = 64
    file.write_text(json.dumps(config))
    project[1] = str(tmp_path / "narrow")
    assert main([*project, "--set", str(lab.benchmarks[0]), "--methods", "clip2point"]) == 2
    assert "narrow: features of width 64; allowed: 128, the width of" in capsys.readouterr().err


def test_a_killed_process_is_one_line_and_a_failure(
    lab: Any, project: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any, **__: Any) -> None:
        _work(os._exit, [1, 1], workers=2)

    monkeypatch.setattr("c2p.evaluation.evaluate.evaluate", killed)
    assert main([*project, "--set", str(lab.benchmarks[0])]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert "a process was killed" in said[0]
    assert "--workers 1" in said[0]


def test_processes_give_the_same_in_the_same_order() -> None:
    assert _work(abs, [-3, 2, -1], workers=2) == _work(abs, [-3, 2, -1], workers=1) == [3, 2, 1]
