"""The data factory killed at fifty moments: it goes on where it stopped and leaves what an undisturbed run leaves."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from compiled import copy_compiled
from small_factory import REPOSITORY, STAGES, Print, half_made, make_factory, outs, pieces, prints

KILLS = 50
KILLS_OF = {"download": 1, "render": 4, "sample": 2, "shards": 3}
"""In one chain of runs from an empty folder to the shards."""
KILLED = -signal.SIGKILL


@dataclass(frozen=True)
class Driver:
    """The process that runs stages in copies of itself (stage_driver.py)."""

    process: subprocess.Popen[str]

    def run(self, folder: Path, stage: str, kill: dict[str, Any] | None = None) -> dict[str, Any]:
        order = {"folder": str(folder), "stage": stage, "workers": 2, "kill": kill or {}}
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        assert answer["left"] == 0, "a worker outlived its parent"
        assert "Traceback" not in answer["said"]
        return answer


@dataclass(frozen=True)
class Undisturbed:
    """What a run that nobody disturbs leaves, and how long its stages take."""

    folder: Path
    outs: dict[str, bytes]
    pieces: dict[str, bytes]
    seconds: dict[str, float]
    files: dict[str, tuple[int, int]]
    """Pieces in the store before and after each stage."""


@pytest.fixture(scope="module")
def driver() -> Iterator[Driver]:
    variables = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    script = Path(__file__).with_name("stage_driver.py")
    process = subprocess.Popen(
        [sys.executable, script], env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield Driver(process)
    process.communicate(timeout=30)
    assert process.returncode == 0


@pytest.fixture(scope="module")
def undisturbed(driver: Driver, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = make_factory(tmp_path_factory.mktemp("undisturbed"))
    seconds, files = {}, {}
    for stage in STAGES:
        before = len(pieces(folder))
        answer = driver.run(folder, stage)
        assert answer["status"] == 0, answer["said"]
        seconds[stage], files[stage] = answer["seconds"], (before, len(pieces(folder)))
    contents = {name: path.read_bytes() for name, path in pieces(folder).items()}
    assert len(contents) > 100 and half_made(folder) == []
    return Undisturbed(folder, outs(folder, *STAGES), contents, seconds, files)


def moments(rng: random.Random, undisturbed: Undisturbed, stage: str) -> list[dict[str, Any]]:
    """When to kill the runs of one stage, one after the other: spread over its time, its pieces or its file events."""
    shares = sorted(rng.uniform(0.05, 0.9) for _ in range(KILLS_OF[stage]))
    kills: list[dict[str, Any]] = []
    for share, last in zip(shares, [0.0, *shares[:-1]], strict=True):
        first, end = undisturbed.files[stage]
        kinds: list[dict[str, Any]] = [
            {"seconds": (share - last) * undisturbed.seconds[stage]},
            {"events": rng.randint(1, 60)},
            {"files": first + round(share * (end - first))},
        ]
        kind = rng.choice(kinds[: 2 if first == end else 3])
        kills.append(kind | {"whom": rng.choice(("group", "group", "parent", "worker"))})
    return kills


def test_fifty_kills_lose_nothing_and_make_nothing_twice(
    driver: Driver, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    rng = random.Random(20)
    struck = []
    for chain in range(3 * KILLS // sum(KILLS_OF.values())):
        folder = make_factory(tmp_path / f"chain-{chain}")
        for stage in STAGES:
            for kill in moments(rng, undisturbed, stage):
                answer = driver.run(folder, stage, kill)
                if answer["status"] != 0:  # else it was through before the moment came
                    struck.append((stage, kill, answer["status"]))
                    check_killed(answer, kill)
                check_pieces(folder, undisturbed)
            finished = finished_prints(folder, undisturbed)
            assert driver.run(folder, stage)["status"] == 0
            now = prints(folder)
            assert {name: now.get(name) for name in finished} == finished, "finished pieces are not made again"
            check_pieces(folder, undisturbed)
            assert half_made(folder) == []
        assert outs(folder, *STAGES) == undisturbed.outs
        assert set(pieces(folder)) == set(undisturbed.pieces)
        if len(struck) >= KILLS:
            break
    assert len(struck) >= KILLS
    assert {stage for stage, _, _ in struck} == set(STAGES)
    assert {kill["whom"] for _, kill, _ in struck} == {"group", "parent", "worker"}
    assert {next(iter(kill)) for _, kill, _ in struck} == {"seconds", "events", "files"}


def check_killed(answer: dict[str, Any], kill: dict[str, Any]) -> None:
    """A killed worker is one line and exit code 1; who is killed says nothing."""
    assert answer["status"] in (KILLED, 1), answer
    if answer["status"] == 1:
        assert kill["whom"] != "group"
        assert "a worker process was killed" in answer["said"] and "run again" in answer["said"]


def check_pieces(folder: Path, undisturbed: Undisturbed) -> None:
    """Whatever has its name is whole."""
    for name, path in pieces(folder).items():
        assert path.read_bytes() == undisturbed.pieces[name], name


def finished_prints(folder: Path, undisturbed: Undisturbed) -> dict[str, Print]:
    """Pieces that are there with all their files: a part's tar without its clouds is made again."""
    found = prints(folder)
    missing = {name.partition(".")[0] for name in undisturbed.pieces if name not in found}
    return {name: state for name, state in found.items() if name.partition(".")[0] not in missing}


def wait_for_pieces(process: subprocess.Popen[bytes], folder: Path, count: int) -> None:
    """Return once the store has some pieces."""
    while len(pieces(folder)) < count:
        try:
            process.wait(0.002)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError(f"ended with {process.returncode} before it was killed")


def variables(folder: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(folder), "C2P_WORKERS": "1", "C2P_LOG": "info"}


def test_the_real_commands_killed_in_turn(driver: Driver, undisturbed: Undisturbed, tmp_path: Path) -> None:
    """`dvc repro` with all it started, then a parent, then a spawned worker; `dvc repro` goes on to the end."""
    folder = make_factory(tmp_path / "p")
    for name in ("c2p", "tasks", ".dvc"):
        ignored = shutil.ignore_patterns("__pycache__", "tmp", "cache", "config.local")
        shutil.copytree(REPOSITORY / name, folder / name, ignore=ignored)
    copy_compiled(folder)
    for name in (".dvcignore", ".gitignore", "dvc.yaml"):
        shutil.copy(REPOSITORY / name, folder)
    subprocess.run(["git", "init", "-q", folder], check=True)
    finished: dict[str, Print] = {}
    for whom, count, words in (("group", 12, "dvc repro"), ("parent", 40, "tasks"), ("worker", 70, "tasks")):
        code, said = start_and_kill(folder, [sys.executable, "-m", *words.split(), "render"], whom, count)
        assert code == (1 if whom == "worker" else KILLED) and "Traceback" not in said
        assert ("a worker process was killed" in said) == (whom == "worker")
        assert {name: prints(folder)[name] for name in finished} == finished
        finished = finished_prints(folder, undisturbed)
        assert finished and not list((folder / "data").glob("rgb/part-*"))
        check_pieces(folder, undisturbed)
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "repro", "render"],
        cwd=folder,
        env=variables(folder),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "Stage 'download' didn't change" in done.stdout, done.stderr
    for stage in ("sample", "shards"):
        assert driver.run(folder, stage)["status"] == 0
    assert {name: prints(folder)[name] for name in finished} == finished
    assert outs(folder, *STAGES) == undisturbed.outs and half_made(folder / "data") == []


def start_and_kill(folder: Path, command: list[str], whom: str, count: int) -> tuple[int, str]:
    """Start a command, kill it or a part of it at so many pieces, wait for all it started; exit code and its words."""
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=variables(folder), stderr=log, start_new_session=True)
    wait_for_pieces(process, folder, count)
    children = psutil.Process(process.pid).children(recursive=True)
    if whom == "group":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        victim = process.pid if whom == "parent" else next(c.pid for c in children if "spawn_main" in str(c.cmdline()))
        os.kill(victim, signal.SIGKILL)
    code = process.wait(30)
    assert psutil.wait_procs(children, timeout=30)[1] == [], "workers end with their parent"
    return code, (folder / "log.txt").read_text()
