"""An empty, migrated Prefect database, made once and copied when a server has none.

Prefect builds its tables by replaying every migration it ever had, which is most of a first start. The template
is bound to the exact version of Prefect by its name, so an upgrade never starts from an older one.
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


def template_path() -> Path:
    """Tell where the template of the installed Prefect is looked for; it need not exist."""
    return Path(sys.prefix) / "share" / "jobd" / f"prefect-{version('prefect')}.db"


def place_template(database: Path, template: Path) -> bool:
    """Copy the template to where the server's database will be; tell whether there was anything to do.

    An existing database is never touched, and a half-written copy is never visible.
    """
    if database.exists() or not template.is_file():
        return False
    part = database.with_name(database.name + ".part")
    shutil.copyfile(template, part)
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.chmod(0o600)
    part.rename(database)
    return True


def make_template(template: Path) -> None:
    """Migrate an empty database and put it at this path, in place of any that is there.

    `PREFECT_API_DATABASE_CONNECTION_URL` is set for the whole process, so this must be the only thing it does with
    Prefect.
    """
    template.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=template.parent, prefix=".prefect-") as scratch:
        database = Path(scratch) / "template.db"
        os.environ["PREFECT_HOME"] = scratch
        os.environ["PREFECT_API_DATABASE_CONNECTION_URL"] = f"sqlite+aiosqlite:///{database}"
        asyncio.run(_migrate())
        _close_journal(database)
        database.rename(template)


async def _migrate() -> None:
    """Replay Prefect's migrations on the database of the environment."""
    from prefect.server.database import provide_database_interface  # noqa: PLC0415 - 2 s, and after the settings

    interface = provide_database_interface()
    await interface.create_db()
    await (await interface.engine()).dispose()


def _close_journal(database: Path) -> None:
    """Bring everything into the one file that is copied."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
