"""The modules of stages that are still to run, imported while worker processes are busy with the first ones.

PyTorch and what stands on it take seconds to import. The stages' modules are imported in the order in which they run,
by one thread, and a stage begins when its own is there; so no two threads import the same package at once.
"""

import importlib
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from types import MappingProxyType

_IMPORTED: ContextVar[Mapping[str, threading.Event]] = ContextVar("imported", default=MappingProxyType({}))


def import_ahead(stages: Sequence[str]) -> None:
    """Import `tasks.<stage>` for stages in their order, in a thread that nothing waits for at the end."""
    imported = {name: threading.Event() for name in map(_module, stages)}
    _IMPORTED.set(imported)
    threading.Thread(target=_import, args=(imported,), daemon=True, name="imports").start()


def wait_for_import(stage: str) -> None:
    """Wait until a stage's module is imported or could not be; whoever imports it next is told why."""
    if event := _IMPORTED.get().get(_module(stage)):
        event.wait()


def _import(imported: Mapping[str, threading.Event]) -> None:
    for name, event in imported.items():
        with suppress(Exception):
            importlib.import_module(name)
        event.set()


def _module(stage: str) -> str:
    return f"tasks.{stage.partition('@')[0]}"
