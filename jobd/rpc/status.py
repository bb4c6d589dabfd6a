"""The one table from what went wrong to what a client is told."""

from collections.abc import Mapping

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from jobd import errors

DOMAIN = "jobd"
_MOST_TEXT = 1 << 10
_MOST_DETAILS = 4 << 10
"""In bytes. A status of more than 8 KiB reaches the client as something else; on the wire the message is there twice,
once with three characters for each byte that is not plain ASCII, and the details in base64."""

CODES: Mapping[type[errors.JobdError], grpc.StatusCode] = {
    errors.InvalidDocumentError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.InvalidInputError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.PathNotAllowedError: grpc.StatusCode.PERMISSION_DENIED,
    errors.InvalidRequestError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.RequestIdReusedError: grpc.StatusCode.ALREADY_EXISTS,
    errors.JobNotFoundError: grpc.StatusCode.NOT_FOUND,
    errors.EntryNotFoundError: grpc.StatusCode.NOT_FOUND,
    errors.ArtifactNotFoundError: grpc.StatusCode.NOT_FOUND,
    errors.ModuleNotFoundInCatalogError: grpc.StatusCode.NOT_FOUND,
    errors.NotRetriableError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.JobNotEndedError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.ArtifactGoneError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.OffsetOutOfRangeError: grpc.StatusCode.OUT_OF_RANGE,
    errors.UploadNotFoundError: grpc.StatusCode.NOT_FOUND,
    errors.UploadBusyError: grpc.StatusCode.ABORTED,
    errors.DigestMismatchError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.ArtifactChangedError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.SequenceOutOfRangeError: grpc.StatusCode.OUT_OF_RANGE,
    errors.CursorOutOfRangeError: grpc.StatusCode.OUT_OF_RANGE,
    errors.LogsRemovedError: grpc.StatusCode.NOT_FOUND,
    errors.UnauthenticatedError: grpc.StatusCode.UNAUTHENTICATED,
    errors.ForbiddenError: grpc.StatusCode.PERMISSION_DENIED,
    errors.LimitExceededError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.DrainingError: grpc.StatusCode.UNAVAILABLE,
    errors.DiskFullError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.StorageError: grpc.StatusCode.UNAVAILABLE,
    errors.JobdError: grpc.StatusCode.INTERNAL,
}

_RETRY_SECONDS: Mapping[grpc.StatusCode, int] = {grpc.StatusCode.UNAVAILABLE: 1}
_TOO_MANY_SECONDS = 10
"""What is too much now may have become less after so long."""


def code_of(error: errors.JobdError) -> grpc.StatusCode:
    """Give the code of the nearest class that the table holds."""
    return next(CODES[kind] for kind in type(error).__mro__ if kind in CODES)


def status_of(error: errors.JobdError) -> grpc.Status:
    """Give everything a client is told of an error: a code, a reason for programs, a sentence and a hint for people."""
    code = code_of(error)
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)
    if error.hint:
        info.metadata["hint"] = _cut(error.hint)
    if isinstance(error, errors.LimitExceededError):
        info.metadata.update(limit=error.limit, value=str(error.value))
    message = status_pb2.Status(code=code.value[0], message=_cut(error.message))
    message.details.append(_packed(info))
    seconds = _TOO_MANY_SECONDS if isinstance(error, errors.TooManyError) else _RETRY_SECONDS.get(code)
    if seconds is not None:
        delay = Duration(seconds=seconds)
        message.details.append(_packed(error_details_pb2.RetryInfo(retry_delay=delay)))
    if isinstance(error, errors.InvalidDocumentError):
        _add_violations(message, info, error.violations)
    status: grpc.Status = rpc_status.to_status(message)
    return status


def _add_violations(
    message: status_pb2.Status,
    info: error_details_pb2.ErrorInfo,
    violations: tuple[errors.Violation, ...],
) -> None:
    """Add as many violations as fit; Validate tells all of them."""
    request = error_details_pb2.BadRequest()
    for violation in violations:
        field = request.field_violations.add(field=violation.path, description=_described(violation))
        if message.ByteSize() + request.ByteSize() > _MOST_DETAILS:
            request.field_violations.remove(field)
            info.metadata["truncated_count"] = str(len(violations) - len(request.field_violations))
            message.details[0].CopyFrom(_packed(info))
            break
    message.details.append(_packed(request))


def _cut(text: str) -> str:
    """Shorten a text to what it may take on the wire."""
    size = 0
    for place, letter in enumerate(text):
        size += 1 if " " <= letter <= "~" and letter != "%" else 3 * len(letter.encode(errors="replace"))
        if size > _MOST_TEXT:
            return text[: max(0, place - 1)] + "…"
    return text


def _described(violation: errors.Violation) -> str:
    line = f"line {violation.line}: " if violation.line else ""
    return line + violation.message + (f" ({violation.hint})" if violation.hint else "")


def _packed(detail: error_details_pb2.ErrorInfo | error_details_pb2.RetryInfo | error_details_pb2.BadRequest) -> Any:
    packed = Any()
    packed.Pack(detail)
    return packed
