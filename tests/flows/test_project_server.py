"""What the server script refuses, and how it tells its own processes from others; the rest needs a real server."""

import os
import socket
from pathlib import Path

import psutil
import pytest

from c2p.data.files import write_json
from flows.server import main, stop
from tasks.project_server import HOME, running_url


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def record(project: Path, port: int, started: float) -> None:
    entry = {"pid": os.getpid(), "started": started}
    state = {"port": port, "url": f"http://127.0.0.1:{port}", "server": entry}
    write_json(project / HOME / "processes.json", state)


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1"])
def test_impossible_port_is_one_line(
    project: Path, port: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("C2P_PORT", port)
    assert main(["start"]) == 2
    assert capsys.readouterr().err == f"C2P_PORT: got {port!r}; allowed: 1 to 65535\n"


def test_taken_port_is_one_line(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setenv("C2P_PORT", str(taken.getsockname()[1]))
        assert main(["start"]) == 2
    assert "is taken" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("C2P_POOLS", "cpu", "C2P_POOLS: got 'cpu'; allowed: one or several of c2p,gpu"),
        ("C2P_POOLS", "gpu,gpu", "C2P_POOLS: got 'gpu,gpu'"),
        ("C2P_DATABASE", "nonsense", "C2P_DATABASE: got no URL"),
        ("C2P_DATABASE", "sqlite:///runs.db", "C2P_DATABASE: got 'sqlite:///runs.db'; allowed: postgresql+asyncpg://"),
        ("C2P_DATABASE", "postgresql://me:secret@127.0.0.1:1/runs", "(Connect call failed ('127.0.0.1', 1)); allowed"),
        ("C2P_DATABASE", "postgresql://me:secret@127.0.0.1:1/runs?quux=1", "quux"),
    ],
)
def test_what_the_server_cannot_use_is_one_line(
    project: Path, name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)
    assert main(["start"]) == 2
    message = capsys.readouterr().err
    assert said in message and message.count("\n") == 1 and "secret" not in message
    assert not (project / HOME / "processes.json").exists()


def test_unknown_command_is_one_line(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["restart"]) == 2
    assert capsys.readouterr().err == "flows.server: got restart; allowed: start or stop\n"


def test_running_url_needs_the_same_process_and_an_open_port(project: Path) -> None:
    assert running_url(project) is None
    born = psutil.Process().create_time()
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        record(project, port, born)
        assert running_url(project) is None
        server.listen()
        assert running_url(project) == f"http://127.0.0.1:{port}/api"
        record(project, port, born - 3600)
        assert running_url(project) is None


def test_stop_leaves_a_process_alone_that_took_over_the_number(project: Path) -> None:
    record(project, 1, psutil.Process().create_time() - 3600)
    assert stop(project) == 0
    assert not (project / HOME / "processes.json").exists()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"server": 7}', '{"server": {"pid": "7"}}', '{"port": "x"}', "\xff"]
)
@pytest.mark.parametrize("command", ["start", "stop"])
def test_a_damaged_record_is_one_line_and_stays(
    project: Path, text: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = project / HOME / "processes.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(text.encode("latin-1"))
    assert running_url(project) is None
    assert main([command]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "processes.json: not a record of started processes; end what still runs" in said
    assert path.read_bytes() == text.encode("latin-1")
