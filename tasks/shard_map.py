"""How one function runs over many jobs.

A stage's body gets a `Map` and doesn't know whether its jobs run one after another, in worker processes, or as tasks of
a Prefect flow that hand them to worker processes. Workers are spawned, not forked, run on one thread each so that bytes
don't depend on their number, never load the caller's main module, and end with the process that started them.
"""

import atexit
import logging
import logging.handlers
import multiprocessing
import multiprocessing.connection
import multiprocessing.context
import multiprocessing.process
import os
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, NoReturn, Protocol, Self, TypeVar

from c2p.workers import worker_count

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Variables that say on how many threads libraries compute; 1 in every worker."""

J = TypeVar("J")
R = TypeVar("R")


class Map(Protocol):
    """Run `function` over `jobs` and return the results in the order of the jobs.

    `function` is a module-level function of one argument, a job and a result are picklable and small: pieces travel as
    files. `names` label the jobs in logs and user interfaces; the default is the function's name and a number. The
    first job that fails cancels those that have not begun, and its exception is raised with its cause.
    """

    def __call__(
        self, function: Callable[[J], R], jobs: Sequence[J], /, *, names: Sequence[str] | None = None
    ) -> list[R]: ...


class WorkerDied(RuntimeError):
    """A worker process ended in the middle of a job, killed from outside."""


class PoolStopped(RuntimeError):
    """The pool was stopped while a job waited or ran."""


def serial(function: Callable[[J], R], jobs: Sequence[J], /, *, names: Sequence[str] | None = None) -> list[R]:
    """Run the jobs one after another in this process: a `Map`."""
    job_names(function, jobs, names)
    return [function(job) for job in jobs]


def job_names(function: Callable[..., Any], jobs: Sequence[Any], names: Sequence[str] | None) -> list[str]:
    """Label each job: the given names, or the function's name and a number."""
    if names is None:
        return [f"{function.__name__.strip('_')} {number:05d}" for number in range(len(jobs))]
    assert len(names) == len(jobs), f"{len(names)} names for {len(jobs)} jobs"
    return list(names)


class WorkerPool:
    """Worker processes for one run: started by the first job, ended with the `with` block.

    `run` may be called from many threads. A job's log records come back with it and are handled by the calling thread.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers = worker_count() if workers is None else workers
        self._context = _WorkerContext()
        self._stopped = False
        self._executor: ProcessPoolExecutor | None = None
        self._lock = threading.Lock()
        self._closing: list[threading.Thread] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and not issubclass(kind, Exception):
            self.stop()
        self.close()
        if self._closing:
            self._context.wait()
        for closing in self._closing:
            closing.join()

    def close(self) -> None:
        """Begin to end the workers, which have nothing left to do; leaving the `with` block waits until they have."""
        with self._lock:
            executor, self._executor = self._executor, None
        if executor:
            # The executor's own threads must have ended before the interpreter ends, else they race for its pipes.
            self._closing.append(threading.Thread(target=executor.shutdown, kwargs={"cancel_futures": True}))
            self._closing[-1].start()

    def stop(self) -> None:
        """End the workers at once, for an interrupt; whoever waits for a job gets PoolStopped."""
        self._stopped = True
        self._context.terminate()

    def run(self, function: Callable[[J], R], job: J) -> R:
        """Run one job in a worker and wait for it.

        Raises what the job raised, WorkerDied or PoolStopped.
        """
        return self._collect(self._submit(function, job))

    def map(self, function: Callable[[J], R], jobs: Sequence[J], /, *, names: Sequence[str] | None = None) -> list[R]:
        """Run the jobs in the workers: a `Map`, with a progress bar on a terminal."""
        labels = job_names(function, jobs, names)
        futures = {self._submit(function, job): number for number, job in enumerate(jobs)}
        results: dict[int, R] = {}
        try:
            with _progress(len(futures), function.__name__.strip("_")) as advance:
                for future in as_completed(futures):
                    number = futures[future]
                    results[number] = self._collect(future)
                    advance(labels[number])
        except (WorkerDied, PoolStopped):  # the executor is failing them all, and stumbles over one that is cancelled
            raise
        except Exception:
            for future in futures:
                future.cancel()
            raise
        return [results[number] for number in range(len(futures))]

    def _submit(self, function: Callable[[J], R], job: J) -> Future[tuple[R, list[logging.LogRecord]]]:
        with self._lock:
            if self._stopped:
                raise PoolStopped("the workers were stopped")
            if self._executor is None:
                level = logging.getLogger("c2p").getEffectiveLevel()
                self._executor = ProcessPoolExecutor(
                    self.workers, mp_context=self._context, initializer=_start_worker, initargs=(level,)
                )
            try:
                return self._executor.submit(_run_job, function, job)
            except BrokenProcessPool:
                self._executor = None
                raise self._broken() from None

    def _collect(self, future: Future[tuple[R, list[logging.LogRecord]]]) -> R:
        try:
            result, records = future.result()
        except BrokenProcessPool:
            with self._lock:
                self._executor = None
            raise self._broken() from None
        except Exception as error:
            _handle(error.__dict__.pop("_records", []))
            raise
        _handle(records)
        return result

    def _broken(self) -> RuntimeError:
        if self._stopped:
            return PoolStopped("the workers were stopped")
        return WorkerDied(
            "a worker process was killed, often for lack of memory; finished parts are kept: run again, if need be "
            "with fewer workers (C2P_WORKERS=1)"
        )


class _WorkerContext(multiprocessing.context.SpawnContext):
    """Spawns workers that don't import the caller's main module: it may be Prefect's, or a test runner's."""

    def __init__(self) -> None:
        super().__init__()
        self._started: list[multiprocessing.process.BaseProcess] = []

    def Process(self, *args: Any, **kwargs: Any) -> multiprocessing.process.BaseProcess:  # type: ignore[override]
        process = _Worker(*args, **kwargs)
        self._started.append(process)
        return process

    def wait(self) -> None:
        """Wait until all workers have ended. One that was killed may hold the lock that the others wait for."""
        while running := [process for process in self._started if process.is_alive()]:
            if any(process.exitcode not in (0, None) for process in self._started):
                self.terminate()
            multiprocessing.connection.wait([process.sentinel for process in running], timeout=1)

    def terminate(self) -> None:
        for process in self._started:
            if process.is_alive():
                process.terminate()


class _Worker(multiprocessing.context.SpawnProcess):
    _start_lock = threading.Lock()

    def start(self) -> None:
        with self._start_lock:
            main = sys.modules["__main__"]
            sys.modules["__main__"] = types.ModuleType("__main__")
            try:
                super().start()
            finally:
                sys.modules["__main__"] = main

    def _bootstrap(self, parent_sentinel: int | None = None) -> NoReturn:
        """Work, in the process itself; it ends without clearing away what it has imported, which takes a second."""
        code = super()._bootstrap(parent_sentinel)  # type: ignore[misc]
        atexit._run_exitfuncs()
        os._exit(code)


_RECORDS: list[logging.LogRecord] = []


class _Recorder(logging.handlers.QueueHandler):
    """Keeps a job's log records, made picklable, until the job ends."""

    def __init__(self) -> None:
        super().__init__(None)  # type: ignore[arg-type]

    def enqueue(self, record: logging.LogRecord) -> None:
        _RECORDS.append(record)


def _start_worker(level: int) -> None:
    for name in THREADS:
        os.environ[name] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.getLogger().addHandler(_Recorder())
    for name in ("c2p", "tasks"):
        logging.getLogger(name).setLevel(level)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _run_job(function: Callable[[J], R], job: J) -> tuple[R, list[logging.LogRecord]]:
    _RECORDS.clear()
    try:
        return function(job), list(_RECORDS)
    except Exception as error:
        error.__dict__["_records"] = list(_RECORDS)
        raise


def _handle(records: list[logging.LogRecord]) -> None:
    for record in records:
        logging.getLogger(record.name).handle(record)


@contextmanager
def _progress(total: int, what: str) -> Iterator[Callable[[str], None]]:
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    if not sys.stderr.isatty():
        yield lambda name: None
        return
    with logging_redirect_tqdm(), tqdm(total=total, desc=what) as bar:

        def advance(name: str) -> None:
            bar.set_postfix_str(name, refresh=False)
            bar.update()

        yield advance
