"""What the runners refuse, in one line; that they work is for the tests with a cluster."""

import contextlib
import os
import socket
import sys
import threading

import dask
import distributed
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


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (b"HTTP/1.0 400 Bad Request\r\n\r\n", "it doesn't speak as Dask does"),
        (bytes(64), "it doesn't speak as Dask does"),
        (b"", "it says nothing for 6 s"),
    ],
)
def test_a_server_that_is_no_scheduler(words: bytes, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def serve() -> None:
        with contextlib.suppress(OSError):  # the listener is closed
            while True:
                calls.append(listener.accept()[0])
                calls[-1].sendall(words)

    calls: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        monkeypatch.setenv("C2P_CLUSTER", f"tcp://127.0.0.1:{listener.getsockname()[1]}")
        with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
            assert said in refusal("dask")
        listener.shutdown(socket.SHUT_RDWR)  # else the thread would go on accepting
    for call in calls:
        call.close()


def test_a_worker_is_no_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    with distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster:
        monkeypatch.setenv("C2P_CLUSTER", cluster.workers[0].address)
        assert "it is no scheduler but a Worker" in refusal("dask")
        monkeypatch.setenv("C2P_CLUSTER", cluster.scheduler_address)
        with contextlib.ExitStack() as stack:
            runners._dask(stack)


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


def test_a_cluster_with_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cryptography", reason="makes the certificates")
    security = distributed.Security.temporary()
    mine = {"client.key": security.tls_client_key, "client.cert": security.tls_client_cert}
    mine |= {"ca-file": security.tls_ca_file}
    with distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=None, security=security) as cluster:
        assert cluster.scheduler_address.startswith("tls://")
        monkeypatch.setenv("C2P_CLUSTER", cluster.scheduler_address)
        tls = {f"distributed.comm.tls.{name}": value for name, value in mine.items()}
        with dask.config.set(tls), contextlib.ExitStack() as stack:
            runners._dask(stack)
