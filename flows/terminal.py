"""A flow run in this process for somebody at a terminal: its outcome in words, its error in one line, an exit code."""

import atexit
import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn

from flows.garbage import resume
from flows.temporary import is_temporary, wait_until_ready
from tasks.stage import configure_logging, exit_code, report

logger = logging.getLogger("flows.terminal")


def run_here(run: Callable[[], Any], show: Callable[[Any], object]) -> int:
    """Run a flow that returns its state, and show what it returned, or its error in one line.

    Returns the exit code: 0, 2 for what the user gave, 1 for a failure, 130 for Ctrl-C.
    """
    resume()
    try:
        configure_logging()
        wait_until_ready()
        if is_temporary():  # its pages can't be seen, and it is gone when the run is
            logging.getLogger("prefect.flow_runs").addFilter(_is_no_address)
        outcome = run().result(raise_on_failure=False)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        return report(error)
    if isinstance(outcome, Exception):
        logger.error("%s", " ".join(str(outcome).split()))
        return exit_code(outcome)
    show(outcome)
    return 0


def leave(code: int) -> NoReturn:
    """End this process after all that has to be done at its end, but without clearing away what it has imported."""
    threading._shutdown()  # type: ignore[attr-defined]  # as the interpreter itself: threads first
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _is_no_address(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("View at ")
