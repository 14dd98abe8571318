"""Modules of stages are imported ahead, in order, and a stage waits for its own."""

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

import tasks
from flows.ahead import import_ahead, wait_for_import

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def add_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Adds modules to the package `tasks` for a test."""
    monkeypatch.setattr(tasks, "__path__", [*tasks.__path__, str(tmp_path)])

    def add(name: str, code: str) -> None:
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(code), encoding="utf-8")
        monkeypatch.delitem(sys.modules, f"tasks.{name}", raising=False)

    return add


def test_a_stage_waits_until_its_module_is_whole(add_stage: Callable[[str, str], None]) -> None:
    add_stage("slow_one", "import time\ntime.sleep(0.5)\ndone = True\n")
    add_stage("broken_one", "raise RuntimeError('for whoever imports it')\n")
    add_stage("third_one", "import sys\nafter = 'tasks.slow_one' in sys.modules\n")
    import_ahead(["slow_one@0", "slow_one@1", "broken_one", "of_nobody", "third_one"])
    wait_for_import("slow_one@1")
    assert sys.modules["tasks.slow_one"].done  # type: ignore[attr-defined]
    for name in ("broken_one", "of_nobody", "third_one", "never_named"):
        wait_for_import(name)
    assert sys.modules["tasks.third_one"].after  # type: ignore[attr-defined]


LEAVE = """
import atexit, sys, threading, time
from flows.terminal import leave
atexit.register(lambda: print("last"))
atexit.register(lambda: print("but one"))
def work():
    time.sleep(0.3)
    print("thread")
threading.Thread(target=work).start()
sys.stdout.write("first, ")
leave(7)
"""


def test_a_run_that_leaves_has_done_all_that_belongs_to_its_end() -> None:
    done = subprocess.run([sys.executable, "-c", LEAVE], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 7, done.stderr
    assert done.stdout.splitlines() == ["first, thread", "but one", "last"]
    assert done.stderr == ""
