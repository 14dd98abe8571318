"""`python -m flows.server start|stop`: the project's own Prefect server, work pools, deployments and workers.

Everything lies in `.c2p/prefect` of the project and listens on this machine only. Starting twice is harmless: what runs
is kept, what is missing is started, and the deployments are brought up to date.
"""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from c2p.data.files import write_json
from flows.clocks import stop_clocks
from flows.database import begin_database, database_settings
from tasks.project_server import HOME, PROCESSES, is_alive, read_processes

POOLS = ("c2p", "gpu")
"""Work pools: for all runs, and for those that are to run where the GPUs are."""
_WORKERS = {"c2p": "worker", "gpu": "worker-gpu"}
"""What the pools' workers are called in `processes.json` and among the logs."""
_START_SECONDS = 120
_STOP_SECONDS = 20


def start(root: Path) -> str:
    """Start what isn't running and return the address of the user interface.

    The port is C2P_PORT, by default 4200, or a free one where 4200 is taken; C2P_POOLS says which pools get a worker.

    Raises ValueError: C2P_PORT is no port or taken, C2P_POOLS no list of pools, C2P_DATABASE no database.
    RuntimeError: a part doesn't start; the message names its log.
    """
    state, served = read_processes(root), _served_pools()
    if not is_alive(state.get("server")):
        database, port = database_settings(), _port(state.get("port"))
        workers = {part: entry for part, entry in state.items() if part in _WORKERS.values()}
        if port != state.get("port"):  # they ask where the former server was
            for entry in workers.values():
                _end(entry)
        state = {"port": port, "url": f"http://127.0.0.1:{port}", **workers}
        stop_clocks(root / HOME, next(iter(database.values()), None))
        command = ["flows.garbage", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
        if not database:
            begin_database(root / HOME / "prefect.db")
        state["server"] = _start(root, state["url"], "server", command, database)
        write_json(root / PROCESSES, state)
    _wait_until_healthy(root, state)
    _provision(root, state["url"])
    for pool in served:
        if not is_alive(state.get(name := _WORKERS[pool])):
            command = ["prefect", "worker", "start", "--pool", pool, "--type", "process", "--name", pool]
            state[name] = _start(root, state["url"], name, command)
            write_json(root / PROCESSES, state)
    return str(state["url"])


def stop(root: Path) -> int:
    """End worker and server with the runs they started; return how many processes had to be ended."""
    state = read_processes(root)
    ended = sum(_end(state.get(part)) for part in (*_WORKERS.values(), "server"))
    (root / PROCESSES).unlink(missing_ok=True)
    return ended


def _end(entry: dict[str, Any] | None) -> int:
    """End a recorded process with its family; how many they were."""
    import psutil

    if entry is None or not is_alive(entry):
        return 0
    process = psutil.Process(entry["pid"])
    family = [process, *process.children(recursive=True)]
    process.terminate()
    _, left = psutil.wait_procs(family, timeout=_STOP_SECONDS)
    for member in left:
        member.kill()
    psutil.wait_procs(left, timeout=_STOP_SECONDS)
    return len(family)


def environment(root: Path, url: str) -> dict[str, str]:
    """The environment of the project's server, workers and runs."""
    folder = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "PATH": os.pathsep.join([folder, os.environ.get("PATH", "")]),
        "PREFECT_HOME": str(root / HOME),
        "PREFECT_API_URL": url + "/api",
        "PREFECT_PLUGINS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }


def _start(
    root: Path, url: str, part: str, command: list[str], settings: Mapping[str, str] = MappingProxyType({})
) -> dict[str, Any]:
    import psutil

    with _log(root, part).open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=root,
            env={**environment(root, url), **settings},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return {"pid": process.pid, "started": psutil.Process(process.pid).create_time()}


def _provision(root: Path, url: str) -> None:
    command = [sys.executable, "-m", "flows.provision"]
    done = subprocess.run(command, cwd=root, env=environment(root, url), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"flows.provision: {(done.stderr or done.stdout).strip()}")


def _wait_until_healthy(root: Path, state: dict[str, Any]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and is_alive(state["server"]):
        try:
            with urllib.request.urlopen(state["url"] + "/api/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"the Prefect server doesn't answer at {state['url']}; its log is {_log(root, 'server')}")


def _port(former: int | None = None) -> int:
    """C2P_PORT, else the port of the project's former server or 4200, else any that is free."""
    text = os.environ.get("C2P_PORT", "")
    if text and not (text.isdecimal() and 0 < int(text) < 65536):
        raise ValueError(f"C2P_PORT: got {text!r}; allowed: 1 to 65535")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", int(text or former or 4200)))
        except OSError as error:
            if text:
                raise ValueError(f"C2P_PORT: {text} is taken ({error.strerror}); choose another port") from None
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _served_pools() -> list[str]:
    """The pools of C2P_POOLS, in order; unset: c2p alone."""
    names = (os.environ.get("C2P_POOLS", "") or "c2p").split(",")
    if len(set(names)) < len(names) or not set(names) <= set(POOLS):
        raise ValueError(f"C2P_POOLS: got {','.join(names)!r}; allowed: one or several of {','.join(POOLS)}")
    return names


def _log(root: Path, part: str) -> Path:
    path = root / HOME / f"{part}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def main(arguments: list[str]) -> int:
    """Start or stop the server; return the exit code."""
    root = Path.cwd()
    try:
        if arguments == ["start"]:
            url = start(root)
            print(f"Prefect UI: {url}\nRun the pipeline: prefect deployment run pretrain-pipeline")
        elif arguments == ["stop"]:
            print(f"{stop(root)} processes ended")
        else:
            raise ValueError(f"flows.server: got {' '.join(arguments) or 'nothing'}; allowed: start or stop")
    except (ValueError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
