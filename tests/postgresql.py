"""A PostgreSQL server of the tests' own, from the binaries of this machine."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PASSWORD = "p@ss%word"
QUOTED = "p%40ss%25word"
PATIENCE_S = 60


def binaries() -> Path | None:
    """The folder of `initdb` and `postgres`; Debian keeps them off the path."""
    found = [Path(path).resolve().parent for path in [shutil.which("initdb")] if path]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in found if all((folder / name).exists() for name in ("initdb", "postgres"))), None)


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """`USER:PASSWORD@HOST:PORT` of a server with a database `postgres`; never run by root, which it would refuse."""
    user = {"user": "nobody", "extra_groups": []} if os.getuid() == 0 else {}
    data = Path(tempfile.mkdtemp(prefix="c2p-postgresql-"))
    if user:
        shutil.chown(data, "nobody")
    try:
        secret = data / "secret"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        initdb = [folder / "initdb", "-D", data / "db", "-U", "c2p", "-A", "scram-sha-256", "--pwfile", secret, "-N"]
        subprocess.run([*initdb, "-E", "UTF8", "--locale", "C"], check=True, capture_output=True, cwd="/", **user)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        options = {"port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
        command = [folder / "postgres", "-D", data / "db", *(f"--{name}={value}" for name, value in options.items())]
        with (data / "log").open("wb") as log:
            server = subprocess.Popen(command, cwd="/", stdout=log, stderr=log, **user)
        try:
            _wait(server, port)
            yield f"c2p:{QUOTED}@127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(PATIENCE_S)
    finally:
        shutil.rmtree(data)


def _wait(server: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while server.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError("PostgreSQL did not start")
