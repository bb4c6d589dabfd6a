"""What holds for every call: who may call, what an error becomes, and what is logged."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from structlog.typing import FilteringBoundLogger

from jobd.access import check_token
from jobd.audit import AuditLog
from jobd.errors import DiskFullError, JobdError, is_disk_full
from jobd.rpc.context import Context, Handler
from jobd.rpc.status import status_of

Details = grpc.HandlerCallDetails

_HEALTH = "/grpc.health.v1.Health/"
"""Open to everybody: it tells nothing but that the daemon serves, to probes that have no token."""


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Checks the token of calls over TCP, and turns errors into statuses."""

    def __init__(self, *, token: str, audit: AuditLog, log: FilteringBoundLogger) -> None:
        """Take the token that TCP clients must send."""
        self._token = token
        self._audit = audit
        self._log = log

    async def intercept_service(
        self, continuation: Callable[[Details], Awaitable["Handler | None"]], handler_call_details: Details
    ) -> "Handler | None":
        """Wrap the handler of a call."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.startswith(_HEALTH):
            return handler
        if handler.response_streaming:
            return self._wrap_stream(handler, method)
        return self._wrap_unary(handler, method)

    def _wrap_unary(self, handler: Handler, method: str) -> Handler:
        behaviour: Any = handler.stream_unary if handler.request_streaming else handler.unary_unary
        make: Any = (
            grpc.stream_unary_rpc_method_handler if handler.request_streaming else grpc.unary_unary_rpc_method_handler
        )

        async def call(request: Any, context: Context) -> Any:  # noqa: ANN401 - any message
            try:
                self._check(context)
                answer = await behaviour(request, context)
            except Exception as error:  # noqa: BLE001 - the one place where whatever happened becomes a status
                self._audit.note(method=method, peer=context.peer(), asked=request, error=error)
                await self._abort(context, method, error)
            else:
                self._audit.note(method=method, peer=context.peer(), asked=request, answer=answer)
                return answer

        wrapped: Handler = make(call, handler.request_deserializer, handler.response_serializer)
        return wrapped

    def _wrap_stream(self, handler: Handler, method: str) -> Handler:
        behaviour: Any = handler.stream_stream if handler.request_streaming else handler.unary_stream
        make: Any = (
            grpc.stream_stream_rpc_method_handler if handler.request_streaming else grpc.unary_stream_rpc_method_handler
        )

        async def call(request: Any, context: Context) -> AsyncIterator[Any]:  # noqa: ANN401 - any message
            try:
                self._check(context)
                async for message in behaviour(request, context):
                    yield message
            except Exception as error:  # noqa: BLE001 - the one place where whatever happened becomes a status
                self._audit.note(method=method, peer=context.peer(), asked=request, error=error)
                await self._abort(context, method, error)

        wrapped: Handler = make(call, handler.request_deserializer, handler.response_serializer)
        return wrapped

    def _check(self, context: Context) -> None:
        # A unix socket is guarded by its folder.
        if not context.peer().startswith("unix:"):
            metadata = dict(context.invocation_metadata() or ())
            check_token(self._token, metadata.get("authorization"))  # type: ignore[arg-type]

    async def _abort(self, context: Context, method: str, error: Exception) -> None:
        if isinstance(error, grpc.aio.AbortError):
            raise error
        if is_disk_full(error):
            error = DiskFullError("the daemon's disk is full", hint="make room, and try again")
        if isinstance(error, JobdError):
            self._log.info(
                "call_refused", method=method, peer=context.peer(), reason=error.reason, message=error.message
            )
            await context.abort_with_status(status_of(error))
        incident = secrets.token_hex(4)
        self._log.error("call_failed", method=method, incident=incident, exc_info=error)
        await context.abort_with_status(status_of(JobdError(f"jobd has a bug; incident {incident} is in its log")))
