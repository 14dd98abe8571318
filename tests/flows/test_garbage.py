"""A server's event loop never waits for a connection that waits for what the event loop is to do."""

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.garbage import postpone, resume

ROOT = Path(__file__).resolve().parents[2]
TWO_WRITERS = """
import asyncio, gc, sys
import aiosqlite
from flows.garbage import collect_aside

def lose_cursor(connection):
    '''A cursor in the midst of its rows, which reads no table, becomes garbage that only the collector finds.'''
    cursor = connection._conn.execute("SELECT 1 UNION ALL SELECT 2")
    cursor.fetchone()
    cycle = [cursor]
    cycle.append(cycle)

async def main(path):
    options = {"isolation_level": None, "check_same_thread": False, "timeout": 5}
    async with aiosqlite.connect(path, **options) as one, aiosqlite.connect(path, **options) as other:
        await one.execute("PRAGMA journal_mode = WAL")
        await one.execute("CREATE TABLE numbers (number)")
        await one.execute("INSERT INTO numbers VALUES (1), (2), (3)")
        gc.collect()
        lose_cursor(other)
        await one.execute("BEGIN IMMEDIATE")
        await one.execute("INSERT INTO numbers VALUES (4)")
        waiting = asyncio.create_task(other.execute("UPDATE numbers SET number = 5"))
        await asyncio.sleep(0.3)
        kept = [[number] for number in range(100_000)]  # enough for the collector to want to run
        await asyncio.sleep(0.5)
        await one.execute("COMMIT")
        try:
            await waiting
            print("written")
        except aiosqlite.OperationalError as error:
            print(error)

if sys.argv[2] == "aside":
    collect_aside()
asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.parametrize(("where", "outcome"), [("here", "database is locked"), ("aside", "written")])
def test_two_writers_wait_for_one_another_only_where_the_event_loop_collects(
    tmp_path: Path, where: str, outcome: str
) -> None:
    command = [sys.executable, "-c", TWO_WRITERS, str(tmp_path / "numbers.db"), where]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == outcome, done.stderr


def test_garbage_is_collected_aside() -> None:
    script = """
import time, weakref
from flows.garbage import collect_aside
class Thing: pass
collect_aside()
def lose():
    thing = Thing()
    thing.itself = thing
    return weakref.ref(thing)
lost = lose()
kept = [[number] for number in range(2_000)]
for _ in range(100):
    time.sleep(0.1)
    if lost() is None:
        print("collected")
        break
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout == "collected\n", done.stderr


def test_a_run_collects_again_after_its_imports() -> None:
    before = gc.get_freeze_count()
    try:
        postpone()
        assert not gc.isenabled()
        resume()
        assert gc.isenabled()
        assert gc.get_freeze_count() > before
    finally:
        gc.unfreeze()
        gc.enable()


def test_prefects_commands_run_with_it() -> None:
    command = [sys.executable, "-m", "flows.garbage", "version", "--no-such-option"]
    environment = os.environ | {"PREFECT_API_URL": "http://127.0.0.1:9/api"}
    refused = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert refused.returncode != 0
    assert "--no-such-option" in refused.stdout + refused.stderr
