"""The blocking way to one daemon: fulfils what talks wish for."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from types import TracebackType
from typing import Protocol, Self, TypeVar, cast

import grpc
from google.protobuf.message import Message

from jobctl.channel import make_metadata, open_channel
from jobctl.endpoint import Endpoint
from jobctl.errors import UnreachableError
from jobctl.reader import Call, Reader
from jobctl.services import Services
from jobctl.statuses import translate
from jobctl.talk import Ask, Conversation, Open, Pause, Read, Send, SilenceError, Source, Talk, Wish, Work
from jobctl.upload_call import UploadCall, UploadMethod

_T = TypeVar("_T")


class _Method(Protocol):
    def __call__(self, request: Message, *, timeout: float, metadata: object) -> object: ...


class _StreamMethod(Protocol):
    def __call__(self, request: Message, *, wait_for_ready: bool, metadata: object) -> Call[Message]: ...


class Connection:
    """A channel to a daemon; its calls raise subclasses of `jobctl.errors.JobctlError`, and nothing else."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Hold a channel; the connection is made with the first call."""
        self.address = endpoint.address
        self.metadata = make_metadata(endpoint)
        self._channel = open_channel(endpoint)
        self._closed = False
        self.services = Services(self._channel)

    def close(self) -> None:
        """Close the channel; calls that still run end."""
        self._closed = True
        self._channel.close()

    def check_open(self) -> None:
        """Raise `UnreachableError` after `close`."""
        if self._closed:
            raise UnreachableError("this client was closed", hint="make another one")

    def run(self, talk: Talk[_T]) -> _T:
        """Bring a talk to its end and give its result."""
        with _Courier(self) as courier:
            return courier.run(talk)

    def iterate(self, source: Source[_T]) -> Iterator[_T]:
        """Give what comes, piece by piece; the stream behind it ends with the reader."""
        with _Courier(self) as courier:
            while (item := courier.run(source.next())) is not None:
                yield item

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn gRPC's errors into this package's."""
        try:
            yield
        except grpc.RpcError as error:
            raise translate(error, self.address) from error


class _Stream:
    """An open stream, read in a thread of its own."""

    def __init__(self, call: Call[Message]) -> None:
        self._seconds = 0.0
        self._reader = Reader(call)
        self._reader.__enter__()
        self._messages = self._reader.read(lambda: self._seconds)

    def read(self, seconds: float) -> Message | None:
        """Read the next message; None at the end."""
        self._seconds = seconds
        try:
            return next(self._messages, None)
        except grpc.RpcError as error:
            if self._reader.expired:
                raise SilenceError from error
            raise

    def close(self) -> None:
        """End it."""
        self._reader.__exit__(None, None, None)


class _Courier:
    """Fulfils the wishes of a talk, or of the talks of one source; between these its stream stays open."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stream: _Stream | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._close_stream()

    def run(self, talk: Talk[_T]) -> _T:
        """Bring a talk to its end; whatever interrupts it closes it."""
        with closing(talk):
            conversation = Conversation(talk)
            while conversation.wish is not None:
                try:
                    with self._connection.translated():
                        answer = self._fulfil(conversation.wish)
                except Exception as error:  # noqa: BLE001 - the talk decides what it means
                    conversation.fail(error)
                else:
                    conversation.answer(answer)
            return conversation.result

    def _fulfil(self, wish: Wish) -> object:
        self._connection.check_open()
        services, metadata = self._connection.services, self._connection.metadata
        match wish:
            case Ask():
                ask = cast("_Method", wish.choose(services))
                return ask(wish.request, timeout=wish.seconds, metadata=metadata)
            case Open():
                self._close_stream()
                opening = cast("_StreamMethod", wish.choose(services))
                self._stream = _Stream(opening(wish.request, wait_for_ready=wish.patient, metadata=metadata))
                return None
            case Read():
                return self._stream.read(wish.seconds) if self._stream else None
            case Pause():
                time.sleep(wish.seconds)
                return None
            case Work():
                return wish.function()
            case Send():
                return UploadCall(wish.make_requests()).run(cast("UploadMethod", wish.choose(services)), metadata)

    def _close_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream:
            stream.close()
