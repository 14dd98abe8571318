"""The flow on a real server: through the deployment, in-process, failing, killed; always the lock of `dvc repro`."""

import hashlib
import json
import os
import re
import signal
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from toy_project import STAGES, Project, make_project, wait_at_gate

from tasks.project_server import running_url

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

COUNTER = '''
"""Every process of the project that starts from now on writes down its requests; refused ones are sent again."""
import httpx
from pathlib import Path

def note(response):
    if response.status_code != 503:
        with Path(__file__).with_name("requests.log").open("a") as log:
            log.write(f"{response.request.method} {response.request.url.path}\\n")
    return response

send, send_async = httpx.Client.send, httpx.AsyncClient.send

async def noted(self, request, **options):
    return note(await send_async(self, request, **options))

httpx.Client.send = lambda self, request, **options: note(send(self, request, **options))
httpx.AsyncClient.send = noted
'''


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.fixture(scope="module")
def isolated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("flow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_SITE_CACHE_DIR", str(folder / "site"))
        patch.setenv("DVC_GLOBAL_CONFIG_DIR", str(folder / "global"))
        patch.setenv("C2P_PORT", free_port())
        for name in [name for name in os.environ if name.startswith("PREFECT_")]:
            patch.delenv(name)
        yield folder


@pytest.fixture(scope="module")
def served(isolated: Path) -> Iterator[Project]:
    """A project with its server, work pool, worker and deployments up; stopping them ends every process."""
    project = make_project(isolated / "served")
    project.write("results/table1.md", "| a | b |\n|---|---|\n| 1 | 2 |\n")
    try:
        assert f"Prefect UI: http://127.0.0.1:{os.environ['C2P_PORT']}" in project.run("flows.server", "start")
        processes = json.loads((project.root / ".c2p/prefect/processes.json").read_text())
        family = [psutil.Process(processes[part]["pid"]) for part in ("server", "worker")]
        yield project
    finally:
        project.run("flows.server", "stop")
    assert not any(process.is_running() for process in family)
    assert running_url(project.root) is None


def ask(project: Project, path: str, **filters: Any) -> Any:
    request = urllib.request.Request(
        f"{running_url(project.root)}/{path}/filter",
        json.dumps(filters).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def set_points(project: Project, points: int) -> None:
    text = (project.root / "params.yaml").read_text()
    project.write("params.yaml", re.sub(r"\bpoints: \d+", f"points: {points}", text, count=1))


def lock_of_dvc_repro(isolated: Path, points: int) -> bytes:
    """The lock that `dvc repro` leaves in a project of the same kind that no flow has touched."""
    folder = isolated / "twin"
    twin = Project(folder) if folder.exists() else make_project(folder)
    set_points(twin, points)
    twin.run("dvc", "repro")
    return twin.lock


def test_bare_deployment_name_runs_to_the_lock_of_dvc_repro(served: Project, isolated: Path) -> None:
    output = served.run("prefect", "--no-prompt", "deployment", "run", "pretrain-pipeline", "--watch")
    assert "finished successfully" in output
    assert "Traceback" not in output
    assert served.lock == lock_of_dvc_repro(isolated, 1024)

    runs = [run for run in ask(served, "flow_runs") if not run["auto_scheduled"]]  # the nightly ones are to come
    subflows = {run["name"]: run for run in runs if run["parent_task_run_id"]}
    assert sorted(subflows) == sorted(STAGES)
    assert {run["state"]["name"] for run in runs} == {"Completed"}
    parts = ask(served, "task_runs", flow_runs={"id": {"any_": [subflows["grow"]["id"]]}})
    assert sorted(part["name"] for part in parts) == [f"part-{number:05d}" for number in range(6)]
    artifacts = {artifact["key"]: artifact for artifact in ask(served, "artifacts")}
    assert {"grow-progress", "stages", "results-table1", "provenance"} <= set(artifacts)
    assert "| grow | data/grown | `" in artifacts["provenance"]["data"]
    assert f"dvc.lock: SHA-256 `{hashlib.sha256(served.lock).hexdigest()}`" in artifacts["provenance"]["data"]
    assert float(artifacts["grow-progress"]["data"]) == 100.0


def test_second_start_keeps_processes_and_deployments(served: Project) -> None:
    before = (served.root / ".c2p/prefect/processes.json").read_text()
    output = served.run("flows.server", "start")
    assert f":{os.environ['C2P_PORT']}" in output
    assert (served.root / ".c2p/prefect/processes.json").read_text() == before
    names = sorted(deployment["name"] for deployment in ask(served, "deployments"))
    assert names == ["evaluate", "gpu", "pretrain-pipeline", "reevaluate"]


def test_second_run_skips_everything_as_cached(served: Project) -> None:
    made = served.made()
    output = served.run("flows.pretrain_pipeline")
    assert f"{len(STAGES)} stages: 0 ran, 0 restored, {len(STAGES)} current" in output
    assert "Traceback" not in output
    assert served.made() == made
    flow = {"name": {"any_": ["pretrain-pipeline"]}}
    whole = ask(served, "flow_runs", flows=flow, sort="START_TIME_DESC", limit=1)[0]
    below = ask(served, "flow_runs", flow_runs={"parent_flow_run_id": {"any_": [whole["id"]]}})
    assert {run["name"]: run["state"]["name"] for run in below} == dict.fromkeys(STAGES, "Cached")
    assert {run["state"]["message"] for run in below} == {"current"}
    assert {run["state"]["type"] for run in ask(served, "task_runs", flow_runs={"id": {"any_": [whole["id"]]}})} == {
        "COMPLETED"
    }


def test_requests_of_skipped_stages_and_of_tasks(served: Project) -> None:
    """What a run costs is requests: two a skipped stage, none a task."""
    served.write("sitecustomize.py", COUNTER)
    log = served.root / "requests.log"

    def requests(*arguments: str) -> list[str]:
        log.unlink(missing_ok=True)
        served.run("flows.pretrain_pipeline", *arguments)
        return log.read_text().splitlines()

    one, all_ = requests("grow"), requests()
    kinds = {"POST /api/task_runs/", "POST /api/flow_runs/"}
    skipped = [len([line for line in lines if line in kinds]) for lines in (one, all_)]
    assert skipped == [3, 1 + 2 * len(STAGES)], "the run itself, and two a stage"
    forced = requests("grow", "--force")
    assert [line for line in forced if "task_runs" in line] == ["POST /api/task_runs/"], "six tasks, one subflow"
    (served.root / "sitecustomize.py").unlink()


def test_bad_part_is_one_line_and_exit_code_2(served: Project) -> None:
    lock = served.lock
    set_points(served, 512)
    served.write("poison-0", "")
    output = served.run("flows.pretrain_pipeline", "count", code=2)
    assert re.search(r"ERROR .*part 0: got poison; allowed: food\s*$", output)
    assert "Traceback" not in output
    assert served.lock == lock
    (served.root / "poison-0").unlink()


def test_busy_output_is_one_line_and_exit_code_1(served: Project) -> None:
    foreign = {"pid": os.getpid(), "cmd": "dvc repro grow"}
    lock = served.root / ".dvc/tmp/rwlock"
    lock.write_text(json.dumps({"write": {str(served.root / "data/grown"): foreign}, "read": {}}))
    output = served.run("flows.pretrain_pipeline", "grow", code=1)
    assert re.search(rf"ERROR .*grow: .*busy.*{os.getpid()}.*dvc repro grow", output)
    assert "Traceback" not in output
    lock.unlink()


def test_a_profile_is_put_in_place_first(served: Project, isolated: Path) -> None:
    text = (served.root / "params.yaml").read_text()
    served.write("profiles/small.yaml", re.sub(r"\bpoints: \d+", "points: 128", text, count=1))
    output = served.run(
        "prefect", "deployment", "run", "--no-prompt", "pretrain-pipeline", "-p", "profile=small", "--watch"
    )
    assert "finished successfully" in output
    assert (served.root / "params.yaml").read_text() == (served.root / "profiles/small.yaml").read_text()
    assert served.lock == lock_of_dvc_repro(isolated, 128)
    output = served.run("flows.pretrain_pipeline", "--profile", "none", code=2)
    assert re.search(r"ERROR .*profile: got 'none'; allowed: small\s*$", output)
    assert "Traceback" not in output


def test_interrupted_and_killed_flow_resumes_at_its_parts(served: Project, isolated: Path) -> None:
    set_points(served, 256)
    before = len(served.made())
    os.mkfifo(served.root / "gate-3")
    for number in (signal.SIGINT, signal.SIGKILL):
        process = served.start("flows.pretrain_pipeline", C2P_WORKERS="1")
        gate = wait_at_gate(served)
        workers = psutil.Process(process.pid).children(recursive=True)
        assert workers
        process.send_signal(number)
        process.communicate(timeout=30)
        assert psutil.wait_procs(workers, timeout=20)[1] == []
        os.close(gate)
        assert process.returncode == {signal.SIGINT: 130, signal.SIGKILL: -9}[number]
        assert served.made()[before:] == ["0", "1", "2"]
    (served.root / "gate-3").unlink()

    output = served.run("flows.pretrain_pipeline")
    assert "2 ran, 0 restored, 4 current" in output
    assert sorted(served.made()[before:]) == ["0", "1", "2", "3", "4", "5", "count"]
    assert served.lock == lock_of_dvc_repro(isolated, 256)


def test_without_a_server_the_flow_brings_its_own(isolated: Path) -> None:
    project = make_project(isolated / "alone")
    output = project.run("flows.pretrain_pipeline", "vary@0")
    assert "1 stages: 1 ran, 0 restored, 0 current" in output
    assert "Traceback" not in output
    assert project.made() == ["vary"]
