"""A flow run in this process for somebody at a terminal: its outcome in words, its error in one line, an exit code."""

import logging
from collections.abc import Callable
from typing import Any

from tasks.stage import configure_logging, exit_code, report

logger = logging.getLogger("flows.terminal")


def run_here(run: Callable[[], Any], show: Callable[[Any], object]) -> int:
    """Run a flow that returns its state, and show what it returned, or its error in one line.

    Returns the exit code: 0, 2 for what the user gave, 1 for a failure, 130 for Ctrl-C.
    """
    try:
        configure_logging()
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
