"""What a client is told of each error: a code, a reason for programs, a hint for people, and never too much."""

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from jobd import errors
from jobd.errors import InvalidJobError, JobdError, Violation
from jobd.rpc.status import CODES, code_of, status_of

MOST_BYTES = 8 << 10
"""What gRPC lets through as the whole of a status, before it replaces it by another."""

EXPECTED = {
    "INTERNAL": grpc.StatusCode.INTERNAL,
    "INVALID_DOCUMENT": grpc.StatusCode.INVALID_ARGUMENT,
    "INVALID_JOB": grpc.StatusCode.INVALID_ARGUMENT,
    "INVALID_INPUT": grpc.StatusCode.INVALID_ARGUMENT,
    "PATH_NOT_ALLOWED": grpc.StatusCode.PERMISSION_DENIED,
    "INVALID_REQUEST": grpc.StatusCode.INVALID_ARGUMENT,
    "REQUEST_ID_REUSED": grpc.StatusCode.ALREADY_EXISTS,
    "JOB_NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "ENTRY_NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "ARTIFACT_NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "ARTIFACT_NOT_PRESENT": grpc.StatusCode.FAILED_PRECONDITION,
    "MODULE_NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "OFFSET_OUT_OF_RANGE": grpc.StatusCode.OUT_OF_RANGE,
    "UPLOAD_NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "UPLOAD_BUSY": grpc.StatusCode.ABORTED,
    "DIGEST_MISMATCH": grpc.StatusCode.INVALID_ARGUMENT,
    "ARTIFACT_CHANGED": grpc.StatusCode.FAILED_PRECONDITION,
    "SEQUENCE_OUT_OF_RANGE": grpc.StatusCode.OUT_OF_RANGE,
    "CURSOR_OUT_OF_RANGE": grpc.StatusCode.OUT_OF_RANGE,
    "LOGS_REMOVED": grpc.StatusCode.NOT_FOUND,
    "UNAUTHENTICATED": grpc.StatusCode.UNAUTHENTICATED,
    "FORBIDDEN": grpc.StatusCode.PERMISSION_DENIED,
    "NOT_OWNER": grpc.StatusCode.PERMISSION_DENIED,
    "LIMIT_EXCEEDED": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "TOO_MANY": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "DRAINING": grpc.StatusCode.UNAVAILABLE,
    "NOT_RETRIABLE": grpc.StatusCode.FAILED_PRECONDITION,
    "JOB_NOT_ENDED": grpc.StatusCode.FAILED_PRECONDITION,
    "DISK_FULL": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "STORAGE": grpc.StatusCode.UNAVAILABLE,
}


def all_errors(kind: type[JobdError] = JobdError) -> list[type[JobdError]]:
    """List every class of the tree that jobd.errors holds."""
    below = [
        error for child in kind.__subclasses__() if child.__module__ == errors.__name__ for error in all_errors(child)
    ]
    return [kind, *below]


def make(kind: type[JobdError], message: str = "", hint: str = "") -> JobdError:
    """Make an error of a class, with a long message where the class takes one."""
    if issubclass(kind, errors.InvalidDocumentError):
        return kind((Violation(path="steps[0]", line=1, message=message or "is wrong", hint=hint),))
    return kind(message, hint=hint)


def wire_bytes(status: grpc.Status) -> int:
    """Give the size of a status as gRPC counts it: the text percent-encoded, the details as they are, the names."""
    text = sum(1 if 0x20 <= byte < 0x7F and byte != 0x25 else 3 for byte in status.details.encode())
    details = sum(32 + len(key) + len(value) for key, value in status.trailing_metadata)
    return 128 + text + details


def parsed(status: grpc.Status) -> status_pb2.Status:
    """Read the details of a status."""
    return status_pb2.Status.FromString(dict(status.trailing_metadata)["grpc-status-details-bin"])


def unpacked(message: any_pb2.Any, kind: type) -> object:
    """Read one detail."""
    detail = kind()
    assert message.Unpack(detail)
    return detail


@pytest.mark.parametrize("kind", all_errors())
def test_every_error_has_a_code_and_its_reason(kind: type[JobdError]):
    """Each class maps to its code, carries its stable reason, and its message reaches the client."""
    error = make(kind, "it went wrong", "try again")
    status = status_of(error)
    info = unpacked(parsed(status).details[0], error_details_pb2.ErrorInfo)
    assert EXPECTED.get(kind.reason, grpc.StatusCode.INTERNAL) == status.code == code_of(error)
    assert (kind.reason, "jobd") == (info.reason, info.domain)
    assert "it went wrong" in status.details
    assert wire_bytes(status) < MOST_BYTES


def test_reasons_are_unique():
    """A program can tell every two errors apart by their reason."""
    reasons = [kind.reason for kind in all_errors()]
    assert len(reasons) == len(set(reasons))
    assert set(CODES) <= set(all_errors())


def test_a_hint_is_told():
    """The hint travels beside the message, for whoever shows both."""
    status = status_of(errors.JobNotFoundError("there is no job 'x'", hint="look with list"))
    info = unpacked(parsed(status).details[0], error_details_pb2.ErrorInfo)
    assert info.metadata["hint"] == "look with list"


def test_unavailable_says_when_to_come_again():
    """A client that is asked to come again is told after how long."""
    retry = unpacked(parsed(status_of(errors.DrainingError())).details[1], error_details_pb2.RetryInfo)
    assert retry.retry_delay.seconds >= 1


def test_a_limit_is_named_and_says_whether_waiting_helps():
    """A client is told which limit it ran into, and to come again only where that may help."""
    for kind, helps in ((errors.TooManyError, True), (errors.LimitExceededError, False)):
        message = parsed(status_of(kind("there are too many", limit="uploads", value=7)))
        info = unpacked(message.details[0], error_details_pb2.ErrorInfo)
        assert (info.metadata["limit"], info.metadata["value"]) == ("uploads", "7")
        assert "`uploads` is 7" in info.metadata["hint"]
        assert any(detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for detail in message.details) is helps


def test_violations_keep_path_line_and_hint():
    """Each violation of a job file arrives with its path, its line and how to mend it."""
    wrong = Violation(path="steps[1].entries[0].module", line=12, message="is unknown", hint="did you mean probe?")
    request = unpacked(parsed(status_of(InvalidJobError((wrong,)))).details[-1], error_details_pb2.BadRequest)
    field = request.field_violations[0]
    assert (
        field.field,
        field.description,
    ) == ("steps[1].entries[0].module", "line 12: is unknown (did you mean probe?)")


@pytest.mark.parametrize("text", ["is wrong ", "ist völlig falsch ", "完全に間違っています", "😀"], ids=ascii)
def test_five_hundred_violations_fit(text: str):
    """However many violations there are, in whatever script, the status stays small and tells how many it left out."""
    many = tuple(
        Violation(path=f"steps[{number}].entries[0].module", line=number, message=text * 10, hint=text * 5)
        for number in range(500)
    )
    status = status_of(InvalidJobError(many))
    message = parsed(status)
    request = unpacked(message.details[-1], error_details_pb2.BadRequest)
    info = unpacked(message.details[0], error_details_pb2.ErrorInfo)
    assert wire_bytes(status) < MOST_BYTES
    assert len(request.field_violations) > 5
    assert len(request.field_violations) + int(info.metadata["truncated_count"]) == 500


@pytest.mark.parametrize("letter", ["x", "%", "é", "漢", "😀"], ids=ascii)
@pytest.mark.parametrize("kind", [errors.JobNotFoundError, errors.InvalidJobError])
def test_a_very_long_message_is_cut(kind: type[JobdError], letter: str):
    """An error that repeats what a client sent, and its hint, fit into a status whatever was sent."""
    status = status_of(make(kind, letter * 20_000, letter * 20_000))
    assert wire_bytes(status) < MOST_BYTES
    assert letter in status.details
