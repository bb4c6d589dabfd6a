"""When transactions of the embedded Prefect server take their turn to write: at their beginning.

As shipped they take it with their first change, and SQLite refuses that at once ("database is locked") when another one
has written since their first look. On a busy machine that met two in five of the calls that make a flow run: they were
answered 503, and jobs waited to be asked for again. Whoever asks at the beginning waits for the turn instead.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from prefect.server.database.configurations import AioSqliteConfiguration
from prefect.server.database.dependencies import set_database_config
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction


class TurnFromTheBeginning(AioSqliteConfiguration):
    """Prefect's own way to its SQLite file, but for the kind of transaction that changes begin with."""

    @asynccontextmanager
    async def begin_transaction(
        self,
        session: AsyncSession,
        with_for_update: bool = False,  # noqa: ARG002 - as Prefect calls it
    ) -> AsyncGenerator[AsyncSessionTransaction, None]:
        """Begin a transaction that may write; it waits for others that do, for at most a minute."""
        async with super().begin_transaction(session, with_for_update=True) as transaction:
            yield transaction


def take_turns() -> None:
    """Have the server of this process begin its transactions so; to be called before it is made."""
    set_database_config(TurnFromTheBeginning(connection_url=PREFECT_API_DATABASE_CONNECTION_URL.value()))
