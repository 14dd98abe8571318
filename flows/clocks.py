"""What a Prefect server that was away must not count: the silence of runs that could not reach it.

The clocks of the automation that clears dead runs (flows/automations.py) stand in the server's database and have gone
on meanwhile: the first thing a server does that comes back late is to mark every run as crashed, those that live too.
"""

import asyncio
from pathlib import Path

_TABLE = "automation_bucket"
_STOP = f"delete from {_TABLE} where automation_id in (select id from automation where name like 'c2p: %')"


def stop_clocks(home: Path, url: str | None) -> None:
    """Delete the clocks from the database of a server that is not up; `flows.automations` starts new ones.

    home: Prefect's home, where the server keeps SQLite; url: its PostgreSQL, None: it has none.
    """
    file = home / "prefect.db"
    if url or file.is_file():
        asyncio.run(_stop(url or f"sqlite+aiosqlite:///{file}"))


async def _stop(url: str) -> None:
    from sqlalchemy import inspect, text
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            if await connection.run_sync(lambda known: inspect(known).has_table(_TABLE)):
                await connection.execute(text(_STOP))
    finally:
        await engine.dispose()
