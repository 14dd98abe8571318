"""The processes of one training: torchrun starts them, their log lines, progress and errors come here.

`python -m tasks pretrain seed=0` with C2P_PROCESSES=4 starts torchrun, which starts four times
`python -m tasks.ranks pretrain seed=0`. Those tell what they do as JSON lines on standard output. They end with this
process, whatever ends it: each watches it, and its own parent.

Several machines: C2P_TORCHRUN holds torchrun's options for meeting the others ("--nnodes=2 --rdzv-backend=c10d
--rdzv-endpoint=host:29500 --rdzv-id=1"); the others run the same command, on the same files.
"""

import contextlib
import json
import logging
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from c2p.training.machine import joined
from c2p.training.steps import TrainingError
from tasks.progress import heard_by, tell
from tasks.shard_map import THREADS, WorkerDied, serial
from tasks.stage import Call, configure_logging, exit_code, parse, run_stage

logger = logging.getLogger(__name__)

LAUNCHER = "C2P_LAUNCHER"
"""Process id of the launcher, for the ranks to watch."""
WATCH_S = 0.5
PATIENCE_S = 10
"""Time that torchrun gets to end its processes."""
LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "NCCL", "gloo")
"""In what torch says where another rank is gone."""
LAST_LINES = 20
"""Lines of foreign output kept for the log of a failure."""
ROOT = Path(__file__).resolve().parent.parent


def launch(call: Call, processes: int, *, root: Path) -> None:
    """Run a stage in several processes that torchrun starts, until all of them have ended.

    Raises what a process reported: ValueError for what the user gave, TrainingError for a training that can't go on.
    WorkerDied: a process was killed. RuntimeError: anything else.
    """
    words = [call.stage, *(f"{name}={value}" for name, value in call.item.items())]
    options = shlex.split(os.environ.get("C2P_TORCHRUN", "--standalone"))
    command = [sys.executable, "-m", "torch.distributed.run", *options, f"--nproc-per-node={processes}"]
    logger.info("%s in %d processes", " ".join(words), processes)
    with subprocess.Popen(
        [*command, "-m", "tasks.ranks", *words],
        cwd=root,
        env=_environment(processes),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # an interrupt from the terminal reaches this process alone
    ) as torchrun:
        try:
            failure = _listen(torchrun)
        except BaseException:
            _end(torchrun)
            raise
    if failure is not None and not isinstance(failure, WorkerDied):
        raise failure
    if torchrun.returncode:
        raise WorkerDied(
            f"{call.stage}: a training process was killed (torchrun's exit code {torchrun.returncode}), often for lack "
            "of memory; run again, it goes on from its last checkpoint"
        ) from failure


def must_launch(processes: int) -> bool:
    """Whether this process is to start the training's processes: there are several, and it is none of them."""
    return (processes > 1 or "C2P_TORCHRUN" in os.environ) and LAUNCHER not in os.environ and not joined()


def _environment(processes: int) -> dict[str, str]:
    threads = str(max(1, len(os.sched_getaffinity(0)) // processes if hasattr(os, "sched_getaffinity") else 1))
    path = os.pathsep.join(part for part in (str(ROOT), os.environ.get("PYTHONPATH", "")) if part)
    quiet = {"TORCH_CPP_LOG_LEVEL": "ERROR", "PYTHONUNBUFFERED": "1"}
    return {name: threads for name in THREADS} | os.environ | quiet | {"PYTHONPATH": path, LAUNCHER: str(os.getpid())}


def _listen(torchrun: "subprocess.Popen[str]") -> Exception | None:
    """Log and show what the processes tell; returns the first error one of them reported."""
    assert torchrun.stdout is not None
    foreign: deque[str] = deque(maxlen=LAST_LINES)
    failure: Exception | None = None
    for line in torchrun.stdout:
        message = _parse(line)
        if message is None:
            foreign.append(line.rstrip())
        elif "error" in message:
            if failure is None or isinstance(failure, WorkerDied):
                failure = _failure(message)
        elif "done" in message:
            tell(message["what"], message["done"], message["total"])
        else:
            logging.getLogger(message["name"]).log(message["level"], "%s", message["text"])
    level = logging.DEBUG if failure or not torchrun.wait() else logging.WARNING
    for line in foreign:
        logger.log(level, "torchrun: %s", line)
    return failure


def _parse(line: str) -> dict[str, Any] | None:
    if not line.startswith('{"c2p": '):
        return None
    try:
        return dict(json.loads(line)["c2p"])
    except (ValueError, TypeError):  # two processes' lines in one
        return None


def _failure(message: Mapping[str, Any]) -> Exception:
    kinds = {"user": ValueError, "training": TrainingError, "lost": WorkerDied}
    if message["kind"] not in kinds:
        logger.error("%s", message["trace"])
    return kinds.get(message["kind"], RuntimeError)(message["error"])


def _end(torchrun: "subprocess.Popen[str]") -> None:
    """End torchrun, which ends its processes; where it does not, they see that it is gone."""
    torchrun.send_signal(signal.SIGTERM)
    try:
        torchrun.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        torchrun.kill()


def main(arguments: list[str]) -> int:
    """One rank: run a stage's body and tell the launcher."""
    rank = int(os.environ["RANK"])
    _watch(int(os.environ[LAUNCHER]))
    configure_logging()
    root = logging.getLogger()
    root.handlers[:] = [_Teller(logging.NOTSET if rank == 0 else logging.WARNING)]
    try:
        with heard_by(lambda what, done, total: _say(what=what, done=done, total=total)):
            run_stage(parse(arguments), root=Path.cwd(), map_=serial)
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        kind = _kind(error, text)
        _say(error=text if kind != "failure" else f"{type(error).__name__}: {text}", kind=kind, trace=_trace(error))
        os._exit(1)  # without waiting for ranks that wait for this one
    return 0


def _kind(error: Exception, text: str) -> str:
    if isinstance(error, RuntimeError) and any(word in text for word in LOST):
        return "lost"  # what this rank waited for: another one, which tells why itself if it can
    if exit_code(error) == 2:
        return "user"
    return "training" if isinstance(error, TrainingError) else "failure"


class _Teller(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _say(level=record.levelno, name=record.name, text=record.getMessage())


def _say(**message: Any) -> None:
    """One line, whole: written at once, so that the ranks' lines don't mix."""
    os.write(sys.stdout.fileno(), (json.dumps({"c2p": message}) + "\n").encode())


def _trace(error: Exception) -> str:
    return "".join(traceback.format_exception(error))


def _watch(launcher: int) -> None:
    """End this process when the launcher or its torchrun is gone: torchrun's children outlive a killed torchrun."""
    parent = psutil.Process().parent()
    if parent is None or parent.ppid() != launcher:
        os._exit(1)

    def watch() -> None:
        with contextlib.suppress(psutil.Error):
            while os.getppid() == parent.pid and parent.ppid() == launcher:
                time.sleep(WATCH_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
