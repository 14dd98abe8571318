"""GPUs are shared by turns: a stage that computes on one holds it, and a slot of the server's limit `gpu`, meanwhile.

The slot is for all runs that report to one server, and shows in its user interface; its lease ends a minute after its
holder has died. The device itself is a locked file of this machine, so that runs of two projects, or one without a
server, don't share it either; the system unlocks it when its holder ends, whatever ends it.
"""

import logging
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from prefect.client.orchestration import get_client
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL

from c2p.params import load
from flows.temporary import is_temporary
from tasks.machine import process_count
from tasks.quick_yaml import parse

logger = logging.getLogger(__name__)

LIMIT = "gpu"
LEASE_SECONDS = 60
RENDERERS = ("pytorch3d", "warp")
"""Renderers that work on a GPU where there is one."""
_POLL_SECONDS = 1.0


def gpu_count() -> int:
    """GPUs for runs to share: C2P_GPUS, else those that PyTorch finds; none with C2P_DEVICE=cpu.

    Raises ValueError: C2P_GPUS is no whole number.
    """
    text = os.environ.get("C2P_GPUS", "")
    if text and not text.isdecimal():
        raise ValueError(f"C2P_GPUS: got {text!r}; allowed: a whole number, 0 for none")
    return int(text) if text else _found()


def gpus_wanted(stage: str, *, root: Path) -> int:
    """On how many GPUs a stage of dvc.yaml computes where there are any: its `meta` says so, or its renderer.

    `gpu: 1` is one, `gpu: processes` one a process of a training (C2P_PROCESSES).
    """
    name = stage.partition("@")[0]
    graph = parse((root / "dvc.yaml").read_bytes())["stages"]
    said = (graph[name].get("meta") or {}).get("gpu", 0)
    if name == "render":
        return int(load(root / "params.yaml").render.renderer in RENDERERS)
    return process_count() if said == "processes" else int(said)


@contextmanager
def gpu_for(stage: str, *, root: Path) -> Iterator[None]:
    """Hold what a stage computes on while the `with` block lasts; waits for it, and says so.

    Raises ValueError: C2P_GPUS or C2P_PROCESSES is no number, or there are more processes than GPUs.
    """
    with hold_gpus(stage, 0 if os.environ.get("C2P_GPUS") == "0" else gpus_wanted(stage, root=root)):
        yield


@contextmanager
def hold_gpus(stage: str, wanted: int) -> Iterator[None]:
    """Hold so many GPUs for `stage`, which names them in what is said, while the `with` block lasts.

    Nothing happens where none is wanted, or without GPUs. With several GPUs C2P_DEVICE is set to the one held.

    Raises ValueError: C2P_GPUS is no number, or more are wanted than there are.
    """
    if not wanted or not (total := gpu_count()):
        yield
        return
    if wanted > total:
        raise ValueError(f"C2P_PROCESSES: got {wanted}; allowed: 1 to {total}, the number of GPUs (C2P_GPUS)")
    with ExitStack() as stack:
        _hold_slots(stack, stage, wanted)
        number = _hold_devices(stack, stage, total, wanted)
        if wanted == 1 and number < _found():
            stack.enter_context(_device(f"cuda:{number}"))
        yield


@contextmanager
def _device(name: str) -> Iterator[None]:
    before = os.environ.get("C2P_DEVICE")
    os.environ["C2P_DEVICE"] = name
    try:
        yield
    finally:
        if before is None:
            del os.environ["C2P_DEVICE"]
        else:
            os.environ["C2P_DEVICE"] = before


def _found() -> int:
    if os.environ.get("C2P_DEVICE") == "cpu":
        return 0
    import torch  # takes seconds

    return torch.cuda.device_count()


def _hold_slots(stack: ExitStack, stage: str, count: int) -> None:
    with get_client(sync_client=True) as client:
        try:
            limit = client.read_global_concurrency_limit_by_name(LIMIT)
        except ObjectNotFound:
            if PREFECT_API_URL.value() and not is_temporary():
                logger.warning("the server has no limit gpu: python -m flows.automations makes it")
            return
    if limit.active_slots + count > limit.limit:
        logger.info("%s: waits for a GPU (limit gpu: %d of %d in use)", stage, limit.active_slots, limit.limit)
    # A training must outlive a server that is restarted: a lease that can't be renewed is not its end.
    stack.enter_context(
        concurrency(
            LIMIT, occupy=count, lease_duration=LEASE_SECONDS, strict=True, raise_on_lease_renewal_failure=False
        )
    )


def _hold_devices(stack: ExitStack, stage: str, total: int, count: int) -> int:
    """Lock one GPU, any that is free or the one that C2P_DEVICE names, or the first `count`; the first one's number."""
    _, _, named = os.environ.get("C2P_DEVICE", "").partition(":")
    if count > 1:
        locks = [(number, _lock(number)) for number in range(count)]
        for _, lock in locks:  # in the order of their numbers, so that two who wait don't wait for each other
            _take(stack, stage, [(0, lock)])
        return 0
    numbers = [int(named)] if named else range(total)
    return _take(stack, stage, [(number, _lock(number)) for number in numbers])


def _take(stack: ExitStack, stage: str, locks: list[tuple[int, FileLock]]) -> int:
    """Take the first lock that is free; its number."""
    said = False
    while True:
        for number, lock in locks:
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            stack.callback(lock.release)
            return number
        if not said:
            logger.info("%s: waits for a GPU that another process of this machine holds", stage)
            said = True
        time.sleep(_POLL_SECONDS)


def _lock(number: int) -> FileLock:
    """The lock of a GPU by its number among those that CUDA_VISIBLE_DEVICES leaves; one user's runs share it."""
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    name = visible[number].strip() if number < len(visible) else str(number)
    return FileLock(Path(tempfile.gettempdir()) / f"c2p-{os.getuid()}-gpu-{name}.lock", is_singleton=False)
