"""How the embedded Prefect server uses its SQLite file: when transactions may write, with what memory and statements.

As shipped a transaction takes its turn with its first change, and SQLite refuses that at once ("database is locked")
when another one has written since its first look. With fifty jobs at once that met twenty of some seventy calls that
make a flow run: they were answered 503, and jobs waited to be asked for again. Asked at the beginning, it waits.

As shipped each of up to fifteen connections may keep 80 MiB of the file in memory, where the kernel has it as well.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from prefect.server.database.configurations import AioSqliteConfiguration
from prefect.server.database.dependencies import set_database_config, set_query_components
from prefect.server.database.orm_models import Base
from prefect.server.database.query_components import AioSqliteQueryComponents
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction
from sqlalchemy.pool import ConnectionPoolEntry

from jobd.prefect_inserts import BatchInsert, compile_inserts_once

CACHE_KIB = 8192
"""What a connection keeps of the file."""


class SharedFile(AioSqliteConfiguration):
    """Prefect's own way to its SQLite file, but for these two."""

    @asynccontextmanager
    async def begin_transaction(
        self,
        session: AsyncSession,
        with_for_update: bool = False,  # noqa: ARG002 - as Prefect calls it
    ) -> AsyncGenerator[AsyncSessionTransaction, None]:
        """Begin a transaction that may write; it waits for others that do, for at most a minute."""
        async with super().begin_transaction(session, with_for_update=True) as transaction:
            yield transaction

    def setup_sqlite(self, conn: DBAPIConnection, record: ConnectionPoolEntry) -> None:
        """Set up a new connection."""
        super().setup_sqlite(conn, record)
        cursor = conn.cursor()
        cursor.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        cursor.close()


class BatchQueries(AioSqliteQueryComponents):
    """Prefect's own statements for SQLite, but for inserts of many rows."""

    def insert(self, obj: type[Base]) -> BatchInsert:
        """Make an insert into a table."""
        return BatchInsert(obj)


def share_file() -> None:
    """Have the server of this process use its file so; to be called before it is made."""
    compile_inserts_once()
    set_query_components(BatchQueries())
    set_database_config(SharedFile(connection_url=PREFECT_API_DATABASE_CONNECTION_URL.value()))
