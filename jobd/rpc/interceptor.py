"""What holds for every call: who may call, how many at once, what an error becomes, and what is written down."""

import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from structlog.typing import FilteringBoundLogger

from jobd.audit import AuditLog
from jobd.call_limits import MAX_PROBES, CallLimits, Seats
from jobd.denials import DenialGate
from jobd.doors import Doors, Knock
from jobd.errors import (
    DiskFullError,
    ForbiddenError,
    JobdError,
    TooManyError,
    UnauthenticatedError,
    is_disk_full,
)
from jobd.identity import Identity
from jobd.rpc.caller import CALLER
from jobd.rpc.context import Context, Handler
from jobd.rpc.handlers import stream_behaviour, unary_behaviour, with_stream, with_unary
from jobd.rpc.roles import needed_role
from jobd.rpc.status import status_of

Details = grpc.HandlerCallDetails

_DENIED = (UnauthenticatedError, ForbiddenError, TooManyError)


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Lets callers in or not, and turns errors into statuses."""

    def __init__(
        self,
        *,
        doors: Doors,
        limits: CallLimits,
        audit: AuditLog,
        log: FilteringBoundLogger,
        denials: DenialGate | None = None,
    ) -> None:
        """Let in whom `doors` admit, as far as their role and the limits go."""
        self._doors = doors
        self._audit = audit
        self._log = log
        self._denials = denials or DenialGate()
        self._streams = Seats("streams", most=limits.max_streams, most_per_caller=limits.max_streams_per_caller)
        self._uploads = Seats("uploads", most=limits.max_uploads, most_per_caller=limits.max_uploads_per_caller)
        self._probes = Seats("probes", most=MAX_PROBES, most_per_caller=MAX_PROBES)

    async def intercept_service(
        self, continuation: Callable[[Details], Awaitable["Handler | None"]], handler_call_details: Details
    ) -> "Handler | None":
        """Wrap the handler of a call."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None:
            return None
        if needed_role(method) is None:
            return self._wrap_open(handler, method) if handler.response_streaming else handler
        if handler.response_streaming:
            return self._wrap_stream(handler, method)
        return self._wrap_unary(handler, method)

    def _wrap_unary(self, handler: Handler, method: str) -> Handler:
        behaviour = unary_behaviour(handler)

        async def call(request: Any, context: Context) -> Any:  # noqa: ANN401 - any message
            try:
                identity = self._let_in(context, method)
                with self._uploads.take(identity.name) if handler.request_streaming else contextlib.nullcontext():
                    answer = await behaviour(request, context)
            except Exception as error:  # noqa: BLE001 - the one place where whatever happened becomes a status
                await self._refuse(context, method, request, error)
            else:
                self._audit.note(method=method, peer=context.peer(), who=_who(), asked=request, answer=answer)
                return answer

        return with_unary(handler, call)

    def _wrap_stream(self, handler: Handler, method: str) -> Handler:
        behaviour = stream_behaviour(handler)

        async def call(request: Any, context: Context) -> AsyncIterator[Any]:  # noqa: ANN401 - any message
            try:
                identity = self._let_in(context, method)
                with self._streams.take(identity.name):
                    async for message in behaviour(request, context):
                        self._check_still(identity)
                        yield message
            except Exception as error:  # noqa: BLE001 - the one place where whatever happened becomes a status
                await self._refuse(context, method, request, error)

        return with_stream(handler, call)

    def _wrap_open(self, handler: Handler, method: str) -> Handler:
        """Wrap a stream that needs no token, which must not become a way to use the daemon up."""
        behaviour: Any = handler.unary_stream

        async def call(request: Any, context: Context) -> None:  # noqa: ANN401 - any message
            try:
                with self._probes.take("anonymous"):
                    await behaviour(request, context)
            except TooManyError as error:
                await self._refuse(context, method, request, error)

        return with_stream(handler, call)

    def _let_in(self, context: Context, method: str) -> Identity:
        """Say who calls, for this call's services and for the audit; raise when the caller may not make it."""
        identity = self._doors.admit(_knock(context))
        CALLER.set(identity)
        needed = needed_role(method)
        if needed is not None and not identity.role.includes(needed):
            raise ForbiddenError(
                f"{identity.name} has the role {identity.role}, and {method.rpartition('/')[2]} needs {needed}",
                hint="use a token of that role; `jobd token create --role` makes one",
            )
        return identity

    def _check_still(self, identity: Identity) -> None:
        if not self._doors.still_admits(identity):
            raise UnauthenticatedError("the token was revoked, or has expired", hint="ask an admin for a new one")

    async def _refuse(self, context: Context, method: str, asked: object, error: Exception) -> None:
        """Write an error down and end the call with it; of many denials only some are written down."""
        if isinstance(error, grpc.aio.AbortError):
            raise error
        denied = isinstance(error, _DENIED)
        left_out = self._denials.enter(context.peer()) if denied else 0
        if left_out is not None:
            self._audit.note(
                method=method, peer=context.peer(), who=_who(), asked=asked, error=error, left_out=left_out
            )
        if is_disk_full(error):
            error = DiskFullError("the daemon's disk is full", hint="make room, and try again")
        if isinstance(error, JobdError):
            if left_out is not None:
                self._log_refusal(context, method, error, left_out)
            await context.abort_with_status(status_of(error))
        incident = secrets.token_hex(4)
        self._log.error("call_failed", method=method, incident=incident, exc_info=error)
        await context.abort_with_status(status_of(JobdError(f"jobd has a bug; incident {incident} is in its log")))

    def _log_refusal(self, context: Context, method: str, error: JobdError, left_out: int) -> None:
        self._log.info(
            "call_refused",
            method=method,
            peer=context.peer(),
            who=_who(),
            reason=error.reason,
            message=error.message,
            **({"others_left_out": left_out} if left_out else {}),
        )


def _who() -> str:
    """Name the caller; empty before it is known."""
    identity = CALLER.get(None)
    return identity.name if identity else ""


def _knock(context: Context) -> Knock:
    metadata = dict(context.invocation_metadata() or ())
    authorization = metadata.get("authorization")
    return Knock(
        # A unix socket is guarded by its folder.
        unix=context.peer().startswith("unix:"),
        authorization=authorization if isinstance(authorization, str) else None,
        certificate_names=_certificate_names(context),
    )


def _certificate_names(context: Context) -> list[str]:
    """Give the common name, then the alternative names, of a client's certificate."""
    proved = context.auth_context() or {}
    found = [*proved.get("x509_common_name", ()), *proved.get("x509_subject_alternative_name", ())]
    return [name.decode(errors="backslashreplace") for name in found if name]
