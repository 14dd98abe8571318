"""Where the parts of stages run: worker processes of this machine, or the workers of a Dask or Ray cluster."""

import asyncio
import contextlib
import functools
import logging
import os
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from c2p.workers import worker_count
from flows.parts import work_there
from tasks.cluster import equipment
from tasks.shard_map import THREADS, WorkerPool

logger = logging.getLogger(__name__)
RunnerName = Literal["processes", "dask", "ray"]
SPREAD = frozenset({"render", "sample", "shards", "benchmarks"})
"""Stages whose jobs read and write through the store alone, so that they may run on any machine; the jobs of other
stages use this machine's disk, and run in its worker processes."""
WINDOW = 256
"""Parts that wait or run at a time on a cluster that C2P_CLUSTER names; its size may change while it works."""


@dataclass(frozen=True)
class Runner:
    """How the parts of one stage run."""

    task_runner: TaskRunner[Any]
    call: Callable[[Callable[[Any], Any], Any], Callable[[], Any]]
    """What a task does for a function and its job, wherever it runs."""
    window: int
    """Parts that wait or run at a time."""
    stop: Callable[[], None]
    """Ends what runs, at an interrupt."""
    close: Callable[[], None]
    """Begins to end the workers once all is done."""


_IN_USE: ContextVar[Runner] = ContextVar("runner")


def use(runner: Runner) -> None:
    """Let the stages that this flow calls from now on run their parts so."""
    _IN_USE.set(runner)


def runner_in_use() -> Runner:
    """The runner last set; kept here since a flow travels to a cluster's workers with all it names, runners don't."""
    return _IN_USE.get()


@contextmanager
def open_runners(name: RunnerName, stages: list[str]) -> Iterator[Callable[[str], Runner]]:
    """Yield what gives the runner of a stage. Workers start when needed and end with the `with` block.

    Raises ValueError: the runner's packages aren't installed, C2P_WORKERS is no number, or C2P_CLUSTER doesn't answer.
    """
    with WorkerPool() as pool, contextlib.ExitStack() as stack:
        here = there = of_processes(pool)
        if name != "processes" and any(_spread(stage) for stage in stages):
            stack.enter_context(temporary_settings({PREFECT_API_URL: _api_url()}))
            task_runner = {"dask": _dask, "ray": _ray}[name](stack)
            window = WINDOW if _address() else 2 * pool.workers
            there = Runner(task_runner, _remote_call, window, lambda: None, lambda: None)
        yield lambda stage: there if _spread(stage) else here


def of_processes(pool: WorkerPool) -> Runner:
    """The runner whose parts the worker processes of this machine compute, each under a thread of the flow's."""
    return Runner(
        ThreadPoolTaskRunner(max_workers=pool.workers),
        lambda function, job: functools.partial(pool.run, function, job),
        2 * pool.workers,
        pool.stop,
        pool.close,
    )


def _spread(stage: str) -> bool:
    return stage.partition("@")[0] in SPREAD


def _remote_call(function: Callable[[Any], Any], job: Any) -> Callable[[], Any]:
    level = logging.getLogger("c2p").getEffectiveLevel()
    return functools.partial(work_there, function, job, equipment(function.__module__), level)


def _address() -> str:
    """The cluster to use; empty: one on this machine, for the time of the run."""
    return os.environ.get("C2P_CLUSTER", "")


def _api_url() -> str:
    """Where workers report to; without the address each would start a temporary server of its own."""
    with get_client(sync_client=True) as client:
        url = str(client.api_url)
    local = ("127.0.0.1", "localhost", "::1")
    if _address() and urlsplit(_address()).hostname not in local and urlsplit(url).hostname in local:
        logger.warning(
            "Prefect's API is at %s, which workers on other machines can't reach: start a server that listens to them "
            "(prefect server start --host 0.0.0.0) and set PREFECT_API_URL to its address",
            url,
        )
    return url


def _dask(stack: contextlib.ExitStack) -> TaskRunner[Any]:
    try:
        import distributed
        from prefect_dask import DaskTaskRunner
    except ModuleNotFoundError as error:
        raise ValueError(_missing("dask", error)) from None
    for chatty in ("distributed", "prefect.task_runner.dask"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.getLogger("distributed.nanny").setLevel(logging.ERROR)  # it warns of workers that end slowly
    if _address():
        with _named(), ThreadPoolExecutor(1) as thread:  # whose thread has no event loop yet; a notebook's has
            thread.submit(asyncio.run, _asked(_address())).result()
        return DaskTaskRunner(address=_address())
    logger.info("starting %d Dask workers", worker_count())
    with _environment(dict.fromkeys(THREADS, "1") | {"DASK_LOGGING__DISTRIBUTED": "warning"}):
        cluster = distributed.LocalCluster(
            n_workers=worker_count(), threads_per_worker=1, processes=True, dashboard_address=None
        )
    return DaskTaskRunner(address=stack.enter_context(cluster).scheduler_address)


def _ray(stack: contextlib.ExitStack) -> TaskRunner[Any]:
    try:
        import ray
        from prefect_ray import RayTaskRunner
    except ModuleNotFoundError as error:
        raise ValueError(_missing("ray", error)) from None
    address = _address()
    environment = {"env_vars": dict.fromkeys(THREADS, "1")}
    options = {"address": address} if address else {"num_cpus": worker_count(), "include_dashboard": False}
    with _named():
        ray.init(**options, namespace="c2p", runtime_env=environment, log_to_driver=True)
    stack.callback(ray.shutdown)
    return RayTaskRunner()


async def _asked(address: str) -> None:
    """Ask the server at `address` whether it is a Dask scheduler.

    A Client would ask as well; but one that failed keeps its loop until it is garbage, and if that is collected while
    another starts, both wait for each other (distributed's `LoopRunner`). A server that says nothing holds it for ever.

    Raises OSError or ValueError: the address is none, nothing answers, or it is no scheduler.
    """
    import dask
    import distributed
    from dask.utils import parse_timedelta
    from distributed.security import Security

    limit = parse_timedelta(dask.config.get("distributed.comm.timeouts.connect"))
    arguments = Security().get_connection_args("client")  # of tls://, as in Dask's configuration
    try:
        async with distributed.rpc(address, connection_args=arguments) as server:
            role = (await asyncio.wait_for(server.identity(), limit + 5))["type"]
    except TimeoutError:
        raise OSError(f"it says nothing for {limit + 5:g} s") from None
    except (MemoryError, TypeError, LookupError, struct.error) as error:  # what bytes of another protocol are read as
        raise OSError(f"it doesn't speak as Dask does: {error}") from None
    if role != "Scheduler":
        raise ValueError(f"it is no scheduler but a {role}")


@contextmanager
def _named() -> Iterator[None]:
    """Name C2P_CLUSTER where its address is of no use."""
    try:
        yield
    except (OSError, ValueError) as error:
        if not _address():
            raise
        raise ValueError(
            f"C2P_CLUSTER: got {_address()!r} ({' '.join(str(error).split())}); "
            "allowed: the address of a scheduler that runs, as tcp://HOST:8786 for Dask, HOST:6379 or auto for Ray"
        ) from None


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Variables of processes that start in the `with` block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _missing(extra: str, error: ModuleNotFoundError) -> str:
    return (
        f"runner: got {extra!r}, whose package {error.name} isn't installed; "
        f"install it with: pip install -c constraints.txt -e '.[{extra}]', or use the runner processes"
    )
