"""Ten million faces, and files that lie about their number, are refused before memory explodes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from huge_meshes import CASES
from small_factory import REPOSITORY

RISE_MB = 700
"""Parsing such a file takes 1.7 to 6.8 GB."""
REASONS = ("more than 5000000 faces", "more than 20000000 vertices", "lines, where", "unreadable")


@pytest.fixture(scope="module")
def answers() -> dict[str, dict]:
    """What a child with 8 GB of address space says of every case."""
    script = Path(__file__).with_name("huge_meshes.py")
    variables = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, script], env=variables, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return {answer["case"]: answer for answer in map(json.loads, done.stdout.splitlines())}


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux: peaks of memory come from /proc")
@pytest.mark.parametrize("case", CASES)
def test_too_many_faces_are_refused_by_a_look(answers: dict[str, dict], case: str) -> None:
    answer = answers[case]
    assert any(reason in answer["reason"] for reason in REASONS), answer
    assert answer["rise_mb"] < RISE_MB, answer
