"""Shared fixtures."""

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bucket import bucket

REPOSITORY = Path(__file__).resolve().parent.parent
LONGEST = (
    *("test_pipeline.py", "test_recovery.py", "test_reevaluation.py", "test_flow.py", "test_dask.py"),
    *("test_killed_factory.py", "test_operated.py", "test_stage_pretrain.py"),
)
"""Files that begin first where several processes share the tests, so that none is left to run alone at the end."""

_operations: dict[str, int] = {}
"""Of each file of tests, on the emulated GPU."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--emulated-gpu", action="store_true", help="run on an emulated GPU (tests/emulated.py)")


def pytest_configure(config: pytest.Config) -> None:
    """Let the processes of tests hear a Ctrl-C, which a shell's background jobs and nohup ignore by inheritance.

    Nor do they inherit that no byte code is to be kept: in a copy of the code each would compile all of it again.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("--emulated-gpu"):
        from emulated import emulated_gpu

        stack = contextlib.ExitStack()
        stack.enter_context(emulated_gpu())
        config.add_cleanup(stack.close)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("numprocesses", None) or hasattr(config, "workerinput"):
        last = len(LONGEST)
        items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else last)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    if not item.config.getoption("--emulated-gpu"):
        return (yield)
    from emulated import operations

    before = operations[0]
    done = yield
    _operations[item.path.name] = _operations.get(item.path.name, 0) + operations[0] - before
    return done


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):  # a process of several: the first one adds up
        session.config.workeroutput["operations"] = _operations


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    for name, count in getattr(node, "workeroutput", {}).get("operations", {}).items():
        _operations[name] = _operations.get(name, 0) + count


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Who ran nothing on the emulated GPU has shown nothing of it."""
    for name, count in sorted(_operations.items()):
        terminalreporter.write_line(f"{name}: {count} operations on the emulated GPU")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real meshes beside the checkout; tests that use it skip where it is absent."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the real meshes in {folder.relative_to(REPOSITORY.parent)}, beside the checkout")
    return folder


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Address of an S3 server of the tests' own."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def s3(s3_server: str) -> Iterator[str]:
    """URL of an empty bucket, which this process and those it starts may write to."""
    with bucket(s3_server) as url:
        yield url
