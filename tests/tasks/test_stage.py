"""`python -m tasks`: parsing, exit codes and messages, on the project's own stages and on one made here."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tasks
from tasks.shard_map import serial
from tasks.stage import Call, parse, parse_command, run_stage, stage_names

ROOT = Path(__file__).resolve().parents[2]

TOY = """
def run(params, root, map_, seed):
    if seed == "user":
        raise ValueError("two\\nlines")
    if seed == "disk":
        raise PermissionError(13, "Permission denied", "data")
    if seed == "bug":
        raise RuntimeError("our own")
    (root / "out").write_text(f"{params.profile} {seed}")
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "toy.py").write_text(TOY)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    monkeypatch.setattr(tasks, "__path__", [*tasks.__path__, str(tmp_path / "tasks")])
    yield tmp_path
    sys.modules.pop("tasks.toy", None)
    vars(tasks).pop("toy", None)


def run_in_process(folder: Path, *arguments: str) -> tuple[int, str]:
    """`python -m tasks` in `folder`, whose tasks folder joins the package; what it wrote to standard error."""
    code = "import sys, tasks; tasks.__path__.append('tasks'); from tasks.__main__ import main; "
    code += "sys.exit(main(sys.argv[1:]))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_names_are_the_modules_with_a_run(toy: Path) -> None:
    names = stage_names()
    assert "toy" in names
    assert not {"__main__", "__init__", "store", "shard_map", "stage", "dvc_stage"} & set(names)


def test_commands(toy: Path) -> None:
    assert parse_command("python -m tasks toy seed=0") == Call("toy", {"seed": "0"})
    assert parse_command("python -m tasks toy 'seed=a b=c'") == Call("toy", {"seed": "a b=c"})
    assert parse_command("torchrun -m tasks toy") is None
    for arguments in ([], ["nothing"], ["store"], ["toy", "seed"], ["toy", "=3"], ["toy", "a-b=3"]):
        with pytest.raises(ValueError, match="allowed"):
            parse(arguments)


def test_stage_gets_parameters_root_and_item(toy: Path) -> None:
    run_stage(Call("toy", {"seed": "7"}), root=toy, map_=serial)
    assert (toy / "out").read_text() == "demo 7"
    for item in ({}, {"seed": "7", "more": "8"}, {"sed": "7"}):
        with pytest.raises(ValueError, match="toy: got keys"):
            run_stage(Call("toy", item), root=toy, map_=serial)


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["toy", "seed=1"], 0, ""),
        (["toy", "seed=user"], 2, "two lines"),
        (["toy", "seed=disk"], 2, "Permission denied"),
        (["toy"], 2, "toy: got keys []; allowed: ['seed']"),
        (["nothing"], 2, "stage: got nothing; allowed: "),
        (["toy", "seed=bug"], 1, "RuntimeError: our own"),
    ],
)
def test_exit_codes(toy: Path, arguments: list[str], code: int, text: str) -> None:
    got, output = run_in_process(toy, *arguments)
    assert got == code
    assert text in output
    assert ("Traceback" in output) == (code == 1)
    if code == 2:
        assert output.count("\n") == 1


def test_bad_parameter_is_one_line(toy: Path) -> None:
    params = (toy / "params.yaml").read_text()
    (toy / "params.yaml").write_text(params.replace("points: 1024", "points: none"))
    code, output = run_in_process(toy, "toy", "seed=1")
    assert code == 2
    assert "sample.points: got 'none'" in output
    assert output.count("\n") == 1
