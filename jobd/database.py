"""The SQLite file under the store: how it is opened, and kept at this version's schema."""

import sqlite3
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event

from jobd.errors import StorageError

HEAD = "0004"
"""The migration that makes this version's schema."""

_QUICK_CHECK_BYTES = 64 << 20
"""A larger database is not read whole at every start, which has to be quick."""


def open_writer(path: Path) -> Engine:
    """Open the database for the one writer, making or migrating it first.

    StorageError when it is damaged, or was written by a newer version.
    """
    engine = create_engine(
        URL.create("sqlite", database=str(path)), connect_args={"isolation_level": None, "timeout": 30.0}
    )

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "trusted_schema=OFF"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute(f"PRAGMA journal_size_limit={64 << 20}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that starts as a reader cannot wait for a lock when it first writes.
        connection.connection.driver_connection.execute("BEGIN IMMEDIATE")  # type: ignore[union-attr]

    try:
        _migrate(engine, path)
    except sqlite3.DatabaseError as error:
        raise _damaged(path, error) from error
    return engine


def open_reader(path: Path) -> Engine:
    """Open the database for reading only, from any number of threads."""
    return create_engine(
        URL.create("sqlite", database=f"file:{quote(str(path))}", query={"mode": "ro", "uri": "true"}),
        connect_args={"isolation_level": None, "timeout": 30.0, "check_same_thread": False},
        pool_size=4,
        max_overflow=8,
    )


def _damaged(path: Path, error: Exception) -> StorageError:
    return StorageError(f"{path} is damaged: {error}", hint="put a backup in its place, or move it away to begin anew")


def _migrate(engine: Engine, path: Path) -> None:
    revision = _revision(path)
    if revision == HEAD:
        return
    # Alembic costs a fifth of a second to import, and is needed once in the life of a version.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if revision is not None and revision not in known:
        raise StorageError(
            f"{path} was written by a newer version of jobd (schema {revision}, this one knows {HEAD})",
            hint="install that version, or restore a backup made before the upgrade",
        )
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _revision(path: Path) -> str | None:
    if not path.exists():
        return None
    connection = sqlite3.connect(path)
    try:
        if path.stat().st_size < _QUICK_CHECK_BYTES:
            check = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if check != "ok":
                raise _damaged(path, ValueError(check))
        names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "alembic_version" not in names:
            return None
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return None if row is None else str(row[0])
    except sqlite3.DatabaseError as error:
        raise _damaged(path, error) from error
    finally:
        connection.close()
