"""What is known of the stages that are still to run.

Their modules are imported while worker processes are busy with the first ones: PyTorch and what stands on it
take seconds. One thread imports them in the order in which they run, and a stage begins when its own is there; so no
two threads import the same package at once.
"""

import importlib
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from types import MappingProxyType

from flows.look import stages_to_run

_IMPORTED: ContextVar[Mapping[str, threading.Event]] = ContextVar("imported", default=MappingProxyType({}))
_LATER: ContextVar[Sequence[str]] = ContextVar("later", default=())


def warm_up() -> None:
    """Import what the first stage that has to run needs: for the time in which a server starts.

    Nothing comes of it but that the run finds it loaded; what goes wrong here goes wrong there again.
    """
    with suppress(Exception):
        for name in stages_to_run()[:1]:
            importlib.import_module("tasks.dvc_stage")
            importlib.import_module("dvc.scm")  # which DVC brings when it opens a project
            importlib.import_module(_module(name))


def set_later(stages: Sequence[str]) -> None:
    """Note which stages come after the one that is called next: no parameter of its run, as it is nobody's choice."""
    _LATER.set(stages)


def later() -> Sequence[str]:
    """The stages last noted; none where a stage runs by itself."""
    return _LATER.get()


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
