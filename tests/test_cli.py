"""The `c2p` command as a user meets it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import c2p
from c2p.cli import main
from c2p.params import load

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "profiles").mkdir()
    for path in (ROOT / "profiles").glob("*.yaml"):
        (tmp_path / "profiles" / path.name).write_text(path.read_text())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    heavy = "print([m for m in ('torch', 'numpy', 'prefect', 'dvc') if m in sys.modules])"
    code = f"import sys; from c2p.cli import build_parser; build_parser().format_help(); {heavy}"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert out.stdout.strip() == "[]"


def test_profile_use_writes_and_says_what_changed(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "use", "demo"]) == 0
    assert main(["profile", "use", "demo", "--set", "pretrain.epochs=3", "--set", "pretrain.seeds=[4, 5]"]) == 0
    out = capsys.readouterr().out
    assert "pretrain.epochs: " in out and "-> 3" in out
    params = load(project / "params.yaml")
    assert params.pretrain.epochs == 3 and params.pretrain.seeds == (4, 5)
    assert "; paper: 0.7" in (project / "params.yaml").read_text(), "comments of the profile are kept"


def test_profile_set_changes_that_key_only(project: Path) -> None:
    assert main(["profile", "use", "demo", "--set", "fullshot.epochs=7"]) == 0
    changed = yaml.safe_load((project / "params.yaml").read_text())
    plain = yaml.safe_load((ROOT / "profiles/demo.yaml").read_text())
    plain["fullshot"]["epochs"] = 7
    assert changed == plain


def test_render_draws_a_row_of_depth_maps_for_each_profile(project: Path) -> None:
    (project / "roof.off").write_text("OFF\n4 2 0\n0 0 0\n1 0 0\n1 1 .3\n0 1 0\n3 0 1 2\n3 0 2 3\n")
    assert main(["profile", "use", "demo"]) == 0
    heights = []
    for names in ([], ["paper"], ["paper", "code", "pointclip"]):
        extra = ["--depth", *names] if names else []
        assert main(["render", "roof.off", "--size", "32", "--out", "sheet.png", *extra]) == 0
        with Image.open(project / "sheet.png") as sheet:
            picture = np.asarray(sheet.convert("RGB"))
        heights.append(len(picture))
        assert picture.shape[1] > 10 * 32 and (picture[-20:, -330:] < 100).any(), "the last row shows something"
    assert heights[0] == heights[1] and heights[2] == heights[1] + 2 * 36


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["profile", "use", "nope"], "allowed: code, demo, meshes, paper"),
        (["profile", "use", "demo", "--set", "pretrain.nope=1"], "unknown key"),
        (["profile", "use", "demo", "--set", "pretrain.epochs"], "section.key=value"),
        (["profile", "use", "demo", "--set", "pretrain.epochs=-1"], "at least 1"),
        (["profile", "use", "meshes"], "--set download.meshes=PATH"),
        (["shards", "verify"], "dvc repro shards"),
        (["render", "absent.off"], "no such mesh"),
    ],
)
def test_mistakes_are_one_line_and_change_nothing(
    project: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    main(["profile", "use", "demo"])
    before = (project / "params.yaml").read_text()
    capsys.readouterr()
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and error.startswith("c2p: ")
    assert (project / "params.yaml").read_text() == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_write_permission(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project.chmod(0o500)
    assert main(["profile", "use", "demo"]) == 2
    assert "Permission denied" in capsys.readouterr().err


def test_outside_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["profile", "list"]) == 2
    assert "no dvc.yaml here" in capsys.readouterr().err


def test_the_package_lends_its_names_without_loading_anything_heavy() -> None:
    heavy = "[m for m in ('torch', 'numpy', 'h5py', 'trimesh', 'open_clip') if m in sys.modules]"
    code = f"import sys, c2p; print({heavy}, sorted(c2p.__all__), set(c2p.__all__) <= set(dir(c2p)), hasattr(c2p, 'x'))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert out.stdout.strip() == "[] ['Encoder', 'load'] True False"
    stub = (ROOT / "c2p/__init__.pyi").read_text()
    for name, module in c2p._NAMES.items():
        assert f"from {module} import {name} as {name}" in stub
        assert getattr(c2p, name).__module__ == module


def test_slips_are_told_before_pytorch_is_loaded(tmp_path: Path) -> None:
    code = (
        "import sys; from c2p.cli import main; code = main(sys.argv[1:]); "
        "print([m for m in ('torch', 'open_clip', 'transformers', 'matplotlib') if m in sys.modules]); sys.exit(code)"
    )
    for command in (["classify", "absent.off", "--labels", "a,b"], ["retrieve", "a chair", "--in", "absent"]):
        run = [sys.executable, "-c", code, *command, "--params", "params.yaml", "--encoder", str(tmp_path)]
        (tmp_path / "open_clip_config.json").write_text("{}")
        (tmp_path / "open_clip_model.safetensors").write_bytes(b"")
        out = subprocess.run(run, capture_output=True, text=True, cwd=ROOT)
        assert (out.returncode, out.stdout.strip()) == (2, "[]") and out.stderr.count("\n") == 1, out.stderr
