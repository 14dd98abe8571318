"""`make server` as a team would run it: on PostgreSQL, with a worker for GPUs, and without a word to the world."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from postgresql import PASSWORD, binaries, postgresql
from toy_project import STAGES, Project, git, make_project

from tasks.project_server import running_url

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

GUARD = '''
"""Every process of the project starts with this: what would leave the machine is refused and recorded."""
import socket
import sys
from pathlib import Path

HERE = {"", "None", "localhost", "127.0.0.1", "::1", "0.0.0.0", socket.gethostname()}
ADDRESS = {"socket.connect": 1, "socket.sendto": 1, "socket.getaddrinfo": 0, "socket.gethostbyname": 0}

def guard(event, arguments):
    if event in ADDRESS:
        address = arguments[ADDRESS[event]]
        if event in ("socket.connect", "socket.sendto"):
            address = address[0] if isinstance(address, tuple) else ""  # else a socket in the file system
        host = address.decode() if isinstance(address, bytes) else str(address)
        if host not in HERE:
            with Path(__file__).with_name("outside.log").open("a") as log:
                log.write(f"{event} {host} {sys.argv}\\n")
            raise PermissionError(f"{event}: {host} is not this machine")

sys.addaudithook(guard)
'''

JOINT = '''
"""A number on which all processes of the stage agree."""
import torch
from c2p.data.files import write_json
from c2p.training.distributed import open_ranks
from tasks.machine import process_count
from tasks.ranks import launch, must_launch
from tasks.stage import Call

def run(params, root, map_):
    processes = process_count()
    if must_launch(processes):
        launch(Call("joint"), processes, root=root)
        return
    with open_ranks(torch.device("cpu")) as ranks:
        total = torch.tensor([ranks.rank + 1.0])
        ranks.sum_([total])
        if ranks.first:
            write_json(root / "data" / "joint.json", {"processes": ranks.size, "sum": total.item()})
'''


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """Where Prefect's server is to keep its runs: PostgreSQL where this machine has it."""
    folder = binaries()
    if folder is None:
        yield ""
        return
    with postgresql(folder) as server:
        yield f"postgresql+asyncpg://{server}/postgres"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, database: str) -> Iterator[Project]:
    """A guarded project whose server has both pools' workers; stopping it ends every process."""
    folder = tmp_path_factory.mktemp("operated")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("PREFECT_")]:
            patch.delenv(name)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            patch.setenv("C2P_PORT", str(probe.getsockname()[1]))
        settings = {"C2P_POOLS": "c2p,gpu", "C2P_PROCESSES": "2", "C2P_DEVICE": "cpu", "C2P_DATABASE": database}
        for name, value in settings.items():
            patch.setenv(name, value)
        for name in ("DVC_SITE_CACHE_DIR", "DVC_GLOBAL_CONFIG_DIR"):
            patch.setenv(name, str(folder / name))
        project = make_project(folder / "project")
        project.write("sitecustomize.py", GUARD)
        project.write("tasks/joint.py", JOINT)
        graph = (project.root / "dvc.yaml").read_text()
        project.write("dvc.yaml", f"{graph}  joint:\n    cmd: python -m tasks joint\n    outs: [data/joint.json]\n")
        try:
            project.run("flows.server", "start")
            family = children(project)
            yield project
        finally:
            project.run("flows.server", "stop")
        assert psutil.wait_procs(family, timeout=20)[1] == []
        assert running_url(project.root) is None


def children(project: Project) -> list[psutil.Process]:
    """Server and workers with all that they have started."""
    processes = json.loads((project.root / ".c2p/prefect/processes.json").read_text())
    roots = [psutil.Process(entry["pid"]) for entry in processes.values() if isinstance(entry, dict)]
    assert len(roots) == 3, "the server and two workers"
    return [member for root in roots for member in (root, *root.children(recursive=True))]


def outside(project: Project) -> str:
    log = project.root / "outside.log"
    return log.read_text() if log.exists() else ""


def test_training_processes_in_the_gpu_pool(served: Project) -> None:
    output = served.run(
        "prefect", "deployment", "run", "pretrain-pipeline/gpu", "--param", 'targets=["joint"]', "--watch"
    )
    assert "finished successfully" in output
    assert json.loads((served.root / "data/joint.json").read_text()) == {"processes": 2, "sum": 3.0}
    log = (served.root / ".c2p/prefect/worker-gpu.log").read_text()
    assert "joint in 2 processes" in log, "the run was taken by the worker of the pool gpu"
    assert "joint" not in (served.root / ".c2p/prefect/worker.log").read_text()


def test_runs_are_kept_in_postgresql(served: Project, database: str) -> None:
    if not database:
        pytest.skip("needs PostgreSQL's initdb and postgres, as Debian's package postgresql has them")
    import asyncpg

    output = served.run("prefect", "deployment", "run", "pretrain-pipeline", "--watch")
    assert "finished successfully" in output

    async def names() -> list[str]:
        connection = await asyncpg.connect(database.replace("+asyncpg", ""))
        try:
            rows = await connection.fetch("select name from flow_run where state_type = 'COMPLETED'")
        finally:
            await connection.close()
        return [row["name"] for row in rows]

    assert set(asyncio.run(names())) >= {*STAGES, "joint"}
    assert not list((served.root / ".c2p/prefect").glob("*.db*")), "nothing lies in SQLite"
    kept = "".join(path.read_text() for path in (served.root / ".c2p/prefect").glob("*.[lj]*o*"))
    assert PASSWORD not in kept and database not in kept, "neither logs nor the list of processes tell the password"


def test_a_clone_pulls_instead_of_computing(served: Project, tmp_path: Path) -> None:
    served.run("flows.pretrain_pipeline")
    served.run("dvc", "remote", "add", "-d", "storage", str(tmp_path / "remote"))
    served.run("dvc", "push")
    git(served.root, "add", "-A")
    git(served.root, "commit", "-qm", "done")
    git(tmp_path, "clone", "-q", str(served.root), "there")
    there = Project(tmp_path / "there")
    (there.root / "metrics/count.json").unlink()
    output = there.run("flows.pretrain_pipeline", "--pull", PREFECT_API_URL=str(running_url(served.root)))
    assert f"{len(STAGES) + 1} stages: 1 ran, 0 restored, {len(STAGES)} current" in output
    assert there.made() == ["count"] and there.lock == served.lock
    assert sorted(path.name for path in (there.root / "data").iterdir()) == ["grown"]


def test_nothing_reaches_outside_the_machine(served: Project) -> None:
    """After the runs above: by all that Python sees, server, workers, runs and commands kept to this machine."""
    assert outside(served) == ""
    speak = "import urllib.request; urllib.request.urlopen('http://203.0.113.1/', timeout=1)"
    done = subprocess.run(
        [sys.executable, "-c", speak], cwd=served.root, env=served.environment(), capture_output=True, text=True
    )
    assert "203.0.113.1 is not this machine" in done.stderr and "203.0.113.1" in outside(served), "the guard works"
    Path(served.root / "outside.log").unlink()
