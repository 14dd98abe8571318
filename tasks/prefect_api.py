"""Requests to Prefect's server that don't give up two seconds for a locked database. Prefect is imported late."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

PAUSES_S = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
HERE = (None, "127.0.0.1", "localhost", "::1")


class PatientTransport(httpx.HTTPTransport):
    """Asks again soon where SQLite met another writer: the server answers 503, for which Prefect's client waits 2 s."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; what is still refused at the end is for Prefect's client to try again."""
        for pause in PAUSES_S:
            response = super().handle_request(request)
            if response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                return response
            response.close()
            time.sleep(pause)
        return super().handle_request(request)


@contextmanager
def open_client() -> Iterator["SyncPrefectClient"]:
    """Yield a client of the server that the current run reports to."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL

    # Only a server on this machine is the project's own, without certificates and proxies in between.
    here = urlsplit(PREFECT_API_URL.value() or "").hostname in HERE
    with get_client(httpx_settings={"transport": PatientTransport()} if here else None, sync_client=True) as client:
        yield client
