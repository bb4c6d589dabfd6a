"""What becomes of a failed call: the error, its exit code, and how it is told."""

import json

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from jobctl import errors
from jobctl.address import Address
from jobctl.error_report import report_as_json, report_as_text
from jobctl.statuses import translate

HOSTILE = "a\x1b[2J\u202eb\x9b\nc\x00"
SAFE = r"a\x1b[2J\u202eb\x9b\x0ac\x00"


class Failed(grpc.RpcError, grpc.Call):
    """A failed call."""

    def __init__(self, code, message="", details=()):
        self._code, self._message, self._details = code, message, details

    def code(self):
        return self._code

    def details(self):
        return self._message

    def trailing_metadata(self):
        status = status_pb2.Status(code=self._code.value[0], message=self._message)
        for detail in self._details:
            packed = any_pb2.Any()
            packed.Pack(detail)
            status.details.append(packed)
        return (("grpc-status-details-bin", status.SerializeToString()),) if self._details else ()


for _name in ("initial_metadata", "is_active", "time_remaining", "cancel", "add_callback"):
    setattr(Failed, _name, lambda self, *_: None)
Failed.__abstractmethods__ = frozenset()


@pytest.mark.parametrize(
    ("code", "reason", "kind", "exit_code"),
    [
        ("UNAVAILABLE", "", errors.UnreachableError, 5),
        ("UNAVAILABLE", "DRAINING", errors.DrainingError, 5),
        ("DEADLINE_EXCEEDED", "", errors.UnreachableError, 5),
        ("UNAUTHENTICATED", "", errors.UnauthenticatedError, 4),
        ("PERMISSION_DENIED", "FORBIDDEN", errors.NotAllowedError, 4),
        ("NOT_FOUND", "JOB_NOT_FOUND", errors.JobNotFoundError, 6),
        ("FAILED_PRECONDITION", "ARTIFACT_NOT_PRESENT", errors.ArtifactGoneError, 6),
        ("FAILED_PRECONDITION", "NOT_RETRIABLE", errors.NotRetriableError, 1),
        ("FAILED_PRECONDITION", "JOB_NOT_ENDED", errors.JobNotEndedError, 1),
        ("INVALID_ARGUMENT", "INVALID_JOB", errors.InvalidJobError, 7),
        ("FAILED_PRECONDITION", "INVALID_INPUT", errors.InvalidInputError, 7),
        ("NOT_FOUND", "A_LATER_REASON", errors.NotFoundError, 6),
        ("UNAVAILABLE", "STORAGE", errors.StorageError, 1),
        ("INTERNAL", "", errors.ServerError, 1),
        ("UNIMPLEMENTED", "", errors.UnsupportedError, 1),
    ],
)
def test_failed_calls_become_errors_by_reason_then_by_code(code, reason, kind, exit_code):
    """The daemon's reason decides, and the status code where the reason says nothing."""
    details = [error_details_pb2.ErrorInfo(domain="jobd", reason=reason, metadata={"hint": "go on"})] if reason else []
    error = translate(Failed(grpc.StatusCode[code], "told", details), Address.parse("unix:/s"))

    assert kind is type(error)
    assert exit_code == error.exit_code
    assert (reason or kind.reason) == error.reason
    assert not reason or error.hint == "go on"


def test_a_bug_of_the_daemon_is_no_broken_transport():
    """Both speak INTERNAL; the daemon with a reason, and the same call would meet the same bug."""
    info = error_details_pb2.ErrorInfo(domain="jobd", reason="INTERNAL")
    bug = translate(Failed(grpc.StatusCode.INTERNAL, "jobd has a bug", [info]), Address.parse("unix:/s"))
    reset = translate(Failed(grpc.StatusCode.INTERNAL, "RST_STREAM", []), Address.parse("unix:/s"))
    assert (bug.transient, reset.transient) == (False, True)


def test_violations_arrive_with_an_error():
    """A bad request's violations are kept, for text and for JSON."""
    info = error_details_pb2.ErrorInfo(domain="jobd", reason="INVALID_JOB")
    request = error_details_pb2.BadRequest()
    request.field_violations.add(field="steps[0]", description=f"is wrong {HOSTILE}")
    error = translate(Failed(grpc.StatusCode.INVALID_ARGUMENT, "bad", [info, request]), Address.parse("unix:/s"))

    assert [f"job file: steps[0]: is wrong {SAFE}", "jobctl: bad"] == report_as_text(error)
    told = json.loads(report_as_json(error)[0])["error"]
    assert (told["violations"][0]["path"], told["exit_code"]) == ("steps[0]", 7)


def test_details_of_another_domain_are_not_ours():
    """A proxy's reason does not choose the error."""
    info = error_details_pb2.ErrorInfo(domain="proxy.example", reason="JOB_NOT_FOUND")
    error = translate(Failed(grpc.StatusCode.UNAVAILABLE, "away", [info]), Address.parse("h:1"))

    assert errors.UnreachableError is type(error)
    assert error.transient
