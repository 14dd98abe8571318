"""Workers that would make other bytes are refused, in one line that says how they differ."""

import dataclasses
import pickle

import pytest

from tasks import cluster
from tasks.cluster import UnequalWorker, equipment, run_job
from tasks.shard_map import THREADS
from tasks.store import key


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in THREADS:
        monkeypatch.setenv(name, "1")


def test_an_equal_worker_runs_the_job(one_thread: None) -> None:
    expected = pickle.loads(pickle.dumps(equipment("tasks.store")))
    assert run_job(key, "x", expected) == key("x")


@pytest.mark.parametrize("threads", [None, "2"])
def test_threads(one_thread: None, monkeypatch: pytest.MonkeyPatch, threads: str | None) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    if threads:
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
    with pytest.raises(UnequalWorker, match=rf"OMP_NUM_THREADS is {threads or 'not set'}; allowed: 1"):
        run_job(key, "x", equipment("tasks.store"))


def test_versions_and_code(one_thread: None) -> None:
    here = equipment("tasks.store")
    libraries = tuple((name, "0.1" if name == "numpy" else version) for name, version in here.libraries)
    for change, said in (
        ({"libraries": libraries}, r"has numpy \S+ for 0\.1; install the same"),
        ({"python": "2.7"}, r"has Python 3\.\d+ for 2\.7;"),
        ({"code": "other"}, "has other code of c2p in "),
    ):
        with pytest.raises(UnequalWorker, match=said) as error:
            run_job(key, "x", dataclasses.replace(here, **change))
        assert "\n" not in str(error.value)


def test_what_decides_bytes_is_listed() -> None:
    """Every package that a data stage's key names is compared on a worker too."""
    from c2p.data.scene import LIBRARIES, PACKAGES
    from tasks.benchmarks import LIBRARIES as OF_BENCHMARKS

    assert {*LIBRARIES, *OF_BENCHMARKS} <= set(cluster.LIBRARIES)
    assert set(PACKAGES.values()) <= set(cluster.LIBRARIES)
