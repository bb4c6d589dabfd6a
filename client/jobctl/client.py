"""The Python client of jobd: blocking, typed, and the one that jobctl itself uses."""

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar

from jobctl.caller import Caller
from jobctl.connection import Connection
from jobctl.endpoint import Endpoint
from jobctl.operations import Operations
from jobctl.patience import Patience
from jobctl.signatures import present
from jobctl.talk import Source, Talk

_P = ParamSpec("_P")
_T = TypeVar("_T")


def _blocking(operation: Callable[Concatenate[Operations, _P], Talk[_T]]) -> "Callable[Concatenate[Client, _P], _T]":
    def call(self: "Client", /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return self._connection.run(operation(self._operations, *args, **kwargs))

    return present(call, operation, "{}")


def _yielding(
    operation: Callable[Concatenate[Operations, _P], Source[_T]],
) -> "Callable[Concatenate[Client, _P], Iterator[_T]]":
    def call(self: "Client", /, *args: _P.args, **kwargs: _P.kwargs) -> Iterator[_T]:
        return self._connection.iterate(operation(self._operations, *args, **kwargs))

    return present(call, operation, "Iterator[{}]")


class Client(Caller):
    """A connection to one daemon. Every method raises subclasses of `jobctl.errors.JobctlError`, and nothing else.

    Ids may be given as an unambiguous beginning or as `@latest`. Jobs, events and answers are the messages of
    `jobapi.v1`. Its methods, with what they take and give, are described in `Operations`.
    """

    def __init__(self, endpoint: Endpoint, *, patience: Patience | None = None) -> None:
        """Hold a channel; the connection is made with the first call."""
        super().__init__(endpoint, patience=patience)
        self._connection = Connection(endpoint)

    def close(self) -> None:
        """Close the connection; calls that still run end."""
        self._connection.close()

    def __enter__(self) -> Self:
        """Give the client itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the connection."""
        self.close()

    submit = _blocking(Operations.submit)
    validate = _blocking(Operations.validate)
    make_input = _blocking(Operations.make_input)
    watch = _yielding(Operations.watch)
    watch_jobs = _yielding(Operations.watch_jobs)
    wait = _blocking(Operations.wait)
    get = _blocking(Operations.get)
    list_jobs = _yielding(Operations.list_jobs)
    explain = _blocking(Operations.explain)
    logs = _yielding(Operations.logs)
    cancel = _blocking(Operations.cancel)
    retry = _blocking(Operations.retry)
    delete = _blocking(Operations.delete)
    upload = _blocking(Operations.upload)
    download = _blocking(Operations.download)
    modules = _blocking(Operations.modules)
    info = _blocking(Operations.info)
    open_dashboard = _blocking(Operations.open_dashboard)
