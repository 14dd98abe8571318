"""A run at a terminal has a server of its own, for as long as it lives and no longer."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from flows import database
from flows.database import begin_database

ROOT = Path(__file__).resolve().parents[2]
SERVE = """
import os, sys, time
from flows import temporary
temporary.serve_here()
print(temporary.is_temporary(), *[server.pid for server in temporary._servers], os.environ.get("PREFECT_API_URL"))
sys.stdout.flush()
temporary.wait_until_ready()
print("ready")
sys.stdout.flush()
{then}
"""


def begin(folder: Path, then: str, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    (folder / "dvc.yaml").touch()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return subprocess.Popen(
        [sys.executable, "-c", SERVE.format(then=then), *arguments],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(ROOT)} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def lines(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline().strip() for _ in range(count)]


def ends(pid: int) -> bool:
    """Whether a process ends within seconds."""
    for _ in range(200):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.prefect
def test_the_server_answers_and_ends_with_its_process_even_if_that_is_killed(tmp_path: Path) -> None:
    with begin(tmp_path, "time.sleep(600)") as process:
        told, ready = lines(process, 2)
        temporary, pid, url = told.split()
        assert (temporary, ready) == ("True", "ready")
        with urllib.request.urlopen(f"{url}/health", timeout=10) as answer:
            assert answer.status == 200
        request = urllib.request.Request(f"{url}/flow_runs/count", b"{}", {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.read() == b"0", "the database has its tables"
        assert (tmp_path / ".c2p/prefect/prefect.db").is_file()
        process.send_signal(signal.SIGKILL)
    assert ends(int(pid))

    with begin(tmp_path, "from flows.terminal import leave; leave(5)") as process:  # the database is there already
        _, pid, _ = lines(process, 1)[0].split()
        assert lines(process, 1) == ["ready"]
    assert process.returncode == 5
    assert not psutil.pid_exists(int(pid)), "it was waited for"


@pytest.mark.prefect
def test_a_server_that_cannot_start_is_told_in_one_line(tmp_path: Path) -> None:
    home = tmp_path / ".c2p/prefect"
    home.mkdir(parents=True)
    (home / "prefect.db").write_bytes(b"no database at all" * 1000)
    with begin(tmp_path, "") as process:
        errors = process.communicate(timeout=120)[1]
    assert process.returncode == 1
    assert "Prefect's temporary server" in errors.splitlines()[-1]
    assert "make server" in errors.splitlines()[-1]
    assert (home / "prefect.db").read_bytes() == b"no database at all" * 1000


@pytest.mark.parametrize(
    ("arguments", "variables"), [(["--help"], {}), ([], {"PREFECT_API_URL": "http://127.0.0.1:9/api"})]
)
def test_none_is_started_that_nobody_needs(tmp_path: Path, arguments: list[str], variables: dict[str, str]) -> None:
    with begin(tmp_path, "", *arguments, **variables) as process:
        output, errors = process.communicate(timeout=60)
    assert output.split() == ["False", variables.get("PREFECT_API_URL", "None"), "ready"], errors
    assert not (tmp_path / ".c2p/prefect/prefect.db").exists()


def make_database(path: Path, revision: str) -> None:
    with closing(sqlite3.connect(path)) as made, made:
        made.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        made.execute("INSERT INTO alembic_version VALUES (?)", (revision,))


def test_a_new_project_begins_with_a_copy_of_the_empty_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "TEMPLATE", tmp_path / "template.db")
    path = tmp_path / "prefect.db"
    assert not begin_database(path), "none was made: Prefect makes its own"
    assert not path.exists()
    make_database(tmp_path / "template.db", "abc")
    assert begin_database(path)
    assert path.read_bytes() == (tmp_path / "template.db").read_bytes()
    assert begin_database(path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["prefect.db", "template.db"]


@pytest.mark.parametrize("content", ["older", "", None])
def test_another_database_is_left_as_it_is_for_prefect_to_migrate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    monkeypatch.setattr(database, "TEMPLATE", tmp_path / "template.db")
    make_database(tmp_path / "template.db", "newer")
    path = tmp_path / "prefect.db"
    if content:
        make_database(path, content)
    else:
        path.write_bytes(b"" if content is None else b"no database")
    before = path.read_bytes()
    assert not begin_database(path)
    assert path.read_bytes() == before
