"""The outermost interceptor: every call passes the gate, and is looked at from its beginning to its status."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import grpc
from jobapi.v1 import job_service_pb2 as pb

from jobd.errors import DrainingError
from jobd.rpc import convert
from jobd.rpc.context import Context, Handler
from jobd.rpc.gate import Gate
from jobd.rpc.handlers import stream_behaviour, unary_behaviour, with_stream, with_unary
from jobd.rpc.status import status_of
from jobd.telemetry import Call, Telemetry

Details = grpc.HandlerCallDetails

_OURS = "/jobapi."
"""Health and reflection are neither looked at nor refused: probes come at any time, and their watches never end."""
_TRANSFERS = "/jobapi.v1.ArtifactService/"
_MAKERS = ("/jobapi.v1.JobService/Submit", "/jobapi.v1.JobService/Retry")


class TelemetryInterceptor(grpc.aio.ServerInterceptor):
    """Counts, measures and traces calls, and refuses them once the gate is closed."""

    def __init__(self, telemetry: Telemetry, gate: Gate) -> None:
        """Tell `telemetry` of each call that passes `gate`."""
        self._telemetry = telemetry
        self._gate = gate

    async def intercept_service(
        self, continuation: Callable[[Details], Awaitable["Handler | None"]], handler_call_details: Details
    ) -> "Handler | None":
        """Wrap the handler of a call."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None:
            self._telemetry.refuse(grpc.StatusCode.UNIMPLEMENTED.name)
            return None
        if not method.startswith(_OURS):
            return handler
        if handler.response_streaming:
            return self._wrap_stream(handler, method)
        return self._wrap_unary(handler, method)

    def _wrap_unary(self, handler: Handler, method: str) -> Handler:
        behaviour = unary_behaviour(handler)

        async def call(request: Any, context: Context) -> Any:  # noqa: ANN401 - any message
            watched = self._begin(method, context)
            if handler.request_streaming and method.startswith(_TRANSFERS):
                request = _counted(request, watched)
            try:
                with self._gate.passing():
                    answer = await behaviour(request, context)
            except BaseException as error:
                await self._fail(watched, context, error)
                raise
            if method in _MAKERS and not answer.existed:
                watched.accept(answer.job.id)
            _end(watched, context, grpc.StatusCode.OK)
            return answer

        return with_unary(handler, call)

    def _wrap_stream(self, handler: Handler, method: str) -> Handler:
        behaviour = stream_behaviour(handler)
        note = _note_bytes if method.startswith(_TRANSFERS) else _NOTES.get(method)

        async def call(request: Any, context: Context) -> AsyncIterator[Any]:  # noqa: ANN401 - any message
            watched = self._begin(method, context)
            try:
                with self._gate.passing():
                    async for message in behaviour(request, context):
                        if note is not None:
                            note(watched, message)
                        yield message
            except BaseException as error:
                await self._fail(watched, context, error)
                raise
            _end(watched, context, grpc.StatusCode.OK)

        return with_stream(handler, call)

    def _begin(self, method: str, context: Context) -> Call:
        service, _, name = method.strip("/").rpartition("/")
        metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        return self._telemetry.begin(service, name, metadata)

    @staticmethod
    async def _fail(watched: Call, context: Context, error: BaseException) -> None:
        """Note how a call failed; one that the gate refused gets its status here."""
        if isinstance(error, DrainingError):
            _end(watched, context, grpc.StatusCode.UNAVAILABLE)
            await context.abort_with_status(status_of(error))
        elif isinstance(error, asyncio.CancelledError | GeneratorExit):
            _end(watched, context, grpc.StatusCode.CANCELLED)
        else:
            _end(watched, context, grpc.StatusCode.UNKNOWN)


async def _counted(requests: AsyncIterator[Any], watched: Call) -> AsyncIterator[Any]:
    async for request in requests:
        watched.move("in", len(request.data))
        yield request


def _note_bytes(watched: Call, message: Any) -> None:  # noqa: ANN401 - a message of a transfer
    watched.move("out", len(message.data))


def _note_event(watched: Call, message: pb.WatchResponse) -> None:
    if message.HasField("event"):
        watched.send(convert.seconds(message.event.time))


def _note_change(watched: Call, message: pb.WatchJobsResponse) -> None:
    if message.HasField("change"):
        watched.send(convert.seconds(message.change.event.time))


_NOTES: Mapping[str, Callable[[Call, Any], None]] = {
    "/jobapi.v1.JobService/Watch": _note_event,
    "/jobapi.v1.JobService/WatchJobs": _note_change,
}
"""What is noted of the messages of streams."""


def _end(watched: Call, context: Context, usual: grpc.StatusCode) -> None:
    """Tell of a call's end under the code that it was given, else under the usual one."""
    given = context.code()
    code = _CODES.get(given, usual) if isinstance(given, int) else given or usual
    number: int = code.value[0]
    watched.end(number, code.name)


_CODES = {code.value[0]: code for code in grpc.StatusCode}
