"""What is tried again, and for how long; with real processes: tests/contract."""

import errno

import aiohttp
import botocore.exceptions
import httpx
import pytest
import requests

from flows import patience
from flows.parts import can_pass
from flows.patience import patiently, stage_seconds
from tasks.busy import Busy
from tasks.shard_map import WorkerDied


class Attempt:
    """Fails so many times, then returns."""

    def __init__(self, times: int, error: Exception) -> None:
        self.left, self.error, self.calls = times, error, 0

    def __call__(self) -> str:
        self.calls += 1
        self.left -= 1
        if self.left >= 0:
            raise self.error
        return "done"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.001)


def test_busy_is_waited_for(quick: None) -> None:
    attempt = Attempt(5, Busy("grow: busy"))
    assert patiently(attempt, minutes=1) == "done"
    assert attempt.calls == 6


def test_without_patience_busy_is_said_at_once(quick: None) -> None:
    attempt = Attempt(1, Busy("grow: busy"))
    with pytest.raises(Busy):
        patiently(attempt, minutes=0)
    assert attempt.calls == 1


def test_patience_ends(quick: None) -> None:
    with pytest.raises(Busy):
        patiently(Attempt(10**9, Busy("grow: busy")), minutes=0.001)


@pytest.mark.parametrize("error", [ValueError("wrong"), FileNotFoundError("gone"), WorkerDied("killed")])
def test_nothing_else_is_waited_for(quick: None, error: Exception) -> None:
    attempt = Attempt(1, error)
    with pytest.raises(type(error)):
        patiently(attempt, minutes=1)
    assert attempt.calls == 1


@pytest.mark.parametrize("text", ["0", "-1", "soon", "inf", "nan"])
def test_an_impossible_time_for_a_stage_is_one_line(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("C2P_STAGE_HOURS", text)
    with pytest.raises(ValueError, match=f"C2P_STAGE_HOURS: got '{text}'; allowed: a number of hours above 0"):
        stage_seconds()


def test_time_for_a_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("C2P_STAGE_HOURS", raising=False)
    assert stage_seconds() == 72 * 3600
    monkeypatch.setenv("C2P_STAGE_HOURS", "1.5")
    assert stage_seconds() == 5400


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(),
        TimeoutError(),
        WorkerDied(),
        aiohttp.ServerDisconnectedError(),
        aiohttp.ClientPayloadError(),
        botocore.exceptions.EndpointConnectionError(endpoint_url="x"),
        botocore.exceptions.ReadTimeoutError(endpoint_url="x"),
        httpx.ConnectError("x"),
        httpx.ReadTimeout("x"),
        requests.ConnectionError(),
        requests.ReadTimeout(),
    ],
)
def test_networks_and_killed_workers_can_pass(error: Exception) -> None:
    assert can_pass(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bad data"),
        OSError(errno.ENOSPC, "full"),
        FileNotFoundError(),
        PermissionError(),
        botocore.exceptions.NoCredentialsError(),
        requests.HTTPError("404"),
        requests.exceptions.InvalidURL("x"),
    ],
)
def test_what_the_user_must_mend_cannot(error: Exception) -> None:
    assert not can_pass(error)
