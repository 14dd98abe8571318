"""When and where garbage is collected in the processes that speak Prefect.

A server that keeps its runs in SQLite must not collect in its event loop's thread. Among the garbage are cursors, and
to close one the connection's lock is needed. Where a statement of another thread holds it and waits for the database,
for the very transaction that the event loop is to go on with, both wait until SQLite's patience ends, 60 seconds later;
on two cores that befell five short runs of seventy. A thread of its own can wait without harm.

`python -m flows.garbage ARGUMENT ...` is `prefect ARGUMENT ...` with such a thread.
"""

import gc
import runpy
import sys
import threading
import time

PAUSE_SECONDS = 0.2
_OLDER, _ALL = 10, 300
"""Every so many collections take in what has outlived one before, or everything."""


def collect_aside() -> None:
    """From now on collect garbage in a thread of its own alone."""
    gc.disable()
    threading.Thread(target=_collect, daemon=True, name="garbage").start()


def postpone() -> None:
    """Collect nothing until `resume`: while modules are imported next to nothing is garbage."""
    gc.disable()


def resume() -> None:
    """Collect again, after `postpone`, but leave alone what is there already."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def _collect() -> None:
    young, done = gc.get_threshold()[0], 0
    while True:
        time.sleep(PAUSE_SECONDS)
        if gc.get_count()[0] > young:
            done += 1
            gc.collect(0 if done % _OLDER else 1 if done % _ALL else 2)


if __name__ == "__main__":
    collect_aside()
    sys.argv[0] = "prefect"
    runpy.run_module("prefect", run_name="__main__", alter_sys=False)
