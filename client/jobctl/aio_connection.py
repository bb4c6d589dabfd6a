"""The way to one daemon for asyncio: fulfils what talks wish for."""

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import closing
from types import TracebackType
from typing import Self, TypeAlias, TypeVar, cast

import grpc
import grpc.aio
from google.protobuf.message import Message

from jobctl.channel import make_metadata, open_aio_channel
from jobctl.endpoint import Endpoint
from jobctl.errors import JobctlError, UnreachableError
from jobctl.services import Services
from jobctl.statuses import translate
from jobctl.talk import Ask, Conversation, Open, Pause, Read, Send, SilenceError, Source, Talk, Wish, Work

_T = TypeVar("_T")
# In quotes, as not every release of gRPC has these classes generic when the program runs.
_Ask: TypeAlias = "grpc.aio.UnaryUnaryMultiCallable[Message, Message]"
_Open: TypeAlias = "grpc.aio.UnaryStreamMultiCallable[Message, Message]"
_Send: TypeAlias = "grpc.aio.StreamUnaryMultiCallable[Message, Message]"


class AioConnection:
    """A channel to a daemon; its calls raise subclasses of `jobctl.errors.JobctlError`, and nothing else."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Hold a channel; the connection is made with the first call."""
        self.address = endpoint.address
        self.metadata = make_metadata(endpoint)
        self._channel = open_aio_channel(endpoint)
        self._closed = False
        self.services = Services(cast("grpc.Channel", self._channel))

    async def close(self) -> None:
        """Close the channel; calls that still run end."""
        self._closed = True
        await self._channel.close()

    def check_open(self) -> None:
        """Raise `UnreachableError` after `close`."""
        if self._closed:
            raise UnreachableError("this client was closed", hint="make another one")

    async def run(self, talk: Talk[_T]) -> _T:
        """Bring a talk to its end and give its result."""
        with _Courier(self) as courier:
            return await courier.run(talk)

    async def iterate(self, source: Source[_T]) -> AsyncGenerator[_T, None]:
        """Give what comes, piece by piece; the stream behind it ends with the reader."""
        with _Courier(self) as courier:
            while (item := await courier.run(source.next())) is not None:
                yield item


class _Courier:
    """Fulfils the wishes of a talk, or of the talks of one source; between these its stream stays open."""

    def __init__(self, connection: AioConnection) -> None:
        self._connection = connection
        self._stream: grpc.aio.UnaryStreamCall[Message, Message] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._close_stream()

    async def run(self, talk: Talk[_T]) -> _T:
        """Bring a talk to its end; whatever interrupts it closes it."""
        with closing(talk):
            conversation = Conversation(talk)
            while conversation.wish is not None:
                try:
                    answer = await self._try(conversation.wish)
                except Exception as error:  # noqa: BLE001 - the talk decides what it means
                    conversation.fail(error)
                else:
                    conversation.answer(answer)
            return conversation.result

    async def _try(self, wish: Wish) -> object:
        address = self._connection.address
        try:
            return await self._fulfil(wish)
        except grpc.RpcError as error:
            raise translate(error, address) from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task and task.cancelling():
                raise
            # Nobody cancelled this task: it is how grpc.aio tells that the call was, by the daemon or by `close`.
            raise UnreachableError(f"the call to the daemon at {address} was broken off", code="CANCELLED") from None

    async def _fulfil(self, wish: Wish) -> object:
        self._connection.check_open()
        services, metadata = self._connection.services, self._connection.metadata
        match wish:
            case Ask():
                ask = cast("_Ask", wish.choose(services))
                return await ask(wish.request, timeout=wish.seconds, metadata=metadata)
            case Open():
                self._close_stream()
                opening = cast("_Open", wish.choose(services))
                self._stream = opening(wish.request, wait_for_ready=wish.patient, metadata=metadata)
                return None
            case Read():
                return await self._read(wish.seconds)
            case Pause():
                await asyncio.sleep(wish.seconds)
                return None
            case Work():
                return await _work(wish.function)
            case Send():
                return await _send(cast("_Send", wish.choose(services)), wish.make_requests(), metadata)

    async def _read(self, seconds: float) -> Message | None:
        if self._stream is None:
            return None
        try:
            async with asyncio.timeout(None if seconds == math.inf else seconds):
                message = await self._stream.read()
        except TimeoutError as error:
            self._close_stream()
            raise SilenceError from error
        return None if message is grpc.aio.EOF else cast("Message", message)

    def _close_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream:
            stream.cancel()


async def _work(function: Callable[[], _T]) -> _T:
    work = asyncio.ensure_future(asyncio.to_thread(function))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        # Whoever cancels goes on to remove files: not while a thread still writes them.
        await asyncio.wait([work])
        raise


async def _send(method: _Send, requests: Iterator[Message], metadata: tuple[tuple[str, str], ...]) -> Message:
    failures: list[JobctlError] = []

    async def make() -> AsyncIterator[Message]:
        try:
            while (request := await asyncio.to_thread(next, requests, None)) is not None:
                yield request
        except JobctlError as error:
            # To stop here would be to complete the call, cut short: it has to be cancelled.
            failures.append(error)
            call.cancel()

    call = method(make(), metadata=metadata)
    try:
        return await call
    except (asyncio.CancelledError, grpc.RpcError) as error:
        if failures:
            raise failures[0] from error
        raise
    finally:
        call.cancel()
