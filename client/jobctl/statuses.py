"""Turns gRPC's errors into this package's own."""

from collections.abc import Mapping

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from jobctl.address import Address
from jobctl.errors import (
    ArtifactChangedError,
    ArtifactGoneError,
    ArtifactNotFoundError,
    CursorOutOfRangeError,
    DigestMismatchError,
    DrainingError,
    EntryNotFoundError,
    InvalidInputError,
    InvalidJobError,
    InvalidRequestError,
    JobctlError,
    JobNotEndedError,
    JobNotFoundError,
    LimitExceededError,
    LogsRemovedError,
    ModuleUnknownError,
    NotAllowedError,
    NotFoundError,
    NotOwnerError,
    NotRetriableError,
    OffsetOutOfRangeError,
    PathNotAllowedError,
    RequestIdReusedError,
    SequenceOutOfRangeError,
    ServerError,
    StorageError,
    TooManyError,
    UnauthenticatedError,
    UnreachableError,
    UnsupportedError,
    UploadBusyError,
    UploadNotFoundError,
    Violation,
)

_DOMAIN = "jobd"
_TOLD = (grpc.Call, grpc.aio.AioRpcError)
"""What both kinds of calls raise, with a status."""
BY_REASON: Mapping[str, type[JobctlError]] = {
    error.reason: error
    for error in (
        DrainingError,
        NotAllowedError,
        NotOwnerError,
        PathNotAllowedError,
        LimitExceededError,
        TooManyError,
        UnauthenticatedError,
        JobNotFoundError,
        EntryNotFoundError,
        ArtifactNotFoundError,
        ArtifactGoneError,
        NotRetriableError,
        JobNotEndedError,
        ModuleUnknownError,
        InvalidJobError,
        InvalidInputError,
        InvalidRequestError,
        RequestIdReusedError,
        OffsetOutOfRangeError,
        UploadNotFoundError,
        UploadBusyError,
        DigestMismatchError,
        ArtifactChangedError,
        SequenceOutOfRangeError,
        CursorOutOfRangeError,
        LogsRemovedError,
        StorageError,
    )
}
"""The class for each reason that the daemon gives."""

BY_CODE: Mapping[str, type[JobctlError]] = {
    "UNAVAILABLE": UnreachableError,
    "DEADLINE_EXCEEDED": UnreachableError,
    "UNAUTHENTICATED": UnauthenticatedError,
    "PERMISSION_DENIED": NotAllowedError,
    "NOT_FOUND": NotFoundError,
    "INVALID_ARGUMENT": InvalidRequestError,
    "OUT_OF_RANGE": OffsetOutOfRangeError,
    "UNIMPLEMENTED": UnsupportedError,
}
"""The class for each status code, where the reason is missing or newer than this jobctl."""


_TLS_HINTS: Mapping[str, str] = {
    "CERTIFICATE_VERIFY_FAILED": "its certificate is not of an authority that is trusted: check --tls-ca",
    "Hostname Verification": "its certificate is not for this host name: check --address",
    "WRONG_VERSION_NUMBER": "it does not speak TLS there: leave the --tls options out",
    "Socket closed": "if it runs, it may want TLS (--tls-ca), or a certificate of yours (--tls-cert, --tls-key)",
}
"""What gRPC's words on a failed connection may mean to a person; nothing is decided by them."""


def translate(error: grpc.RpcError, address: Address) -> JobctlError:
    """Give the error that stands for a failed call: by the daemon's reason, else by the status code, never by text."""
    code = error.code().name if isinstance(error, _TOLD) else "UNKNOWN"
    status = _read_status(error)
    info = _find_info(status)
    kind = BY_REASON.get(info.reason) or BY_CODE.get(code, ServerError)
    metadata = dict(info.metadata)
    return kind(
        _write_message(error, code, info.reason, address),
        hint=metadata.pop("hint", "") or _default_hint(kind, code, _details(error)),
        reason=info.reason,
        code=code,
        metadata=metadata,
        violations=_read_violations(status),
    )


def _read_status(error: grpc.RpcError) -> status_pb2.Status:
    if not isinstance(error, _TOLD):
        return status_pb2.Status()
    try:
        return rpc_status.from_call(error) or status_pb2.Status()
    except (ValueError, DecodeError):
        # Details that contradict the status or are no message at all come from a proxy; the plain status holds.
        return status_pb2.Status()


def _find_info(status: status_pb2.Status) -> error_details_pb2.ErrorInfo:
    info = error_details_pb2.ErrorInfo()
    for detail in status.details:
        if detail.Is(info.DESCRIPTOR) and detail.Unpack(info) and info.domain == _DOMAIN:
            return info
    return error_details_pb2.ErrorInfo()


def _read_violations(status: status_pb2.Status) -> tuple[Violation, ...]:
    request = error_details_pb2.BadRequest()
    for detail in status.details:
        if detail.Is(request.DESCRIPTOR) and detail.Unpack(request):
            return tuple(
                Violation(path=item.field, line=0, message=item.description) for item in request.field_violations
            )
    return ()


def _write_message(error: grpc.RpcError, code: str, reason: str, address: Address) -> str:
    details = _details(error)
    if reason:
        return details
    match code:
        case "UNAVAILABLE":
            return f"no daemon answers at {address}"
        case "DEADLINE_EXCEEDED":
            return f"the daemon at {address} did not answer in time"
        case "UNIMPLEMENTED":
            return f"the daemon at {address} does not know this call: {details}"
        case _:
            return details or f"the daemon at {address} answered {code}"


def _details(error: grpc.RpcError) -> str:
    return (error.details() or "") if isinstance(error, _TOLD) else str(error)


def _default_hint(kind: type[JobctlError], code: str, details: str) -> str:
    if kind is UnreachableError and code == "UNAVAILABLE":
        return next((hint for sign, hint in _TLS_HINTS.items() if sign in details), "start it with: jobd serve")
    if code == "UNAUTHENTICATED":
        return "give the daemon's token with --token-file or JOBCTL_TOKEN"
    return "it may be older than this jobctl" if code == "UNIMPLEMENTED" else ""
