"""Serial and parallel maps. Jobs live in a module of their own that the workers can import."""

import logging
import sys
from pathlib import Path
from types import ModuleType

import psutil
import pytest

from c2p.workers import worker_count
from tasks.shard_map import WorkerDied, WorkerPool, _WorkerContext, job_names, serial

JOBS = """
import atexit, logging, os, sys, time
logger = logging.getLogger("c2p.toy")

def square(number):
    logger.info("square of %d", number)
    return number * number

def facts(_):
    return os.getpid(), os.environ["OMP_NUM_THREADS"], sorted({"prefect", "dvc", "pytest"} & set(sys.modules))

def fail_at_2(number):
    logger.warning("trying %d", number)
    if number == 2:
        raise ValueError(f"bad {number}") from KeyError("cause")
    return number

def die(_):
    os.kill(os.getpid(), 9)

def leave_marks(folder):
    class Slow:
        def __del__(self):
            open(f"{folder}/cleared", "w").close()
    sys.modules["slow"] = Slow()
    atexit.register(lambda: open(f"{folder}/ended", "w").close())

def sleep_on():
    while True:
        time.sleep(60)
"""


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    folder = tmp_path_factory.mktemp("jobs")
    (folder / "pool_jobs.py").write_text(JOBS)
    sys.path.insert(0, str(folder))
    try:
        import pool_jobs  # type: ignore[import-not-found]

        yield pool_jobs  # type: ignore[misc]
    finally:
        sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def pool(jobs: ModuleType) -> WorkerPool:
    with WorkerPool(2) as pool:
        yield pool  # type: ignore[misc]


def test_pool_and_serial_agree_in_order(pool: WorkerPool, jobs: ModuleType) -> None:
    expected = [number * number for number in range(20)]
    assert pool.map(jobs.square, range(20)) == serial(jobs.square, range(20)) == expected
    assert pool.map(jobs.square, []) == serial(jobs.square, []) == []


def test_workers_are_other_processes_of_one_thread_without_the_callers_modules(
    pool: WorkerPool, jobs: ModuleType
) -> None:
    import os

    for pid, threads, modules in pool.map(jobs.facts, range(4)):
        assert pid != os.getpid()
        assert threads == "1"
        assert modules == []


def test_first_failure_is_raised_with_its_cause(
    pool: WorkerPool, jobs: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ValueError, match="bad 2") as caught:
        pool.map(jobs.fail_at_2, range(8))
    assert "KeyError: 'cause'" in str(caught.value.__cause__)
    assert "trying 2" in caplog.text
    assert pool.map(jobs.square, [3]) == [9]


def test_log_records_come_back_with_the_job(
    pool: WorkerPool, jobs: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    with WorkerPool(1) as fresh, caplog.at_level(logging.INFO, "c2p"):
        fresh.run(jobs.square, 7)
    assert [(record.name, record.getMessage()) for record in caplog.records] == [("c2p.toy", "square of 7")]


def test_killed_worker_is_named_and_the_pool_goes_on(pool: WorkerPool, jobs: ModuleType) -> None:
    with pytest.raises(WorkerDied, match="C2P_WORKERS=1"):
        pool.map(jobs.die, range(3))
    assert pool.map(jobs.square, range(3)) == [0, 1, 4]


def test_a_closed_pool_has_ended_its_workers_when_its_block_ends(jobs: ModuleType) -> None:
    with WorkerPool(2) as pool:
        pool.close()  # none has started
        first = {pid for pid, *_ in pool.map(jobs.facts, range(4))}
        pool.close()
        pool.close()
        second = {pid for pid, *_ in pool.map(jobs.facts, range(4))}  # a job after all: other workers
        pool.close()
    assert first.isdisjoint(second)
    assert not any(psutil.pid_exists(pid) for pid in first | second)


def test_workers_do_what_belongs_to_their_end_and_clear_nothing_away(jobs: ModuleType, tmp_path: Path) -> None:
    with WorkerPool(1) as pool:
        pool.run(jobs.leave_marks, str(tmp_path))
        [process] = pool._context._started
    assert process.exitcode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["ended"]


def test_pool_without_jobs_starts_no_process() -> None:
    with WorkerPool(2) as pool:
        assert pool._context._started == []


def test_job_names(jobs: ModuleType) -> None:
    assert job_names(jobs.square, [5, 6], None) == ["square 00000", "square 00001"]
    assert job_names(jobs.square, [5], ["part-00005"]) == ["part-00005"]


def test_worker_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("C2P_WORKERS", "3")
    assert worker_count() == 3
    monkeypatch.delenv("C2P_WORKERS")
    assert worker_count() >= 1
    for text in ("0", "-1", "two", "1.5"):
        monkeypatch.setenv("C2P_WORKERS", text)
        with pytest.raises(ValueError, match="C2P_WORKERS"):
            worker_count()


def test_importing_tasks_loads_neither_prefect_nor_torch(tmp_path: Path) -> None:
    import subprocess

    code = "import sys, tasks.stage, tasks.shard_map, tasks.store, tasks.closure; "
    code += "sys.exit(bool({'prefect', 'dvc', 'torch', 'numpy'} & set(sys.modules)))"
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0


def test_waiting_ends_though_a_killed_worker_took_a_lock_with_it(jobs: ModuleType) -> None:
    context = _WorkerContext()
    dead, stuck = context.Process(target=jobs.die, args=(0,)), context.Process(target=jobs.sleep_on)
    dead.start()
    stuck.start()
    dead.join(30)
    assert dead.exitcode == -9
    context.wait()
    assert stuck.exitcode not in (0, None)
