"""How long a run waits: for another process that is in its way, and for a stage that does not end."""

import logging
import os
import time
from collections.abc import Callable
from typing import TypeVar

from tasks.busy import Busy

logger = logging.getLogger(__name__)

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
STAGE_HOURS = 72.0
"""Far more than any stage takes; what hangs for ever still ends."""

R = TypeVar("R")


def patiently(attempt: Callable[[], R], *, minutes: float) -> R:
    """Try for so many minutes while another process is in the way, with pauses that double up to half a minute.

    Raises Busy: it was in the way until the end. Everything else that `attempt` raises ends the trying.
    """
    end, pause = time.monotonic() + 60 * minutes, FIRST_PAUSE_S
    while True:
        try:
            return attempt()
        except Busy as busy:
            left = end - time.monotonic()
            if left <= 0:
                raise
            logger.info("%s (this run waits %.0f minutes more)", busy, left / 60)
        time.sleep(min(pause, left))
        pause = min(2 * pause, LONGEST_PAUSE_S)


def stage_seconds() -> float:
    """Seconds after which a stage is given up: C2P_STAGE_HOURS (72).

    Raises ValueError: it is no number above 0.
    """
    text = os.environ.get("C2P_STAGE_HOURS", "") or str(STAGE_HOURS)
    try:
        hours = float(text)
    except ValueError:
        hours = 0.0
    if not 0 < hours < float("inf"):
        raise ValueError(f"C2P_STAGE_HOURS: got {text!r}; allowed: a number of hours above 0")
    return 3600 * hours
