"""New checkpoints on a real server: by event and by schedule into the history, once each, with an alarm for drops."""

import json
import os
import shutil
import socket
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from filelock import FileLock
from made_encoders import SETS, make_clip, make_encoder, make_sets, make_small, naive_accuracy
from toy_project import REPOSITORY, Project, make_project

from c2p.data.files import sha256
from c2p.evaluation.history import Row, lock_path, read_history
from c2p.evaluation.protocols import run_zeroshot
from c2p.params import load
from tasks.project_server import running_url

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

WEIGHTS = "open_clip_model.safetensors"
GOOD, OTHER, BAD, NEW = 0, 4, 2, 6
"""Noise of encoders; the test that needs one to be better than another asserts it."""

EMIT = """
import sys
from pathlib import Path
from tasks.events import checkpoint_created
path, digest, seed = sys.argv[1:]
root = Path.cwd()
checkpoint_created(root / path, root=root, digest=digest, seed=int(seed), epoch=7, accuracy=50.0, selected=True)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project with benchmark sets and two seeds' encoders, and its server."""
    folder = tmp_path_factory.mktemp("reevaluation")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("PREFECT_")]:
            patch.delenv(name)
        for name in ("DVC_SITE_CACHE_DIR", "DVC_GLOBAL_CONFIG_DIR"):
            patch.setenv(name, str(folder / name))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            patch.setenv("C2P_PORT", str(probe.getsockname()[1]))
        made = make_project(folder / "project")
        shutil.copytree(REPOSITORY / "c2p", made.root / "c2p", ignore=shutil.ignore_patterns("__pycache__"))
        made.write("emit.py", EMIT)
        made.write("metrics/select.json", json.dumps({"seed_0": {"epoch": 5}, "seed_1": {"epoch": 6}}))
        settings = make_small(made.root / "params.yaml")
        make_sets(made.root)
        make_clip(made.root, settings)
        for seed, noise in enumerate((GOOD, OTHER)):
            make_encoder(made.root, settings, noise, encoder(made, seed))
        try:
            made.run("flows.server", "start")
            yield made
        finally:
            made.run("flows.server", "stop")


def encoder(project: Project, seed: int) -> Path:
    return project.root / f"models/depth_encoder/seed-{seed}"


def history(project: Project) -> list[Row]:
    return read_history(project.root / "metrics/history.parquet")


def ask(project: Project, path: str, **filters: Any) -> Any:
    address = f"{running_url(project.root)}/{path}/filter"
    body = json.dumps(filters).encode()
    request = urllib.request.Request(address, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def runs(project: Project) -> list[dict[str, Any]]:
    """Runs of the deployment reevaluate that are not of the nightly schedule, oldest first."""
    return [run for run in reevaluations(project) if not run["auto_scheduled"]]


def reevaluations(project: Project) -> list[dict[str, Any]]:
    found = ask(project, "flow_runs", flows={"name": {"any_": ["reevaluate"]}}, sort="EXPECTED_START_TIME_ASC")
    return list(found)


def deployment(project: Project) -> dict[str, Any]:
    return next(one for one in ask(project, "deployments") if one["name"] == "reevaluate")


def emit(project: Project, seed: int, digest: str = "") -> set[str]:
    """Tell of a seed's checkpoint as the stage select does under `dvc repro`; the runs that there were before."""
    before = {run["id"] for run in runs(project)}
    weights = encoder(project, seed) / WEIGHTS
    path = weights.relative_to(project.root).as_posix()
    project.run("emit", path, digest or sha256(weights), str(seed))
    return before


def started(project: Project, before: set[str], *states: str) -> dict[str, Any]:
    """Wait until the one run that was not there before is in one of these states; the run."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        found = [run for run in runs(project) if run["id"] not in before]
        if found and all(run["state_type"] in states for run in found):
            assert len(found) == 1, "an event starts one run"
            return found[0]
        time.sleep(0.5)
    log = (project.root / ".c2p/prefect/worker.log").read_text()
    raise AssertionError(f"no run is {states} within two minutes: {runs(project)}\n{log[-4000:]}")


def run_by_event(project: Project, seed: int, digest: str = "") -> dict[str, Any]:
    """The run that an event starts, once ended."""
    return started(project, emit(project, seed, digest), "COMPLETED", "FAILED", "CRASHED")


def test_the_nightly_schedule_plans_runs(project: Project) -> None:
    deadline = time.monotonic() + 60
    while not (planned := [run for run in reevaluations(project) if run["auto_scheduled"]]):
        assert time.monotonic() < deadline, (project.root / ".c2p/prefect/server.log").read_text()[-4000:]
        time.sleep(0.5)
    times = [datetime.fromisoformat(run["expected_start_time"]) for run in planned]
    assert {(time.hour, time.minute, time.utcoffset()) for time in times} == {(3, 0, timedelta(0))}
    (schedule,) = deployment(project)["schedules"]
    assert (schedule["slug"], schedule["schedule"]["cron"], schedule["active"]) == ("nightly", "0 3 * * *", True)


def test_starting_twice_doubles_nothing_and_leaves_a_paused_schedule_paused(project: Project) -> None:
    project.run("prefect", "deployment", "schedule", "pause", "--all", "--no-prompt")
    project.run("flows.server", "start")
    written = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())["deployments"]
    there = ask(project, "deployments")
    assert sorted(one["name"] for one in there) == sorted(one["name"] for one in written)
    assert {"pretrain-pipeline", "evaluate", "reevaluate"} <= {one["name"] for one in there}
    (schedule,) = deployment(project)["schedules"]
    assert (schedule["slug"], schedule["schedule"]["cron"], schedule["active"]) == ("nightly", "0 3 * * *", False)
    automations = [one["name"] for one in ask(project, "automations")]
    assert automations.count("reevaluate a new checkpoint") == 1
    assert len(automations) == len(set(automations))


def test_an_event_starts_the_evaluation_of_its_checkpoint_and_no_other(project: Project) -> None:
    run = run_by_event(project, 0)
    assert run["state_type"] == "COMPLETED", run["state"]
    assert {name: run["parameters"][name] for name in ("seed", "epoch")} == {"seed": 0, "epoch": 7}
    rows = history(project)
    assert [(row["dataset"], row["seed"], row["epoch"]) for row in rows] == [(name, 0, 7) for name in SETS]
    for row in rows:
        assert row["accuracy"] == pytest.approx(
            naive_accuracy(project.root, encoder(project, 0), row["dataset"]), abs=1e-3
        )
        assert row["sha256"] == sha256(encoder(project, 0) / WEIGHTS)
        assert row["data_rev"] == sha256(project.root / f"data/benchmarks/{row['dataset']}.parquet")
        assert row["objects"] == 24 and row["low"] <= row["accuracy"] <= row["high"]
    artifacts = {one["key"] for one in ask(project, "artifacts", flow_runs={"id": {"any_": [run["id"]]}})}
    assert {"history", "history-trend"} <= artifacts
    assert (project.root / "plots/history.png").stat().st_size > 1000


def test_a_second_event_of_the_same_checkpoint_evaluates_nothing(project: Project) -> None:
    before = (project.root / "metrics/history.parquet").read_bytes()
    run = run_by_event(project, 0)
    assert run["state"]["name"] == "Cached" and "all 2 evaluations are in the history" in run["state"]["message"]
    assert (project.root / "metrics/history.parquet").read_bytes() == before
    assert ask(project, "task_runs", flow_runs={"id": {"any_": [run["id"]]}}) == []


def test_an_event_of_weights_that_were_replaced_evaluates_nothing(project: Project) -> None:
    before = (project.root / "metrics/history.parquet").read_bytes()
    assert run_by_event(project, 1, digest="0" * 64)["state"]["name"] == "Superseded"
    assert (project.root / "metrics/history.parquet").read_bytes() == before


def test_the_schedules_run_evaluates_what_has_come_since(project: Project) -> None:
    said = project.run("prefect", "deployment", "run", "reevaluate", "--watch")
    assert "finished successfully" in said
    rows = history(project)
    assert sorted((row["seed"], row["dataset"]) for row in rows) == [(seed, name) for seed in (0, 1) for name in SETS]
    assert {row["epoch"] for row in rows if row["seed"] == 1} == {6}, "as metrics/select.json tells"
    assert [row["when"] for row in rows] == sorted(row["when"] for row in rows)
    assert "0 new evaluations" in project.run("flows.reevaluate")


def test_evaluate_gives_the_numbers_of_the_stage_and_of_the_history(project: Project) -> None:
    said = project.run(
        "prefect", "deployment", "run", "evaluate", "-p", "encoder=models/depth_encoder/seed-1", "--watch"
    )
    assert "finished successfully" in said
    (table,) = [one for one in ask(project, "artifacts") if one["key"] == "evaluation"]
    shown = {row["set"]: row["top-1"] for row in json.loads(table["data"])}
    settings = load(project.root / "params.yaml")
    settings = replace(settings, pretrain=replace(settings.pretrain, seeds=(0, 1)))
    stage = run_zeroshot(
        settings,
        clip_dir=project.root / "models/clip",
        encoder_dir=project.root / "models/depth_encoder",
        benchmarks=sorted((project.root / "data/benchmarks").glob("*.parquet")),
        cache=project.root.parent / "another-cache",
    )
    assert shown == {name: f"{stage[name]['clip2point']['seeds']['1']:.2f}" for name in SETS}
    for row in history(project):
        assert row["accuracy"] == stage[row["dataset"]]["clip2point"]["seeds"][str(row["seed"])]
    (run,) = ask(project, "flow_runs", flows={"name": {"any_": ["evaluate"]}})
    tasks = ask(project, "task_runs", flow_runs={"id": {"any_": [run["id"]]}})
    assert sorted(task["name"] for task in tasks) == list(SETS)
    refused = project.run("flows.evaluate", "--sets", "modelnet11", code=2)
    assert "sets: got 'modelnet11'; allowed: modelnet10, modelnet40" in refused and "Traceback" not in refused


def test_a_drop_raises_an_event_and_marks_the_run_once(project: Project) -> None:
    settings, folder = load(project.root / "params.yaml"), encoder(project, 0)
    good = {row["dataset"]: row["accuracy"] for row in history(project) if row["seed"] == 0}
    shutil.rmtree(folder)
    make_encoder(project.root, settings, BAD, folder)
    bad = {name: naive_accuracy(project.root, folder, name) for name in SETS}
    assert all(good[name] - bad[name] > 2 for name in SETS)

    run = run_by_event(project, 0)
    assert (run["state"]["name"], run["state_type"], run["run_count"]) == ("AccuracyDropped", "FAILED", 1)
    assert "24 objects, 95 % interval" in run["state"]["message"]
    assert len(history(project)) == 6
    deadline = time.monotonic() + 60
    while len(found := events(project, "c2p.accuracy.dropped")) < len(SETS) and time.monotonic() < deadline:
        time.sleep(0.5)
    told = {event["resource"]["prefect.resource.name"]: event["payload"] for event in found}
    assert sorted(event["resource"]["prefect.resource.name"] for event in found) == list(SETS)
    for name in SETS:
        assert told[name]["points"] == pytest.approx(good[name] - bad[name], abs=1e-3)
        assert told[name]["best"] == good[name] and told[name]["objects"] == 24


def test_a_killed_run_leaves_what_the_next_evaluates_once(project: Project) -> None:
    make_encoder(project.root, load(project.root / "params.yaml"), NEW, encoder(project, 2))
    before = history(project)
    with FileLock(lock_path(project.root / "metrics/history.parquet")):  # where the run waits, done but for the writing
        known = emit(project, 2)
        run = started(project, known, "RUNNING")
        deadline = time.monotonic() + 60
        of_run = {"flow_run_id": {"any_": [run["id"]]}}
        while "0 of 2 evaluations are in the history" not in str(ask(project, "logs", logs=of_run)):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        worker = json.loads((project.root / ".c2p/prefect/processes.json").read_text())["worker"]
        (process,) = psutil.Process(worker["pid"]).children()
        family = [process, *process.children(recursive=True)]
        process.kill()
        psutil.wait_procs(family, timeout=30)
    assert started(project, known, "CRASHED")["id"] == run["id"]
    assert history(project) == before
    assert run_by_event(project, 2)["state_type"] == "COMPLETED", "nothing holds the slot of the deployment"
    rows = history(project)
    assert [(row["seed"], row["dataset"]) for row in rows[len(before) :]] == [(2, name) for name in SETS]
    assert len({row["key"] for row in rows}) == len(rows)
    assert "0 new evaluations" in project.run("flows.reevaluate", "models/depth_encoder/seed-2")


def events(project: Project, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ask(project, "events", filter={"event": {"name": [name]}})["events"]
    return found
