"""One thread a test: the towers are tiny, and waiting threads would only burn the other core."""

import multiprocessing
import os
import sys
from collections.abc import Iterator
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def forks() -> ForkServerContext:
    """Starts processes that have torch and the trainee already, in a moment each."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["trainee"])
    with pytest.MonkeyPatch.context() as patch:  # the server doesn't get this process's search path
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        forkserver.ensure_running()
    return context
