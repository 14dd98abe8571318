"""Killed processes: nothing finished is lost, nothing half made is seen, nobody is left behind."""

import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest
from toy_project import Project, make_project, wait_at_gate


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose part 3 waits at a gate; with one worker, parts 0 to 2 are then done and 4 and 5 not begun."""
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "global"))
    project = make_project(tmp_path / "project")
    os.mkfifo(project.root / "gate-3")
    return project


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    children = psutil.Process(process.pid).children(recursive=True)
    found = [child for child in children if any("spawn_main" in word for word in child.cmdline())]
    assert found
    return found


def undisturbed_lock(project: Project, folder: Path) -> bytes:
    other = make_project(folder)
    other.run("dvc", "repro", "grow")
    return other.lock


def assert_resumed(project: Project, expected_lock: bytes) -> None:
    (project.root / "gate-3").unlink()
    assert project.made() == ["0", "1", "2"]
    project.run("dvc", "repro", "grow")
    assert sorted(project.made()) == ["0", "1", "2", "3", "4", "5"]
    assert project.lock == expected_lock
    assert not list(project.root.glob(".c2p/store/*/.tmp-*"))


def test_kill_9_of_everything_resumes_at_the_part(project: Project, tmp_path: Path) -> None:
    process = subprocess.Popen(
        ["dvc", "repro", "grow"],
        cwd=project.root,
        env=project.environment(C2P_WORKERS="1"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    gate = wait_at_gate(project)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)
    os.close(gate)
    assert not (project.root / "dvc.lock").exists()
    assert_resumed(project, undisturbed_lock(project, tmp_path / "other"))


def test_workers_end_with_a_killed_parent(project: Project) -> None:
    process = project.start("tasks", "grow", C2P_WORKERS="1")
    gate = wait_at_gate(project)
    workers = workers_of(process)
    process.kill()
    process.communicate(timeout=30)
    _, left = psutil.wait_procs(workers, timeout=20)
    os.close(gate)
    assert left == []


def test_killed_worker_is_one_line_and_exit_code_1(project: Project) -> None:
    process = project.start("tasks", "grow", C2P_WORKERS="1")
    gate = wait_at_gate(project)
    for worker in workers_of(process):
        worker.kill()
    output, _ = process.communicate(timeout=30)
    os.close(gate)
    assert process.returncode == 1
    assert "a worker process was killed" in output
    assert "Traceback" not in output
    assert project.made() == ["0", "1", "2"]


def test_ctrl_c_ends_at_once_and_leaves_nobody(project: Project) -> None:
    process = project.start("tasks", "grow", C2P_WORKERS="1")
    gate = wait_at_gate(project)
    workers = workers_of(process)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    _, left = psutil.wait_procs(workers, timeout=20)
    os.close(gate)
    assert process.returncode == 130
    assert "Traceback" not in output
    assert left == []
