"""The stages pretrain, select and cross_only as processes: outs, two processes, metrics, and what they may not read."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tasks.closure import import_closure

ROOT = Path(__file__).resolve().parents[2]
GUARDED = """
import os, sys
from pathlib import Path
opened = set()
def hear(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        opened.add(Path(os.fsdecode(arguments[0])).resolve())
sys.addaudithook(hear)
from tasks.shard_map import serial
from tasks.stage import Call, run_stage
root = Path.cwd()
for seed in "01":
    run_stage(Call("pretrain", {"seed": seed}), root=root, map_=serial)
for stage in ("select", "cross_only"):
    run_stage(Call(stage), root=root, map_=serial)
inside = sorted(str(path.relative_to(root)) for path in opened if path.is_relative_to(root))
print("OPENED", *inside)
print("MODULES", *sorted(name for name in sys.modules if name.startswith(("c2p.", "tasks."))))
"""


def environment(**variables: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **variables}


def history(project: Path, seed: int) -> list[dict[str, float]]:
    return json.loads((project / f"models/pretrain/seed-{seed}/history.json").read_text())


@pytest.fixture(scope="module")
def by_two(made_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with seed 0 pre-trained by two processes."""
    project = tmp_path_factory.mktemp("two") / "project"
    shutil.copytree(made_project, project)
    done = subprocess.run(
        [sys.executable, "-m", "tasks", "pretrain", "seed=0"], cwd=project, env=environment(C2P_PROCESSES="2"),
        capture_output=True, text=True,
    )  # fmt: skip
    said = done.stderr
    assert done.returncode == 0, said
    assert "in 2 processes" in said and said.count("step 6/6") == 1, "one rank speaks"
    return project


def test_two_processes_and_one_agree_and_nothing_reads_a_benchmark(project: Path, by_two: Path) -> None:
    """The benchmark sets' files are garbage: whoever reads them fails, and whatever is opened is heard."""
    forbidden = ("data/benchmarks/modelnet40.parquet", "data/raw/modelnet40/modelnet40.zip", "data/raw/scanobjectnn.h5")
    for name in forbidden:
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_bytes(b"\0garbage")
    done = subprocess.run(
        [sys.executable, "-c", GUARDED], cwd=project, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    opened, modules = (line.split()[1:] for line in done.stdout.splitlines() if line.startswith(("OPENED", "MODULES")))
    tops = {tuple(Path(name).parts[:2]) for name in opened}
    assert {("data", "shards"), ("data", "features"), ("models", "clip"), ("models", "pretrain")} <= tops
    assert not {("data", "benchmarks"), ("data", "raw"), ("data", "clouds"), ("data", "predictions")} & tops
    assert not [name for name in modules if any(word in name for word in ("benchmark", "modelnet", "scanobject"))]
    for mine, theirs in zip(history(project, 0), history(by_two, 0), strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-3)
        assert mine["lr"] == theirs["lr"] and mine["temperature"] == theirs["temperature"] == 0.07
    assert sorted(p.name for p in (project / "models/pretrain/seed-0").iterdir()) == sorted(
        p.name for p in (by_two / "models/pretrain/seed-0").iterdir()
    )
    selected = json.loads((project / "metrics/select.json").read_text())
    trained = json.loads((project / "metrics/pretrain.json").read_text())
    for seed in (0, 1):
        rows = history(project, seed)
        best = max(rows, key=lambda row: (row["validation_accuracy"], row["epoch"]))
        chosen = selected[f"seed_{seed}"]
        assert chosen["epoch"] == best["epoch"]
        for name in ("validation_accuracy", "validation_class_mean"):
            assert chosen[name] == pytest.approx(best[name], rel=1e-5)
        assert trained[f"seed_{seed}"]["loss"] == pytest.approx(rows[-1]["loss"], rel=1e-5)
    alone = json.loads((project / "models/cross_only/checkpoints/history.json").read_text())
    both = history(project, 0)
    assert len(alone) == len(both) and all(row["loss"] == pytest.approx(row["cross"], rel=1e-6) for row in alone)
    assert any(row["loss"] != pytest.approx(row["cross"], rel=1e-3) for row in both), "there the losses are two"
    names = sorted(p.name for p in (project / "models/depth_encoder/seed-0").iterdir())
    assert sorted([*names, "checkpoints"]) == sorted(p.name for p in (project / "models/cross_only").iterdir())
    with (project / "plots/pretrain.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert {"loss", "intra", "cross", "sigma", "temperature", "lr", "grad_norm", "validation_accuracy"} <= set(table[0])
    assert not {"samples_per_s", "matmul_share"} & set(table[0]), "nothing of the machine in a tracked file"


def test_no_code_of_a_benchmark_set_is_in_the_closure() -> None:
    for stage in ("pretrain", "select", "cross_only"):
        files = [path.as_posix() for path in import_closure(f"tasks.{stage}")]
        assert not [name for name in files if any(w in name for w in ("benchmarks", "scanobjectnn", "modelnet"))]
    graph = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    stages = ("pretrain", "select", "cross_only")
    data = {d for stage in stages for d in graph[stage]["deps"] if d.startswith(("data/", "models/"))}
    assert data == {"data/features", "data/shards", "models/clip", "models/pretrain"}


def test_the_control_may_be_left_out(tmp_path: Path) -> None:
    from tasks.shard_map import serial
    from tasks.stage import Call, run_stage

    text = (ROOT / "params.yaml").read_text().replace("cross_only: true", "cross_only: false")
    (tmp_path / "params.yaml").write_text(text)
    run_stage(Call("cross_only"), root=tmp_path, map_=serial)
    assert list((tmp_path / "models/cross_only").iterdir()) == []


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("C2P_PROCESSES", "0", "a whole number of at least 1"),
        ("C2P_PROCESSES", "two", "a whole number of at least 1"),
        ("C2P_MICRO_BATCH", "-1", "a whole number, 0 for whole batches"),
        ("C2P_SAVE_MINUTES", "soon", "minutes, 0 or more"),
        ("C2P_COMPILE", "yes", "0, 1"),
        ("C2P_TENSORBOARD", "2", "0, 1"),
    ],
)
def test_variables_are_checked(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str) -> None:
    from tasks.machine import curves_folder, process_count, training_machine

    monkeypatch.setenv(variable, value)
    with pytest.raises(ValueError, match=rf"{variable}: got .*; allowed: {said}"):
        process_count(), training_machine(), curves_folder(Path(), "run")
