"""The whole graph at a tiny size: run by DVC alone and by the flow, to the same bytes."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from bucket import bucket
from compiled import copy_compiled

ROOT = Path(__file__).resolve().parent.parent
TINY = [
    "download.toy_train=3",
    "download.toy_validation=1",
    "download.toy_benchmark_train=3",
    "download.toy_benchmark_test=2",
    "render.size=32",
    "render.supersample=1",
    "render.cloud_points=512",
    "sample.points=256",
    "depth.size=32",
    "shards.samples_per_shard=40",
    "teacher.epochs=1",
    "teacher.batch=25",
    "pretrain.seeds=[0, 1]",
    "pretrain.epochs=2",
    "pretrain.batch=25",
    "pretrain.checkpoint_every=1",
    "adapter.epochs=2",
    "pointclip.epochs=2",
    "pointclip.size=32",
    "pointclip.adapter_size=32",
    "fewshot.shots=2",
    "fewshot.curve=[1]",
    "fewshot.seeds=[0, 1]",
    "fullshot.seeds=[0, 1]",
    "fullshot.epochs=2",
    "ablations.dilations=[1, 2]",
    "cg3d.seeds=[0, 1]",
    "cg3d.epochs=2",
    "cg3d.batch=25",
    "cg3d.checkpoint_every=1",
    "point_encoder.width=24",
    "point_encoder.depth=1",
    "point_encoder.groups=8",
    "point_encoder.neighbours=8",
    "point_encoder.token_width=16",
    "cg3d_student.size=32",
    "cg3d_student.width=32",
    "cg3d_student.layers=1",
    "cg3d_student.epochs=1",
    "cg3d_ablations.epochs=1",
    "cg3d_finetune.epochs=1",
    "cg3d_finetune.least_steps=2",
    "cg3d_finetune.seeds=[0, 1]",
    "cg3d_scenes.scenes=1",
    "cg3d_scenes.tuning_scenes=1",
    "cg3d_scenes.objects=2",
    "cg3d_scenes.turns=1",
]


def make_project(folder: Path) -> Path:
    """A copy of the project's files, as a repository of its own, with tiny parameters and no results."""
    names = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in names.stdout.splitlines():
        if (
            name.split("/")[0] in ("metrics", "results", "docs", "tests")
            or name == "dvc.lock"
            or not (ROOT / name).is_file()
        ):
            continue
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    copy_compiled(folder)
    run(folder, "git", "init", "-q")
    run(folder, "git", "add", "-A")
    run(folder, "git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "start")
    settings = [part for setting in TINY for part in ("--set", setting)]
    run(folder, sys.executable, "-m", "c2p.cli", "profile", "use", "demo", *settings)
    return folder


def run(folder: Path, *command: str, code: int = 0) -> str:
    """Run a command in a project's folder with this environment's programs first; its output."""
    done = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True)
    assert done.returncode == code, f"{command}: {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout + done.stderr


def environment(folder: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "PYTHONPATH": str(folder), "PREFECT_HOME": str(folder / ".c2p/prefect")}


@pytest.fixture(scope="module")
def dvc_repro(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, "subprocess.Popen[str]"]]:
    """A project that `dvc repro` brings to its tables meanwhile, when nothing else wants the processors."""
    folder = make_project(tmp_path_factory.mktemp("dvc"))
    with (
        (folder.parent / "dvc.log").open("w") as log,
        subprocess.Popen(
            ["nice", "dvc", "repro"],
            cwd=folder,
            env=environment(folder) | {"C2P_WORKERS": "1"},  # the flow has as many as there are cores
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        yield folder, process
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def by_flow(dvc_repro: object, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project brought to its tables by the flow, in-process, without a server."""
    folder = make_project(tmp_path_factory.mktemp("flow"))
    run(folder, sys.executable, "-m", "flows.pretrain_pipeline")
    return folder


@pytest.mark.slow
@pytest.mark.prefect
def test_dvc_skips_what_the_flow_has_done(by_flow: Path) -> None:
    before = (by_flow / "dvc.lock").read_bytes()
    said = run(by_flow, "dvc", "repro")
    assert "Running stage" not in said
    assert (by_flow / "dvc.lock").read_bytes() == before
    assert "Data and pipelines are up to date" in run(by_flow, "dvc", "status")


@pytest.mark.slow
@pytest.mark.prefect
def test_the_tables_are_whole(by_flow: Path) -> None:
    with (by_flow / "results/cells.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    header = (
        "table,row,column,dataset,method,pretrained,views,shots,metric,mean,std,n_seeds,chance,published,"
        "published_source,profile,data_rev,git_rev,low,high,class_mean,top3,top5,ece,why"
    )
    assert list(rows[0]) == header.split(",")
    assert {row["table"] for row in rows} >= {"1", "2", "3", "4", "5"}
    for row in rows:
        for column in ("mean", "std", "chance", "published"):
            low = -100 if row["metric"].endswith("_difference") else 0
            assert row[column] == "" or low <= float(row[column]) <= 100
    ours = [row for row in rows if row["mean"]]
    assert {row["dataset"] for row in ours if row["table"] == "1"} >= {"modelnet10", "modelnet40"}
    assert all(row["profile"] == "demo" and row["data_rev"] and row["git_rev"] for row in ours)
    for number in range(1, 6):
        assert (by_flow / f"results/table{number}.md").read_text().startswith(("#", "|", "**", "Table"))
    assert "http" not in (by_flow / "results/report.html").read_text().split("<body")[0], "the page loads nothing"


@pytest.mark.slow
@pytest.mark.prefect
def test_dvc_shows_the_figures_of_the_tables(by_flow: Path) -> None:
    said = run(by_flow, "dvc", "metrics", "show", "--json")
    shown = json.loads(said[said.index("{") : said.rindex("}") + 1])
    files = {Path(name).stem: file["data"] for name, file in next(iter(shown.values()))["data"].items()}
    with (by_flow / "results/cells.csv").open(newline="") as file:
        cells = [row for row in csv.DictReader(file) if row["mean"]]
    protocols = {"1": "zeroshot", "2": "fewshot", "3": "fullshot", "4": "ablations", "5": "ablations"}
    for row in cells:
        if row["table"] in protocols:
            found = files[protocols[row["table"]]][row["dataset"]][row["method"]]
            assert float(row["mean"]) == found["mean"] and row["std"] == str(found.get("std", ""))
    run(by_flow, "dvc", "plots", "show")
    specs = run(by_flow, "dvc", "plots", "show", "--show-vega", "plots/shots.csv")
    points = json.loads(specs[specs.index("{") : specs.rindex("}") + 1])["data"]["values"]
    curve = [row for row in cells if row["table"] == "shots" and row["shots"] != "all"]
    assert [(p["shots"], p["method"], float(p["accuracy"])) for p in points] == [
        (row["shots"], row["row"], float(row["mean"])) for row in curve
    ]


@pytest.mark.slow
@pytest.mark.prefect
def test_runs_are_timed_outside_the_outputs(by_flow: Path) -> None:
    stages = {path.stem for path in (by_flow / ".c2p/timings").glob("*.json")}
    assert {"download", "render", "pretrain@0", "pretrain@1", "cross_only", "tables"} <= stages
    run(by_flow, sys.executable, "-m", "c2p.cli", "report", "--out", "timed.html")
    assert "s in all" in (by_flow / "timed.html").read_text()
    assert "s in all" not in (by_flow / "results/report.html").read_text()


@pytest.mark.slow
@pytest.mark.prefect
def test_commands_read_what_the_run_left(by_flow: Path) -> None:
    python = sys.executable
    assert "0 problems" in run(by_flow, python, "-m", "c2p.cli", "shards", "verify")
    assert "airplane" in run(by_flow, python, "-m", "c2p.cli", "shards", "stats")
    member = "data/raw/shapenet/03001627.zip"
    import zipfile

    with zipfile.ZipFile(by_flow / member) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".obj"))
    labels = ["--labels", "chair,table,lamp"]
    assert run(by_flow, python, "-m", "c2p.cli", "classify", f"{member}:{name}", *labels).count("%") == 3
    assert "10 views" in run(by_flow, python, "-m", "c2p.cli", "render", f"{member}:{name}", "--out", "views.png")
    assert "Table 1" in run(by_flow, python, "-m", "c2p.cli", "tables", "1")


@pytest.mark.slow
@pytest.mark.prefect
def test_a_shard_cut_short_is_found(by_flow: Path, tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    shutil.copytree(by_flow / "data/shards", shards)
    tar = sorted(shards.glob("*.tar"))[0]
    tar.chmod(0o644)
    tar.write_bytes(tar.read_bytes()[: tar.stat().st_size // 2])
    said = run(by_flow, sys.executable, "-m", "c2p.cli", "shards", "verify", "--shards", str(shards), code=1)
    assert "differs from the manifest" in said


@pytest.mark.slow
@pytest.mark.prefect
def test_encoders_load_in_open_clip(by_flow: Path) -> None:
    import open_clip
    import torch

    model = open_clip.create_model(f"local-dir:{by_flow / 'models/depth_encoder'}", require_pretrained=True)
    assert model.encode_image(torch.zeros(1, 3, 64, 64)).shape[0] == 1
    best = json.loads((by_flow / "metrics/select.json").read_text())["best_seed"]
    folder = by_flow / "models/depth_encoder"
    weights = [f / "open_clip_model.safetensors" for f in (folder, folder / f"seed-{best}")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


@pytest.fixture(scope="module")
def remote(by_flow: Path, s3_server: str) -> Iterator[str]:
    """URL of DVC's remote in a bucket, to which the project of the flow, all of it committed, has pushed its data."""
    commit(by_flow)
    with bucket(s3_server) as url:
        run(by_flow, "dvc", "remote", "add", "--local", "-d", "storage", f"{url}/dvc")
        run(by_flow, "dvc", "push")
        yield f"{url}/dvc"


def commit(folder: Path) -> None:
    run(folder, "git", "add", "-A")
    run(folder, "git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "done")


def clone(project: Path, folder: Path, remote: str) -> Path:
    """What another machine has: the repository, the remote, nothing else."""
    run(project, "git", "clone", "-q", str(project), str(folder))
    run(folder, "git", "config", "user.name", "t")
    run(folder, "git", "config", "user.email", "t@example.org")
    run(folder, "dvc", "remote", "add", "--local", "-d", "storage", remote)
    return folder


def with_other_epochs(lock: str, *names: str) -> str:
    """The text of dvc.lock as if these stages had last run with other parameters."""
    for name in names:
        block = re.search(rf"^  {name}:\n(?:   .*\n)+", lock, re.MULTILINE)
        assert block and "epochs: 2" in block[0]
        lock = lock.replace(block[0], block[0].replace("epochs: 2", "epochs: 3"))
    return lock


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.prefect
def test_a_remote_holds_files_of_many_samples(by_flow: Path, remote: str) -> None:
    from c2p.data import places

    pushed = len(places.walk(remote))
    stages = yaml.safe_load((by_flow / "dvc.lock").read_text())["stages"].values()
    outs = [out for stage in stages for out in stage.get("outs", []) if out["path"].startswith(("data/", "models/"))]
    assert pushed <= sum(out.get("nfiles", 1) for out in outs) + len(outs) + 4, "files, lists of folders, four curves"
    samples = sum(1 for shard in pq.read_table(by_flow / "data/shards/manifest.parquet")["shard"] if shard.as_py())
    of_shards = next(out for out in outs if out["path"] == "data/shards")
    assert of_shards["nfiles"] == 4 and samples == 100, "three shards and their manifest"
    assert pushed < samples * 22 / 10, "ten views, ten depth maps, points and labels a sample, none a file of its own"


@pytest.mark.slow
@pytest.mark.prefect
def test_another_clone_makes_the_tables_without_raw_data(by_flow: Path, remote: str, tmp_path: Path) -> None:
    there = clone(by_flow, tmp_path / "there", remote)
    lock, results = (by_flow / "dvc.lock").read_text(), contents(by_flow / "results")
    repro = ("dvc", "repro", "--pull", "--allow-missing")
    assert "Running stage" not in run(there, *repro), "all is known to be up to date"
    assert not (there / "data").exists(), "and nothing was fetched to know it"

    shutil.rmtree(there / "results")
    (there / "metrics/fullshot.json").unlink()
    (there / "dvc.lock").write_text(with_other_epochs(lock, "fullshot", "tables"))
    assert re.findall(r"Running stage '(.+)'", run(there, *repro)) == ["fullshot", "tables"]
    fetched = {"benchmarks", "cg3d_scenes", "predictions", "shards"}
    assert {path.name for path in (there / "data").iterdir()} == fetched
    assert contents(there / "results") == results and (there / "dvc.lock").read_text() == lock


@pytest.mark.slow
@pytest.mark.prefect
def test_an_experiment_in_a_clone(by_flow: Path, remote: str, tmp_path: Path) -> None:
    there = clone(by_flow, tmp_path / "there", remote)
    experiment = ("dvc", "exp", "run", "--pull", "--allow-missing", "-n", "warm", "-S", "pretrain.temperature=0.7")
    said = run(there, *experiment, "select")
    ran = re.findall(r"Running stage '(.+)'", said)
    assert ran[-1] == "select" and sorted(ran) == ["pretrain@0", "pretrain@1", "select"], "the seeds in any order"
    shown = run(there, "dvc", "exp", "show", "--only-changed", "--csv")
    rows = {
        row["Experiment"] or row["rev"]: row for row in csv.DictReader(shown[shown.index("Experiment,") :].splitlines())
    }
    column = next(name for name in rows["warm"] if name.endswith("pretrain.temperature"))
    assert (float(rows["warm"][column]), float(rows["master"][column])) == (0.7, 0.07)
    assert len(rows["warm"]) < 20, "a table that can be read"
    difference = json.loads(run(there, "dvc", "exp", "diff", "--json", "master", "warm").splitlines()[-1])
    assert difference["params"]["params.yaml"]["pretrain.temperature"]["new"] == 0.7
    losses = difference["metrics"]["metrics/pretrain.json"]["seed_0.loss"]
    assert losses["new"] != losses["old"]


def test_pretraining_and_selection_never_see_a_benchmark() -> None:
    """Neither their code nor their inputs lead to a benchmark set."""
    from tasks.closure import import_closure

    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    for name in ("teacher", "features", "pretrain", "select", "cross_only"):
        assert not [d for d in stages[name]["deps"] if "benchmarks" in d and d.startswith("data/")]
        files = {path.as_posix() for path in import_closure(f"tasks.{name}")}
        assert not [
            f for f in files if f.endswith(("scanobjectnn.py", "modelnet.py")) or f.startswith("tasks/benchmarks")
        ]


@pytest.mark.slow
@pytest.mark.prefect
def test_dvc_and_the_flow_leave_the_same_bytes(by_flow: Path, dvc_repro: tuple[Path, "subprocess.Popen[str]"]) -> None:
    by_dvc, process = dvc_repro
    assert process.wait(1200) == 0, (by_dvc.parent / "dvc.log").read_text()[-4000:]
    assert (by_dvc / "dvc.lock").read_bytes() == (by_flow / "dvc.lock").read_bytes()
    for name in ("cells.csv", "table1.md", "report.html"):
        assert (by_dvc / "results" / name).read_bytes() == (by_flow / "results" / name).read_bytes()
    before = (by_dvc / "dvc.lock").read_bytes()
    assert "0 ran" in run(by_dvc, sys.executable, "-m", "flows.pretrain_pipeline"), "the flow skips what DVC has done"
    assert (by_dvc / "dvc.lock").read_bytes() == before


@pytest.mark.slow
@pytest.mark.prefect
def test_without_cg3d_its_stages_are_empty_at_once(by_flow: Path) -> None:
    """Last in this file: it changes the project that the others read."""
    said = run(by_flow, sys.executable, "-m", "flows.pretrain_pipeline", "--without", "cg3d")
    assert re.search(r"without cg3d: cg3d\.run: true -> false", said)
    assert json.loads((by_flow / "metrics/cg3d_clip.json").read_text()) == {}
    assert list((by_flow / "models/cg3d/seed-0").iterdir()) == []
    seconds = [float(found) for found in re.findall(r"cg3d\w*(?:@\d)?: ran \(([\d.]+) s\)", said)]
    assert seconds, said
    assert "0 ran" in run(by_flow, sys.executable, "-m", "flows.pretrain_pipeline"), "it stays so until it is turned on"
