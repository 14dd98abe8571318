"""How many processes share parallel work on this machine."""

import os


def worker_count() -> int:
    """Worker processes to use: C2P_WORKERS, or the cores this process may run on.

    Raises ValueError: C2P_WORKERS is not a whole number of at least 1.
    """
    text = os.environ.get("C2P_WORKERS", "")
    if not text:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"C2P_WORKERS: got {text!r}; allowed: a whole number of at least 1")
    return int(text)
