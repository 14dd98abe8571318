"""Which clocks a server that was away must not find; with a real server: tests/contract/test_recovery.py."""

import contextlib
import sqlite3
from pathlib import Path

from flows.automations import automations
from flows.clocks import stop_clocks

TABLES = """
create table automation (id text, name text);
create table automation_bucket (automation_id text);
insert into automation values ('theirs', 'tell me of failures');
insert into automation_bucket values ('theirs'), ('ours'), ('ours');
"""


def test_only_the_clocks_of_the_project_are_stopped(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "prefect.db")) as database, database:
        database.executescript(TABLES)
        [ours] = automations()
        database.execute("insert into automation values ('ours', ?)", (ours.name,))
    stop_clocks(tmp_path, None)
    with contextlib.closing(sqlite3.connect(tmp_path / "prefect.db")) as database:
        assert database.execute("select automation_id from automation_bucket").fetchall() == [("theirs",)]


def test_a_server_that_never_ran_has_none(tmp_path: Path) -> None:
    stop_clocks(tmp_path, None)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "prefect.db").touch()
    stop_clocks(tmp_path, None)
