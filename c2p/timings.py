"""What running a stage cost: seconds, peak memory, when and where; kept beside the store and never in an output.

These differ from run to run, so no stage reads them and DVC does not know them: `.c2p/timings/` holds one file a stage,
of the last time its body ran to its end. `c2p report` shows them.
"""

import datetime
import json
import logging
import os
import platform
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from c2p.data.files import write_json

logger = logging.getLogger(__name__)

SAMPLE_S = 1.0
"""Seconds between looks at the memory."""
MB = 1e6


@dataclass(frozen=True)
class Timing:
    """One stage's last run."""

    stage: str
    """As DVC calls it: with the values of its matrix item after an @."""
    seconds: float
    """Wall time of the body."""
    peak_memory_mb: float
    """Largest sum, over this process and its children, of the memory each has (shared pages count once where the
    system tells: Linux), looked at once a second."""
    finished: str
    """ISO 8601, UTC, whole seconds."""
    machine: str
    """Name, system, processor, cores, memory, and the GPU where torch was using one."""


@contextmanager
def timed(root: Path, stage: str, item: Mapping[str, str]) -> Iterator[None]:
    """Measure the block and write its record below a project's folder, unless the block fails.

    item: values of the stage's matrix item. Of the ranks of one training only the first writes.
    """
    begin = time.monotonic()
    with _watched_memory() as peak:
        yield
    if int(os.environ.get("RANK", "0")):
        return
    name = "@".join([stage, "-".join(item.values())] if item else [stage])
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    timing = Timing(name, round(time.monotonic() - begin, 2), round(peak[0] / MB, 1), now, describe_machine())
    try:
        write_json(folder_of(root) / f"{name}.json", asdict(timing))
    except OSError as error:  # the stage itself is done
        logger.warning("%s: its timing was not kept: %s", name, error)


def read_timings(root: Path) -> list[Timing]:
    """Records of a project, by the names of their stages; those that another version wrote otherwise are left out."""
    found = []
    for path in sorted(folder_of(root).glob("[!.]*.json")):
        with suppress(ValueError, TypeError):
            found.append(Timing(**json.loads(path.read_text(encoding="utf-8"))))
    return found


def folder_of(root: Path) -> Path:
    """Where the records of a project lie."""
    return root / ".c2p" / "timings"


def describe_machine() -> str:
    """This machine in one line."""
    parts = [
        platform.node(),
        f"{platform.system()} {platform.machine()}",
        _processor(),
        f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} cores",
        f"{psutil.virtual_memory().total / 1e9:.0f} GB",
    ]
    torch = sys.modules.get("torch")  # a stage without networks need not load it
    if torch is not None and torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    return ", ".join(part for part in parts if part)


@contextmanager
def _watched_memory() -> Iterator[list[float]]:
    """Look at the memory from a thread while the block runs; the list holds one number, the peak in bytes."""
    peak = [_memory()]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(SAMPLE_S):
            peak[0] = max(peak[0], _memory())

    thread = threading.Thread(target=watch, name="memory", daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()
        peak[0] = max(peak[0], _memory())


def _memory() -> float:
    """Bytes that this process and its children have now."""
    own = psutil.Process()
    total = 0.0
    for process in [own, *own.children(recursive=True)]:
        with suppress(psutil.Error, OSError):  # gone meanwhile, or somebody else's
            full = process.memory_full_info() if psutil.LINUX else process.memory_info()
            total += getattr(full, "pss", full.rss)
    return total


def _processor() -> str:
    """The processor's name; empty where the system doesn't tell."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
