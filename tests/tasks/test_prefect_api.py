"""A locked database is met with short pauses: against a real HTTP server that refuses."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from tasks.prefect_api import PAUSES_S, PatientTransport

REFUSALS = [0]
BODIES: list[bytes] = []


class Refusing(BaseHTTPRequestHandler):
    """Refuses as often as REFUSALS says, then answers."""

    def do_POST(self) -> None:
        BODIES.append(self.rfile.read(int(self.headers["content-length"])))
        REFUSALS[0] -= 1
        self.send_response(503 if REFUSALS[0] >= 0 else 201)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    BODIES.clear()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_asks_again_with_the_same_body(url: str) -> None:
    REFUSALS[0] = 3
    begin = time.monotonic()
    with httpx.Client(transport=PatientTransport()) as client:
        assert client.post(url, content=b"a run").status_code == 201
    assert BODIES == [b"a run"] * 4
    assert time.monotonic() - begin >= sum(PAUSES_S[:3])


def test_leaves_what_stays_refused_to_the_client(url: str) -> None:
    REFUSALS[0] = 1000
    with httpx.Client(transport=PatientTransport()) as client:
        assert client.post(url, content=b"").status_code == 503
    assert len(BODIES) == len(PAUSES_S) + 1
