"""The processes of a training under real torchrun, with a stage made here: what they tell, how they fail and end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 120
"""For a machine with much else to do."""
TOY = """
import logging
import torch
from torch import distributed
from c2p.training.distributed import open_ranks
from c2p.training.steps import TrainingError
from tasks.progress import tell
from tasks.ranks import launch, must_launch
from tasks.stage import Call

def run(params, root, map_, seed):
    if must_launch(2):
        launch(Call("toy", {"seed": seed}), 2, root=root)
        return
    with open_ranks(torch.device("cpu")) as ranks:
        total = torch.tensor([ranks.rank + 1.0])
        ranks.sum_([total])
        logging.getLogger("c2p.toy").info("sum %d", total.item())
        if seed == "user":
            raise ValueError("two\\nlines")
        if seed == "training" and ranks.rank == 1:
            raise TrainingError("loss is nan at step 3")
        if seed == "bug" and ranks.rank == 1:
            raise KeyError("our own")
        (root / f"ready-{ranks.rank}").touch()
        while seed != "fine":
            ranks.sum_([total])
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with parameters and a package `tasks` that is the project's with one stage more."""
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks/__init__.py").write_text(f"__path__.append({str(ROOT / 'tasks')!r})\n")
    (tmp_path / "tasks/toy.py").write_text(TOY)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    return tmp_path


@contextmanager
def started(project: Path, seed: str) -> Iterator["subprocess.Popen[str]"]:
    """The stage in a session of its own; whatever it leaves is killed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tasks", "toy", f"seed={seed}"], cwd=project, env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        for left in running(project):
            left.kill()
        process.communicate()


def running(project: Path) -> list[psutil.Process]:
    """Processes that work in the project's folder."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cwd() == str(project) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def until(condition, what: str) -> None:
    """Wait for something to be so, by looking."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {PATIENCE_S} s"
        time.sleep(0.02)


def outcome(project: Path, seed: str) -> tuple[int, list[str]]:
    with started(project, seed) as process:
        said = process.communicate(timeout=PATIENCE_S)[1]
    return process.returncode, said.splitlines()


def test_one_rank_speaks_for_all(project: Path) -> None:
    code, lines = outcome(project, "fine")
    assert code == 0 and (project / "ready-0").exists() and (project / "ready-1").exists()
    assert [line[17:] for line in lines] == ["toy seed=fine in 2 processes", "sum 3"]


@pytest.mark.parametrize(
    ("seed", "code", "said"),
    [("user", 2, "two lines"), ("training", 1, "loss is nan at step 3"), ("bug", 1, "our own")],
)
def test_an_error_of_any_rank_comes_as_it_would_from_one_process(
    project: Path, seed: str, code: int, said: str
) -> None:
    got, lines = outcome(project, seed)
    assert got == code
    if seed == "bug":
        assert any('raise KeyError("our own")' in line for line in lines), "where it happened"
        return
    assert lines[-1].endswith(f"ERROR   {said}") and len(lines) == 3


@pytest.mark.parametrize("victim", ["launcher", "torchrun", "rank"])
def test_a_kill_of_any_process_ends_all_of_them(project: Path, victim: str) -> None:
    with started(project, "wait") as process:
        until(lambda: (project / "ready-1").exists() and (project / "ready-0").exists(), "two ranks")
        words = {"launcher": "tasks", "torchrun": "torch.distributed.run", "rank": "tasks.ranks"}
        chosen = [p for p in running(project) if f"-m {words[victim]} " in " ".join(p.cmdline())]
        min(chosen, key=lambda p: len(p.cmdline())).kill()
        said = process.communicate(timeout=PATIENCE_S)[1]
        until(lambda: not running(project), "all to end")
    if victim != "launcher":
        assert process.returncode == 1 and "Traceback" not in said.splitlines()[-1]
        assert "a training process was killed" in said and said.rstrip().endswith("from its last checkpoint")


def test_ctrl_c_ends_all_of_them(project: Path) -> None:
    with started(project, "wait") as process:
        until(lambda: (project / "ready-1").exists(), "two ranks")
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=PATIENCE_S)[1]
        assert process.returncode == 130 and "Traceback" not in said
        until(lambda: not running(project), "all to end")
