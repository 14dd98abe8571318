"""Where the project's Prefect server keeps its runs: SQLite in .c2p/prefect, or the PostgreSQL of C2P_DATABASE.

Prefect builds a new SQLite database by a hundred migrations, which take several seconds. `python -m flows.database`
(`make` calls it) does so once and keeps the empty database in the environment, and new projects begin with a copy.
"""

import asyncio
import os
import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

_ALLOWED = (
    "postgresql+asyncpg://USER:PASSWORD@HOST:PORT/DATABASE of a database that exists; unset: SQLite in .c2p/prefect"
)
_ANSWER_SECONDS = 10
TEMPLATE = Path(sys.prefix) / "share/c2p" / f"prefect-{version('prefect')}.db"
"""An empty database of the Prefect that is installed, if it was made."""


def begin_database(path: Path) -> bool:
    """Put a copy of the empty database at a path where there is none yet; whether it then needs no migration."""
    if not TEMPLATE.is_file():
        return False
    if not path.exists():
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            shutil.copyfile(TEMPLATE, temporary)
            os.link(temporary, path)
        except FileExistsError:  # another run began at the same time
            pass
        finally:
            temporary.unlink(missing_ok=True)
    return bool(_revision(TEMPLATE)) and _revision(path) == _revision(TEMPLATE)


def make_template() -> None:
    """Make the empty database if it isn't there yet."""
    if TEMPLATE.is_file():
        return
    TEMPLATE.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=TEMPLATE.parent) as folder:
        made = Path(folder, "prefect.db")
        os.environ["PREFECT_PLUGINS_ENABLED"] = "false"
        os.environ["PREFECT_HOME"] = folder
        os.environ["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = f"sqlite+aiosqlite:///{made}"
        asyncio.run(_create())
        with closing(sqlite3.connect(made)) as database:  # all of it into the one file
            database.execute("PRAGMA journal_mode=DELETE")
        os.replace(made, TEMPLATE)


async def _create() -> None:
    from prefect.server.database import provide_database_interface

    database = provide_database_interface()
    await database.create_db()
    await (await database.engine()).dispose()


def _revision(path: Path) -> str:
    """The last migration of a SQLite database; empty where it can't be told."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=1)) as database:
            return str(database.execute("SELECT version_num FROM alembic_version").fetchall())
    except sqlite3.Error:
        return ""


def database_settings() -> dict[str, str]:
    """Prefect's setting for the database that C2P_DATABASE names, once it has answered; empty where it is unset.

    Raises ValueError: no URL of a PostgreSQL database, or one that doesn't let us in; the message hides the password.
    """
    text = os.environ.get("C2P_DATABASE", "")
    return {"PREFECT_SERVER_DATABASE_CONNECTION_URL": _tried(text)} if text else {}


def _tried(text: str) -> str:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(text)
    except (ArgumentError, ValueError):  # the text may hold a password: it is not repeated
        raise ValueError(f"C2P_DATABASE: got no URL; allowed: {_ALLOWED}") from None
    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+asyncpg")
    shown = url.render_as_string(hide_password=True)
    if url.drivername != "postgresql+asyncpg":
        raise ValueError(f"C2P_DATABASE: got {shown!r}; allowed: {_ALLOWED}")
    full = url.render_as_string(hide_password=False)
    if trouble := asyncio.run(_trouble(full)):
        raise ValueError(f"C2P_DATABASE: got {shown!r} ({trouble}); allowed: {_ALLOWED}")
    return full


async def _trouble(url: str) -> str:
    """Why a database doesn't let us in, in one line; empty: it does."""
    from asyncpg import PostgresError
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(url)
    try:
        async with asyncio.timeout(_ANSWER_SECONDS), engine.connect():
            return ""
    except TimeoutError:
        return f"no answer in {_ANSWER_SECONDS} s"
    except (OSError, PostgresError, SQLAlchemyError, TypeError, ValueError) as error:  # the last: odd options of a URL
        cause = getattr(error, "orig", None) or error
        return " ".join((getattr(cause, "strerror", None) or str(cause)).partition("\n")[0].split())
    finally:
        await engine.dispose()


if __name__ == "__main__":
    make_template()
