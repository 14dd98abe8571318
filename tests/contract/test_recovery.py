"""Every kind of death of a run, on a real server: it is cleared in time, and the next run ends as if nothing was.

The server learns of some deaths only by silence, which takes 90 s. So the deaths happen one after another before the
first test, what else needs a server is tested meanwhile, and the last tests wait for all of it at once.
"""

import contextlib
import json
import os
import re
import socket
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from toy_project import Project, make_project, wait_at_gate

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

CLEARED_SECONDS = 120
ONE = {"C2P_WORKERS": "1"}
"""One part at a time, so that none is made behind the one that waits."""
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


@dataclass
class Server:
    """A project whose server is up, asked as the user interface asks it."""

    project: Project
    url: str
    died: dict[str, float] = field(default_factory=dict)
    """When the process of a flow run was killed."""
    back: float = 0.0
    """When the server was last started after it had been killed; it starts the clocks of dead runs anew."""

    def ask(self, path: str, *, method: str = "POST", **body: Any) -> Any:
        data = json.dumps(body).encode() if method != "GET" else None
        kind = {"content-type": "application/json"}
        request = urllib.request.Request(f"{self.url}/{path}", data, kind, method=method)
        for _ in range(10):
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    return json.loads(answer.read() or b"null")
            except urllib.error.HTTPError as error:
                if error.code != 503:  # the database is locked; Prefect's own client tries again too
                    raise AssertionError(f"{path}: {error.code} {error.read().decode()}") from error
            time.sleep(1)
        raise AssertionError(f"{path}: the server stays busy")

    def runs(self) -> list[dict[str, Any]]:
        return list(self.ask("flow_runs/filter"))

    def running(self) -> str:
        """The one run that is no stage's and runs."""
        [id_] = [run["id"] for run in self.runs() if run["state_type"] == "RUNNING" and not run["parent_task_run_id"]]
        return str(id_)

    def run(self, id_: str) -> dict[str, Any]:
        return dict(self.ask(f"flow_runs/{id_}", method="GET"))

    def deploy(self, name: str = "pretrain-pipeline") -> str:
        """Hand a run of a deployment to the worker; its id."""
        return str(self.ask(f"deployments/{self.deployment(name)['id']}/create_flow_run")["id"])

    def process(self, part: str) -> psutil.Process:
        state = json.loads((self.project.root / ".c2p/prefect/processes.json").read_text())
        return psutil.Process(state[part]["pid"])

    def kill(self) -> None:
        process = self.process("server")
        process.kill()
        psutil.wait_procs([process], timeout=30)

    def gpu_slots(self) -> int:
        """How many slots of the limit `gpu`, of which there is one, are taken."""
        limit = self.ask("v2/concurrency_limits/gpu", method="GET")
        assert limit["limit"] == 1
        return int(limit["active_slots"])

    def slots(self, name: str) -> int:
        """How many runs of a deployment hold a slot."""
        return int(self.deployment(name)["global_concurrency_limit"]["active_slots"])

    def deployment(self, name: str) -> dict[str, Any]:
        return dict(self.ask(f"deployments/name/pretrain-pipeline/{name}", method="GET"))

    def stages(self, id_: str) -> list[str]:
        """The runs of stages of a run."""
        found = self.ask("flow_runs/filter", flow_runs={"parent_flow_run_id": {"any_": [id_]}})
        return [run["id"] for run in found]

    def log(self, id_: str) -> str:
        """Lines of a run and its stages."""
        wanted = {"flow_run_id": {"any_": [id_, *self.stages(id_)]}}
        lines = self.ask("logs/filter", logs=wanted, sort="TIMESTAMP_ASC")
        return "\n".join(line["message"] for line in lines)

    def ended(self, id_: str, seconds: float = 90) -> str:
        """Wait until a run has ended; the name of its state."""
        until(f"run {id_} has ended", lambda: self.run(id_)["state"]["type"] in FINAL, seconds)
        return str(self.run(id_)["state"]["name"])


def until(what: str, holds: Callable[[], Any], seconds: float = 60) -> Any:
    """Wait for a condition; what it returned."""
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.2)
    return found


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def set_points(project: Project, points: int) -> None:
    text = (project.root / "params.yaml").read_text()
    project.write("params.yaml", re.sub(r"\bpoints: \d+", f"points: {points}", text, count=1))


@contextlib.contextmanager
def gate(project: Project) -> Iterator[None]:
    """Part 3 waits until somebody opens the gate."""
    path = project.root / "gate-3"
    os.mkfifo(path)
    try:
        yield
    finally:
        path.unlink()


def twin_lock(folder: Path, points: int) -> bytes:
    """The lock that `dvc repro` leaves in a project that nobody disturbs."""
    twin = Project(folder / "twin") if (folder / "twin").exists() else make_project(folder / "twin")
    set_points(twin, points)
    twin.run("dvc", "repro")
    return twin.lock


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("recovery")
    (folder / "locks").mkdir()
    settings = {
        "DVC_SITE_CACHE_DIR": folder / "site",
        "DVC_GLOBAL_CONFIG_DIR": folder / "global",
        "TMPDIR": folder / "locks",  # those of GPUs
        "C2P_PORT": free_port(),
        "C2P_GPUS": "1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("PREFECT_")]:
            patch.delenv(name)
        for name, value in settings.items():
            patch.setenv(name, str(value))
        yield folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    project = make_project(folder / "served")
    settings = yaml.safe_load((project.root / "prefect.yaml").read_text())
    first = next(entry for entry in settings["deployments"] if entry["name"] == "pretrain-pipeline")
    settings["deployments"].append({**first, "name": "other"})
    project.write("prefect.yaml", yaml.safe_dump(settings))
    try:
        project.run("flows.server", "start", **ONE)
        yield Server(project, f"http://127.0.0.1:{os.environ['C2P_PORT']}/api")
    finally:
        project.run("flows.server", "stop")


@pytest.fixture(scope="module")
def deaths(server: Server) -> dict[str, str]:
    """Kill what there is to kill, each time while part 3 of `grow` waits; the runs' ids by what was killed.

    The last of them holds the slot of its deployment, so that later runs are of another one.
    """
    project = server.project
    killed: dict[str, str] = {}

    def at_gate(name: str, kill: Callable[[], None], *, run: str = "") -> None:
        opened = wait_at_gate(project)
        run = run or server.running()
        workers = [process for process in psutil.process_iter(["cwd", "cmdline"]) if _is_worker_of(project, process)]
        assert workers
        kill()
        server.died[run] = time.time()
        killed[name] = run
        assert psutil.wait_procs(workers, timeout=30)[1] == [], f"{name}: worker processes outlive their run"
        os.close(opened)

    set_points(project, 2048)
    run = server.deploy()
    with gate(project):
        opened = wait_at_gate(project)
        server.process("worker").kill()
        server.died[run], killed["worker"] = time.time(), run
        os.close(opened)  # it ends at the next line that it would have logged through the worker
    project.run("flows.server", "start", **ONE)
    assert server.ended(run) == "Crashed"
    set_points(project, 1024)
    made = len(project.made())

    with gate(project):
        terminal = project.start("flows.pretrain_pipeline", **ONE)
        at_gate("terminal", terminal.kill)
        terminal.communicate(timeout=30)

        run = server.deploy()
        at_gate("process", lambda: _flow_process(server).kill(), run=run)

        run = server.deploy()
        at_gate("both and the server", lambda: _kill_all(server), run=run)
    assert project.made()[made:] == ["0", "1", "2"]
    project.run("flows.server", "start", **ONE)
    server.back = time.time()
    assert server.slots("pretrain-pipeline") == 1
    return killed


def _flow_process(server: Server) -> psutil.Process:
    [process] = server.process("worker").children()
    return process


def _kill_all(server: Server) -> None:
    worker, flow, process = server.process("worker"), _flow_process(server), server.process("server")
    for victim in (worker, flow, process):
        victim.kill()
    psutil.wait_procs([process], timeout=30)


def _is_worker_of(project: Project, process: psutil.Process) -> bool:
    command = process.info["cmdline"] or []
    return process.info["cwd"] == str(project.root) and any("multiprocessing.spawn" in word for word in command)


@dataclass
class Turn:
    """Two checkouts that want the one GPU: the first held it and was killed, the second waits."""

    second: Project
    process: subprocess.Popen[str]
    died: float


@pytest.fixture(scope="module")
def turn(server: Server, deaths: dict[str, str], folder: Path) -> Iterator[Turn]:
    first, second = (make_project(folder / name) for name in ("first", "second"))
    for project in (first, second):
        project.replace("dvc.yaml", "    params: [sample]\n", "    params: [sample]\n    meta: {gpu: 1}\n")
    assert server.gpu_slots() == 0
    with gate(first):
        holder = first.start("flows.pretrain_pipeline", "grow", PREFECT_API_URL=server.url, **ONE)
        opened = wait_at_gate(first)
        assert server.gpu_slots() == 1
        waiting = second.start("flows.pretrain_pipeline", "grow", PREFECT_API_URL=server.url, PYTHONUNBUFFERED="1")
        try:
            assert waiting.stdout is not None
            line = next(line for line in waiting.stdout if "waits for a GPU" in line)
            assert "limit gpu: 1 of 1 in use" in line
            assert second.made() == []
            assert server.gpu_slots() == 1
            holder.kill()
            died = time.monotonic()
            holder.communicate(timeout=30)
            os.close(opened)
            yield Turn(second, waiting, died)
        finally:
            waiting.kill()
            waiting.communicate()


def age_clocks(project: Project, minutes: int) -> None:
    """Make the server that is down find itself so late as if it had been down for so long."""
    with contextlib.closing(sqlite3.connect(project.root / ".c2p/prefect/prefect.db")) as database, database:
        clocks = database.execute("select id, start, end from automation_bucket").fetchall()
        assert clocks
        for id_, *times in clocks:
            start, end = (str(datetime.fromisoformat(time) - timedelta(minutes=minutes)) for time in times)
            database.execute(
                "update automation_bucket set start = ?, end = ?, count = 0 where id = ?", (start, end, id_)
            )


def test_a_run_outlives_a_server_that_is_away_longer_than_the_dead_are_waited_for(server: Server, folder: Path) -> None:
    set_points(server.project, 4096)
    with gate(server.project):
        run = server.deploy()
        opened = wait_at_gate(server.project)
        server.kill()
        age_clocks(server.project, minutes=10)
        server.project.run("flows.server", "start", **ONE)
        assert server.run(run)["state"]["type"] == "RUNNING"
        server.kill()
        os.close(opened)  # now it has something to tell, and nobody to tell it to
        until("its part is made", lambda: "3" in server.project.made())
        server.project.run("flows.server", "start", **ONE)
    assert server.ended(run) == "Completed"
    states = server.ask(f"flow_run_states/?flow_run_id={run}", method="GET")
    assert "CRASHED" not in {state["type"] for state in states}
    assert {server.run(stage)["state"]["type"] for stage in server.stages(run)} == {"COMPLETED"}
    assert server.project.lock == twin_lock(folder, 4096)


def test_a_dead_worker_or_process_is_told_at_once(server: Server, deaths: dict[str, str]) -> None:
    for name in ("process", "worker"):
        run = server.run(deaths[name])
        assert run["state"]["type"] == "CRASHED", name
        assert _seconds(run["state"]["timestamp"]) - server.died[run["id"]] < 30


def test_a_run_cancelled_in_the_user_interface_lets_the_one_that_waits_go_on(
    server: Server, deaths: dict[str, str], turn: Turn, folder: Path
) -> None:
    before = len(server.project.made())
    with gate(server.project):
        run = server.deploy("other")
        opened = wait_at_gate(server.project)
        second = server.deploy("other")
        until("the second waits", lambda: server.run(second)["state"]["name"] == "AwaitingConcurrencySlot")
        answer = server.ask(f"flow_runs/{run}/set_state", state={"type": "CANCELLING", "name": "Cancelling"})
        assert answer["status"] == "ACCEPT"
        assert server.ended(run) == "Cancelled"
        os.close(opened)
    assert server.ended(second) == "Completed"
    assert sorted(made for made in server.project.made()[before:] if made != "vary") == ["3", "4", "5", "count"]
    assert server.project.lock == twin_lock(folder, 1024)
    [stage] = server.stages(run)
    until("its stage is cancelled too", lambda: server.run(stage)["state"]["type"] == "CANCELLED")


def test_a_deployed_run_waits_for_one_in_a_terminal(server: Server, deaths: dict[str, str], folder: Path) -> None:
    project = server.project
    before = len(project.made())
    set_points(project, 512)
    with gate(project):
        terminal = project.start("flows.pretrain_pipeline", **ONE)
        opened = wait_at_gate(project)
        run = server.deploy("other")
        until("the deployed run says that it waits", lambda: "this run waits" in server.log(run), 90)
        refused = project.run("flows.pretrain_pipeline", code=1)
        assert re.search(rf"ERROR .*grow: .*busy.*{terminal.pid}.*flows/pretrain_pipeline\.py", refused)
        assert "Traceback" not in refused
        os.close(opened)
    output, _ = terminal.communicate(timeout=60)
    assert terminal.returncode == 0, output
    assert server.ended(run) == "Completed"
    assert sorted(project.made()[before:]) == ["0", "1", "2", "3", "4", "5", "count"]
    assert project.lock == twin_lock(folder, 512)


def test_two_terminals_that_wait_for_each_other_make_everything_once(server: Server, folder: Path) -> None:
    project = server.project
    before = len(project.made())
    set_points(project, 333)
    both = [project.start("flows.pretrain_pipeline", "--wait", "5", **ONE) for _ in range(2)]
    said = [terminal.communicate(timeout=120)[0] for terminal in both]
    assert [terminal.returncode for terminal in both] == [0, 0], said
    assert "Traceback" not in "".join(said)
    assert sorted(project.made()[before:]) == ["0", "1", "2", "3", "4", "5", "count"]
    assert project.lock == twin_lock(folder, 333)


def test_a_stage_that_does_not_end_is_given_up(server: Server, deaths: dict[str, str], folder: Path) -> None:
    project = make_project(folder / "endless")
    with gate(project):
        output = project.run(
            "flows.pretrain_pipeline", "grow", code=1, PREFECT_API_URL=server.url, C2P_STAGE_HOURS="0.002", **ONE
        )
    assert re.search(r"ERROR .*grow: not done after 0.002 hours \(C2P_STAGE_HOURS\)", output)
    assert project.made() == ["0", "1", "2"]
    project.run("flows.pretrain_pipeline", "grow", PREFECT_API_URL=server.url, **ONE)
    assert project.made() == ["0", "1", "2", "3", "4", "5"]


def test_the_gpu_of_a_dead_run_is_free_within_two_minutes(turn: Turn) -> None:
    output, _ = turn.process.communicate(timeout=max(1, CLEARED_SECONDS - (time.monotonic() - turn.died)))
    assert turn.process.returncode == 0, output
    assert sorted(turn.second.made()) == ["0", "1", "2", "3", "4", "5"]


def test_every_dead_run_is_cleared_and_its_slot_released_within_two_minutes(
    server: Server, deaths: dict[str, str]
) -> None:
    runs = [*deaths.values(), *(stage for run in deaths.values() for stage in server.stages(run))]
    with contextlib.suppress(AssertionError):  # the next line says which
        until(
            "all are cleared", lambda: all(server.run(run)["state"]["type"] in FINAL for run in runs), CLEARED_SECONDS
        )
    assert [run for run in map(server.run, runs) if run["state"]["type"] not in FINAL] == []
    assert {server.run(run)["state"]["type"] for run in deaths.values()} == {"CRASHED"}
    for name, run in deaths.items():
        known = max(server.died[run], server.back)
        for cleared in (run, *server.stages(run)):
            assert _seconds(server.run(cleared)["state"]["timestamp"]) - known < CLEARED_SECONDS, name
    assert server.slots("pretrain-pipeline") == 0


def test_a_second_start_doubles_no_automation_and_mends_a_changed_one(server: Server) -> None:
    [before] = _ours(server)
    environment = {"PREFECT_API_URL": server.url}
    server.project.run("flows.automations", **environment)
    assert _ours(server) == [before]

    kept = {key: before[key] for key in ("name", "enabled", "actions")}
    changed = {**kept, "description": "as in a former version", "trigger": {**before["trigger"], "within": 600}}
    server.ask("automations/", **changed)
    server.ask(f"automations/{before['id']}", method="PUT", **changed)
    server.project.run("flows.automations", **environment)
    [after] = _ours(server)
    assert after["trigger"]["within"] == before["trigger"]["within"]
    assert after["description"] == before["description"]


def _ours(server: Server) -> list[dict[str, Any]]:
    """The automations of flows/automations.py; those of deployments are Prefect's own affair."""
    return [automation for automation in server.ask("automations/filter") if automation["name"].startswith("c2p: ")]


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
