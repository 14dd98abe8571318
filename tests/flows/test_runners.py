"""What the runners refuse, in one line; that they work is for the tests with a cluster."""

import contextlib
import os
import sys

import dask
import distributed  # noqa: F401 - brings its defaults into dask.config before they are changed
import pytest

from flows import runners
from tasks.stage import stage_names


def refusal(runner: str) -> str:
    make = {"dask": runners._dask, "ray": runners._ray}[runner]
    with contextlib.ExitStack() as stack, pytest.raises(ValueError) as error:
        make(stack)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("nonsense", "missing port number"),
        ("quux://host:1", "unknown address scheme"),
        ("tcp://127.0.0.1:1", "Timed out trying to connect"),
    ],
)
def test_an_address_without_a_cluster(address: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("C2P_CLUSTER", address)
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        message = refusal("dask")
    assert message.startswith(f"C2P_CLUSTER: got {address!r} ({said}") and "tcp://HOST:8786" in message


@pytest.mark.parametrize(("runner", "package"), [("dask", "prefect_dask"), ("ray", "prefect_ray")])
def test_a_missing_package_names_its_extra(runner: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    if runner == "ray":
        monkeypatch.setitem(sys.modules, "ray", None)
    assert f"-e '.[{runner}]'" in refusal(runner)


def test_only_stages_that_exist_are_spread() -> None:
    assert set(stage_names()) >= runners.SPREAD


def test_variables_of_workers_are_theirs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("C2P_OF_A_TEST", raising=False)
    with runners._environment({"OMP_NUM_THREADS": "1", "C2P_OF_A_TEST": "x"}):
        assert (os.environ["OMP_NUM_THREADS"], os.environ["C2P_OF_A_TEST"]) == ("1", "x")
    assert os.environ["OMP_NUM_THREADS"] == "7" and "C2P_OF_A_TEST" not in os.environ
