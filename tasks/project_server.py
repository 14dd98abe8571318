"""The Prefect server that `make server` has started for a project: where it is, and whether it is up."""

import json
import socket
from pathlib import Path
from typing import Any

HOME = Path(".c2p/prefect")
"""Prefect's home, relative to the project's root."""
PROCESSES = HOME / "processes.json"
"""Which processes run: `port` and `url` of the server, `pid` and `started` (seconds since 1970) of each."""


def running_url(root: Path) -> str | None:
    """Return the address of the project's API if its server is up, without asking it anything.

    None as well where the record is damaged: `make server` says so.
    """
    try:
        state = read_processes(root)
    except ValueError:
        return None
    if not is_alive(state.get("server")):
        return None
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return state["url"] + "/api" if probe.connect_ex(("127.0.0.1", state["port"])) == 0 else None


def is_alive(entry: dict[str, Any] | None) -> bool:
    """Whether the recorded process still runs: its number and its time of birth agree."""
    if entry is None:
        return False
    import psutil

    try:
        process = psutil.Process(entry["pid"])
        return process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - entry["started"]) < 1
    except psutil.NoSuchProcess:
        return False


def read_processes(root: Path) -> dict[str, Any]:
    """What is recorded; empty: nothing was started, or it was stopped.

    Raises ValueError: the record is damaged.
    """
    path = root / PROCESSES
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        parts = [value for name, value in state.items() if name not in ("port", "url")]
        if not all(isinstance(part["pid"], int) and isinstance(part["started"], float) for part in parts):
            raise TypeError
        if not isinstance(state.get("port", 0), int) or not isinstance(state.get("url", ""), str):
            raise TypeError
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ValueError(
            f"{path}: not a record of started processes; end what still runs (pgrep -af flows.garbage; pgrep -af "
            "'prefect worker') and delete it"
        ) from None
    return dict(state)
