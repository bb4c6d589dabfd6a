"""The very first interceptor: bytes that are no message of the method's type are the client's fault, and told as that.

gRPC itself reads messages before any interceptor is asked, and answers UNKNOWN, without a reason, when it cannot.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from jobd.errors import InvalidRequestError
from jobd.rpc.context import Context, Handler
from jobd.rpc.handlers import stream_behaviour, unary_behaviour, with_stream, with_unary
from jobd.rpc.status import status_of

Details = grpc.HandlerCallDetails
Read = Callable[[bytes], Any]

_OURS = "/jobapi."
"""Health and reflection are not ours, and are left as they are."""


class ReadingInterceptor(grpc.aio.ServerInterceptor):
    """Reads requests in the place of gRPC."""

    async def intercept_service(
        self, continuation: Callable[[Details], Awaitable["Handler | None"]], handler_call_details: Details
    ) -> "Handler | None":
        """Wrap the handler of a call."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.request_deserializer is None:
            return handler
        if not handler_call_details.method.startswith(_OURS):
            return handler
        if handler.request_streaming:
            return _wrap_requests(handler, handler.request_deserializer)
        if handler.response_streaming:
            return _wrap_stream(handler, handler.request_deserializer)
        return _wrap_unary(handler, handler.request_deserializer)


def _wrap_unary(handler: Handler, read: Read) -> Handler:
    behaviour = unary_behaviour(handler)

    async def call(data: bytes, context: Context) -> Any:  # noqa: ANN401 - any message
        return await behaviour(await _read(data, read, context), context)

    return with_unary(handler, call, raw=True)


def _wrap_stream(handler: Handler, read: Read) -> Handler:
    behaviour = stream_behaviour(handler)

    async def call(data: bytes, context: Context) -> AsyncIterator[Any]:
        async for message in behaviour(await _read(data, read, context), context):
            yield message

    return with_stream(handler, call, raw=True)


def _wrap_requests(handler: Handler, read: Read) -> Handler:
    behaviour = unary_behaviour(handler)

    async def messages(requests: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        async for data in requests:
            # Whoever takes the messages makes a status of what is raised.
            yield _parse(data, read)

    async def call(requests: AsyncIterator[bytes], context: Context) -> Any:  # noqa: ANN401 - any message
        return await behaviour(messages(requests), context)

    return with_unary(handler, call, raw=True)


async def _read(data: bytes, read: Read, context: Context) -> Any:  # noqa: ANN401 - any message
    try:
        return _parse(data, read)
    except InvalidRequestError as error:
        await context.abort_with_status(status_of(error))


def _parse(data: bytes, read: Read) -> Any:  # noqa: ANN401 - any message
    try:
        return read(data)
    except DecodeError as error:
        hint = "make the client's stubs anew from the daemon's own .proto files"
        raise InvalidRequestError("the request is no message of the type that this method takes", hint=hint) from error
