"""docs/api.md says what the daemon does."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from jobapi.v1 import artifact_service_pb2, job_service_pb2, module_service_pb2

from jobd import errors
from jobd.call_limits import MAX_LABEL_BYTES, MAX_LABELS, MAX_MESSAGE_BYTES, MAX_REQUEST_ID
from jobd.rpc.status import code_of
from jobd.rpc.watch import HEARTBEAT_SECONDS
from jobd.spec import MAX_ENTRIES
from jobd.yaml_reader import MAX_BYTES

PAGE = (Path(__file__).parents[2] / "docs/api.md").read_text()
ROW = re.compile(r"^\| `([A-Z_]+)` \| `([A-Z_]+)` \|", re.MULTILINE)
UNSENT = {"INVALID_DOCUMENT", "STATE_DIRECTORY_LOCKED", "CONFIG", "ILLEGAL_TRANSITION", "PREFECT_API"}
"""Reasons of errors that never end a call."""


def every_error(kind: type[errors.JobdError] = errors.JobdError) -> Iterator[type[errors.JobdError]]:
    """Give a class of errors, and all of errors.py that are derived from it."""
    if kind.__module__ == errors.__name__:
        yield kind
    for narrower in kind.__subclasses__():
        yield from every_error(narrower)


def test_every_reason_is_in_the_table_with_its_status() -> None:
    """The table of reasons is complete, holds none that is not sent, and gives each the status that it is sent with."""
    sent = {kind.reason: code_of(kind.__new__(kind)).name for kind in every_error() if kind.reason not in UNSENT}
    assert sent == dict(ROW.findall(PAGE))


@pytest.mark.parametrize("module", [job_service_pb2, artifact_service_pb2, module_service_pb2])
def test_every_service_is_named(module: object) -> None:
    """No service of the .proto files is missing on the page."""
    file = descriptor_pb2.FileDescriptorProto()
    module.DESCRIPTOR.CopyToProto(file)  # type: ignore[attr-defined]
    for service in file.service:
        assert f"`{file.package}.{service.name}`" in PAGE


def test_the_limits_are_the_daemon_s() -> None:
    """The numbers on the page are those of the code."""
    assert f"| a message to the daemon | {MAX_MESSAGE_BYTES >> 20} MiB" in PAGE
    assert f"| a job file | {MAX_BYTES >> 20} MiB" in PAGE
    assert f"| entries of a job | {MAX_ENTRIES:,} |" in PAGE
    assert f"| a `request_id` | {MAX_REQUEST_ID} characters |" in PAGE
    assert f"| labels of a job | {MAX_LABELS}, each name and value of at most {MAX_LABEL_BYTES} bytes |" in PAGE
    assert f"a `heartbeat` after {HEARTBEAT_SECONDS:g} s" in PAGE
