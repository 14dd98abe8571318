"""A Prefect server for the length of one run at a terminal, started beside the imports of the run itself.

Prefect brings one too, but only when a run begins, and everything waits for it meanwhile. This one ends with the
process that started it, whatever ends that, and keeps its runs where the project's server does. Nothing is imported
here that takes long.
"""

import atexit
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

from flows.database import begin_database
from tasks.project_server import HOME, running_url

START_SECONDS = 120
_STOP_SECONDS = 5
_servers: list[subprocess.Popen[bytes]] = []


def serve_here() -> None:
    """Start a server for this process and name it in PREFECT_API_URL, unless that is set or the project's is up.

    To be called before Prefect is imported, which reads the variable.
    """
    root = Path.cwd()
    helped = not {"-h", "--help"}.isdisjoint(sys.argv[1:])
    if helped or os.environ.get("PREFECT_API_URL") or running_url(root) or not (root / "dvc.yaml").is_file():
        return
    home = Path(os.environ.get("PREFECT_HOME", root / HOME))
    home.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "PREFECT_HOME": str(home),
        "PREFECT_PLUGINS_ENABLED": "false",
        "PREFECT_UI_ENABLED": "0",
        "PREFECT__SERVER_EPHEMERAL": "1",
        "PREFECT__SERVER_FINAL": "1",
        "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",  # no run here uses one; the project's server registers them
        "PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
        "DO_NOT_TRACK": "1",
    }
    if "PREFECT_SERVER_DATABASE_CONNECTION_URL" not in os.environ:
        database = (home / "prefect.db").absolute()
        environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = f"sqlite+aiosqlite:///{database}"
        if begin_database(database):
            environment["PREFECT_SERVER_DATABASE_MIGRATE_ON_START"] = "false"
    with socket.create_server(("127.0.0.1", 0)) as listening:  # whoever asks early waits for it to be read
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.temporary", str(listening.fileno())],
            cwd=root,
            env=environment,
            stdin=subprocess.PIPE,
            pass_fds=[listening.fileno()],
            start_new_session=True,  # a Ctrl-C is for the run, which has a last word for the server
        )
        os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{listening.getsockname()[1]}/api"
    _servers.append(process)
    atexit.register(stop)  # before Prefect registers what it sends at the end, hence called after it


def is_temporary() -> bool:
    """Whether this process has a server of its own."""
    return bool(_servers)


def wait_until_ready() -> None:
    """Wait for this process's own server, if it has one.

    Raises RuntimeError: it doesn't start.
    """
    if not _servers:
        return
    url = os.environ["PREFECT_API_URL"]
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=START_SECONDS):
            return
    except (urllib.error.URLError, OSError) as error:
        code = _servers[-1].poll()
        told = f"ended with exit code {code}" if code is not None else f"gives no answer ({error})"
        raise RuntimeError(
            f"Prefect's temporary server {told}; what it said stands above. Start the project's own with make server"
        ) from None


def stop() -> None:
    """End this process's own server."""
    while _servers:
        process = _servers.pop()
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _serve(descriptor: int) -> None:
    """Be the server, on a socket that listens, until standard input ends: with the process that started this one."""
    from flows.garbage import collect_aside

    collect_aside()
    import uvicorn

    def end_with_parent() -> None:
        sys.stdin.buffer.read()
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(_STOP_SECONDS)
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    config = uvicorn.Config("prefect.server.api.server:create_app", factory=True, log_level="error", lifespan="on")
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
