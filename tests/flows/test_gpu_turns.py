"""Who computes on a GPU, and that two processes of one machine never hold the same; with a server: test_recovery.py."""

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from flows import gpu
from tasks.closure import import_closure

ROOT = Path(__file__).resolve().parents[2]
GRAPH = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
HOLDER = """
import sys, time
from contextlib import ExitStack
from flows import gpu
with ExitStack() as stack:
    print(gpu._hold_devices(stack, "pretrain", int(sys.argv[1]), int(sys.argv[2])), flush=True)
    sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in ("C2P_DEVICE", "C2P_GPUS", "C2P_PROCESSES", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)


def hold(total: int, count: int = 1) -> subprocess.Popen[str]:
    """A process that holds GPUs of a machine with `total`; it prints the first one's number once it has them."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(total), str(count)], stdin=pipe, stdout=pipe, text=True, env=environment
    )


def first_line(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


@pytest.mark.parametrize("stage", GRAPH)
def test_stages_that_choose_a_device_say_so(stage: str) -> None:
    """A stage whose own modules ask for the device to compute on has `gpu` in its meta, and no other."""
    tasks = [path for path in import_closure(f"tasks.{stage}") if path.parts[0] == "tasks"]
    chooses = any("compute_device" in (ROOT / path).read_text() for path in [Path(f"tasks/{stage}.py"), *tasks])
    assert ("meta" in GRAPH[stage]) == chooses


def test_a_process_takes_what_another_leaves_and_what_a_killed_one_held() -> None:
    with hold(2) as one, hold(2) as two:
        assert sorted((first_line(one), first_line(two))) == [0, 1]
        with hold(2) as three:
            one.kill()
            one.wait()
            first = first_line(three)
            with ExitStack() as stack, pytest.raises(gpu.Timeout):
                lock = gpu._lock(first)
                stack.callback(lock.release)
                lock.acquire(timeout=0)
            three.kill()
        two.kill()


def test_a_training_of_several_processes_waits_until_it_has_all() -> None:
    with hold(3) as one:
        assert first_line(one) == 0
        with hold(3, 3) as all_, hold(3) as other:
            number = first_line(other)
            assert number in (1, 2)
            other.kill()
            one.kill()
            assert first_line(all_) == 0
            for held in range(3):
                with pytest.raises(gpu.Timeout):
                    gpu._lock(held).acquire(timeout=0)
            all_.kill()


def test_a_named_device_is_the_one_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("C2P_DEVICE", "cuda:1")
    with ExitStack() as stack:
        assert gpu._hold_devices(stack, "teacher", 2, 1) == 1


def test_locks_are_of_the_devices_that_are_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert Path(gpu._lock(1).lock_file).name.endswith("-gpu-5.lock")


def test_a_machine_without_gpus_asks_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("C2P_DEVICE", "cpu")
    with gpu.gpu_for("teacher", root=ROOT):
        assert list(tmp_path.iterdir()) == []


def test_wrong_values_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("C2P_GPUS", "two")
    with pytest.raises(ValueError, match=r"C2P_GPUS: got 'two'; allowed: a whole number"):
        gpu.gpu_count()
    monkeypatch.setenv("C2P_GPUS", "1")
    monkeypatch.setenv("C2P_DEVICE", "cpu")
    monkeypatch.setenv("C2P_PROCESSES", "2")
    with pytest.raises(ValueError, match="C2P_PROCESSES: got 2; allowed: 1 to 1"), gpu.gpu_for("pretrain", root=ROOT):
        pass
