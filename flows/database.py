"""Where the project's Prefect server keeps its runs: SQLite in .c2p/prefect, or the PostgreSQL of C2P_DATABASE."""

import asyncio
import os

_ALLOWED = (
    "postgresql+asyncpg://USER:PASSWORD@HOST:PORT/DATABASE of a database that exists; unset: SQLite in .c2p/prefect"
)
_ANSWER_SECONDS = 10


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
