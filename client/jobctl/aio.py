"""The Python client of jobd for asyncio: `from jobctl.aio import AsyncClient`."""

from collections.abc import AsyncGenerator, Callable, Coroutine
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from jobctl.aio_connection import AioConnection
from jobctl.caller import Caller
from jobctl.endpoint import Endpoint
from jobctl.operations import Operations
from jobctl.patience import Patience
from jobctl.signatures import present
from jobctl.talk import Source, Talk

_P = ParamSpec("_P")
_T = TypeVar("_T")


def _awaiting(
    operation: Callable[Concatenate[Operations, _P], Talk[_T]],
) -> "Callable[Concatenate[AsyncClient, _P], Coroutine[Any, Any, _T]]":
    async def call(self: "AsyncClient", /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return await self._connection.run(operation(self._operations, *args, **kwargs))

    return present(call, operation, "{}")


def _yielding(
    operation: Callable[Concatenate[Operations, _P], Source[_T]],
) -> "Callable[Concatenate[AsyncClient, _P], AsyncGenerator[_T, None]]":
    def call(self: "AsyncClient", /, *args: _P.args, **kwargs: _P.kwargs) -> AsyncGenerator[_T, None]:
        return self._connection.iterate(operation(self._operations, *args, **kwargs))

    return present(call, operation, "AsyncGenerator[{}, None]")


class AsyncClient(Caller):
    """A connection to one daemon. Every method raises subclasses of `jobctl.errors.JobctlError`, and nothing else.

    It has the methods of `Client`: those that give one answer are awaited, `watch`, `watch_jobs`, `logs` and
    `list_jobs` are for `async for`. Cancelling the task that awaits ends the call. It belongs to the event loop in
    which it was made.
    """

    def __init__(self, endpoint: Endpoint, *, patience: Patience | None = None) -> None:
        """Hold a channel; the connection is made with the first call."""
        super().__init__(endpoint, patience=patience)
        self._connection = AioConnection(endpoint)

    async def close(self) -> None:
        """Close the connection; calls that still run end."""
        await self._connection.close()

    async def __aenter__(self) -> Self:
        """Give the client itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """Close the connection."""
        await self.close()

    submit = _awaiting(Operations.submit)
    validate = _awaiting(Operations.validate)
    make_input = _awaiting(Operations.make_input)
    watch = _yielding(Operations.watch)
    watch_jobs = _yielding(Operations.watch_jobs)
    wait = _awaiting(Operations.wait)
    get = _awaiting(Operations.get)
    list_jobs = _yielding(Operations.list_jobs)
    explain = _awaiting(Operations.explain)
    logs = _yielding(Operations.logs)
    cancel = _awaiting(Operations.cancel)
    retry = _awaiting(Operations.retry)
    delete = _awaiting(Operations.delete)
    upload = _awaiting(Operations.upload)
    download = _awaiting(Operations.download)
    modules = _awaiting(Operations.modules)
    info = _awaiting(Operations.info)
    open_dashboard = _awaiting(Operations.open_dashboard)
