"""Everything that can go wrong in jobctl, as one tree. Light on purpose: gRPC is not imported here.

The docstring of a class is its default message; `reason` is the daemon's machine code for it, or jobctl's own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from jobctl.exit_codes import ExitCode


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One thing wrong with a job file."""

    path: str
    """Where, as a YAML path; empty for the file itself."""
    line: int
    """The line in the file, from 1; 0 where none is known."""
    message: str
    """What is wrong."""
    hint: str = ""
    """How to mend it; may be empty."""
    file: str = ""
    """The job file; empty where it is not known."""

    def locate(self) -> str:
        """Give one line for a person, in the form that editors jump to: `FILE:LINE: PATH: message (hint)`."""
        file = self.file or "job file"
        where = f"{file}:{self.line}" if self.line else file
        parts = [where, self.path, self.message + (f" ({self.hint})" if self.hint else "")]
        return ": ".join(part for part in parts if part)


class JobctlError(Exception):
    """Something went wrong."""

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED
    reason: str = "FAILED"

    def __init__(
        self,
        message: str = "",
        *,
        hint: str = "",
        reason: str = "",
        code: str = "",
        metadata: Mapping[str, str] | None = None,
        violations: tuple[Violation, ...] = (),
    ) -> None:
        """Hold what happened, how to go on, and, of an answer of the daemon, its status code, reason and details."""
        self.message = message or (type(self).__doc__ or "").strip().splitlines()[0]
        self.hint = hint
        self.reason = reason or type(self).reason
        self._told = bool(reason)
        self.code = code
        self.metadata = dict(metadata or {})
        self.violations = violations
        super().__init__(self.message + (f" ({hint})" if hint else ""))

    @property
    def transient(self) -> bool:
        """Whether the same call may succeed a little later."""
        return self.code in {"UNAVAILABLE", "CANCELLED", "RESOURCE_EXHAUSTED"} or (
            # The transport itself speaks INTERNAL when a stream is reset; the daemon always adds a reason.
            self.code == "INTERNAL" and not self._told
        )


class UsageError(JobctlError):
    """The command line is not valid."""

    exit_code = ExitCode.USAGE
    reason = "USAGE"


class UnreachableError(JobctlError):
    """The daemon cannot be reached."""

    exit_code = ExitCode.UNREACHABLE
    reason = "UNREACHABLE"


class DrainingError(UnreachableError):
    """The daemon is shutting down."""

    reason = "DRAINING"


class TimedOutError(JobctlError):
    """The time given by --timeout is over."""

    exit_code = ExitCode.TIMED_OUT
    reason = "TIMED_OUT"


class ServerError(JobctlError):
    """The daemon answered with an error."""

    reason = "INTERNAL"


class NotAllowedError(ServerError):
    """The daemon does not allow this."""

    exit_code = ExitCode.NOT_ALLOWED
    reason = "FORBIDDEN"


class NotOwnerError(NotAllowedError):
    """The job belongs to somebody else."""

    reason = "NOT_OWNER"


class PathNotAllowedError(NotAllowedError):
    """The daemon takes this file only as an upload."""

    reason = "PATH_NOT_ALLOWED"


class UnauthenticatedError(NotAllowedError):
    """The daemon wants a token."""

    reason = "UNAUTHENTICATED"


class NotFoundError(ServerError):
    """There is no such thing."""

    exit_code = ExitCode.NOT_FOUND
    reason = "NOT_FOUND"


class JobNotFoundError(NotFoundError):
    """There is no such job."""

    reason = "JOB_NOT_FOUND"


class EntryNotFoundError(NotFoundError):
    """The job has no such entry."""

    reason = "ENTRY_NOT_FOUND"


class ArtifactNotFoundError(NotFoundError):
    """The job has no such artifact."""

    reason = "ARTIFACT_NOT_FOUND"


class ArtifactGoneError(NotFoundError):
    """The artifact is not there."""

    reason = "ARTIFACT_NOT_PRESENT"


class NotRetriableError(ServerError):
    """The job cannot be retried."""

    reason = "NOT_RETRIABLE"


class JobNotEndedError(ServerError):
    """The job has not ended."""

    reason = "JOB_NOT_ENDED"


class ModuleUnknownError(NotFoundError):
    """There is no such module."""

    reason = "MODULE_NOT_FOUND"


class InvalidJobError(ServerError):
    """The job file is not valid."""

    exit_code = ExitCode.INVALID_JOB
    reason = "INVALID_JOB"


class InvalidInputError(ServerError):
    """An input file of the job cannot be used."""

    exit_code = ExitCode.INVALID_JOB
    reason = "INVALID_INPUT"


class InvalidRequestError(ServerError):
    """The daemon cannot use the request."""

    reason = "INVALID_REQUEST"


class RequestIdReusedError(InvalidRequestError):
    """The request id was used for another job."""

    reason = "REQUEST_ID_REUSED"


class OffsetOutOfRangeError(InvalidRequestError):
    """The offset lies beyond the end."""

    reason = "OFFSET_OUT_OF_RANGE"


class UploadNotFoundError(NotFoundError):
    """There is no such upload under way."""

    reason = "UPLOAD_NOT_FOUND"


class UploadBusyError(ServerError):
    """Another stream is sending to this upload."""

    reason = "UPLOAD_BUSY"

    @property
    def transient(self) -> bool:
        """Whether the same call may succeed a little later: when the daemon has seen the end of the other."""
        return True


class DigestMismatchError(ServerError):
    """The bytes that arrived are not those that were promised."""

    reason = "DIGEST_MISMATCH"


class ArtifactChangedError(ServerError):
    """The artifact has another content than before."""

    reason = "ARTIFACT_CHANGED"


class LimitExceededError(ServerError):
    """The request is larger than a limit of the daemon allows; its name is in `metadata` under `limit`."""

    reason = "LIMIT_EXCEEDED"

    @property
    def transient(self) -> bool:
        """Whether the same call may succeed a little later: it will not."""
        return False


class TooManyError(ServerError):
    """There are as many already as a limit of the daemon allows; its name is in `metadata` under `limit`."""

    reason = "TOO_MANY"


class SequenceOutOfRangeError(InvalidRequestError):
    """The sequence lies beyond the job's last event."""

    reason = "SEQUENCE_OUT_OF_RANGE"


class CursorOutOfRangeError(InvalidRequestError):
    """The cursor is not one that can be gone on from."""

    reason = "CURSOR_OUT_OF_RANGE"


class LogsRemovedError(NotFoundError):
    """The logs of the job were removed."""

    reason = "LOGS_REMOVED"


class StorageError(ServerError):
    """The daemon's disk refuses a write."""

    reason = "STORAGE"


class UnsupportedError(ServerError):
    """The daemon does not know this call."""

    reason = "UNSUPPORTED"


class DamagedTransferError(JobctlError):
    """The bytes that arrived are not the bytes that were sent."""

    reason = "DAMAGED_TRANSFER"


class TargetExistsError(JobctlError):
    """The file to write exists."""

    reason = "TARGET_EXISTS"


class LocalFileError(JobctlError):
    """A file on this machine cannot be read or written."""

    reason = "LOCAL_FILE"
