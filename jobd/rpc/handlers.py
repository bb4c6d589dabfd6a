"""Putting something around the handler of a call, whatever its kind, as interceptors do."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from jobd.rpc.context import Context, Handler

Unary = Callable[[Any, Context], Awaitable[Any]]
"""What answers a call with one message."""
Stream = Callable[[Any, Context], AsyncIterator[Any]]
"""What answers a call with messages."""


def unary_behaviour(handler: Handler) -> Unary:
    """Give what the handler does, which answers with one message."""
    found: Any = handler.stream_unary if handler.request_streaming else handler.unary_unary
    return found  # type: ignore[no-any-return]


def stream_behaviour(handler: Handler) -> Stream:
    """Give what the handler does, which answers with messages."""
    found: Any = handler.stream_stream if handler.request_streaming else handler.unary_stream
    return found  # type: ignore[no-any-return]


def with_unary(handler: Handler, call: Unary, *, raw: bool = False) -> Handler:
    """Give the handler with this in the place of what it does; `raw`, it is given requests as their bytes."""
    make: Any = (
        grpc.stream_unary_rpc_method_handler if handler.request_streaming else grpc.unary_unary_rpc_method_handler
    )
    made: Handler = make(call, None if raw else handler.request_deserializer, handler.response_serializer)
    return made


def with_stream(handler: Handler, call: Stream | Unary, *, raw: bool = False) -> Handler:
    """Do the same with one that answers with messages; a unary `call` writes them by way of the context."""
    make: Any = (
        grpc.stream_stream_rpc_method_handler if handler.request_streaming else grpc.unary_stream_rpc_method_handler
    )
    made: Handler = make(call, None if raw else handler.request_deserializer, handler.response_serializer)
    return made
