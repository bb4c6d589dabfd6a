"""Everything that can go wrong and is told to somebody, as one tree.

The docstring of a class is its default message; `reason` is its stable machine code on the wire.
"""

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One thing wrong with a document."""

    path: str
    """Where, as a YAML path such as `steps[1].entries[0].module`; empty for the document itself."""
    line: int
    """The line in the document, from 1; 0 where none is known."""
    message: str
    """What is wrong."""
    hint: str = ""
    """How to mend it; may be empty."""

    def __str__(self) -> str:
        """Give one line for a person."""
        where = ", ".join(part for part in (f"line {self.line}" if self.line else "", self.path) if part)
        return (f"{where}: " if where else "") + self.message + (f" ({self.hint})" if self.hint else "")


class JobdError(Exception):
    """Something went wrong in jobd."""

    reason: ClassVar[str] = "INTERNAL"
    metadata: Mapping[str, str] = MappingProxyType({})
    """More for programs, beside the reason."""

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        """Hold the message, or the class's own, and a hint on how to go on."""
        self.message = message or (type(self).__doc__ or "").strip().splitlines()[0]
        self.hint = hint
        super().__init__(self.message + (f" ({hint})" if hint else ""))


class InvalidDocumentError(JobdError):
    """The document is not valid."""

    reason = "INVALID_DOCUMENT"

    def __init__(self, violations: tuple[Violation, ...], what: str = "document") -> None:
        """Hold every violation found."""
        self.violations = violations
        count = f"{len(violations)} problems" if len(violations) != 1 else "1 problem"
        super().__init__(f"the {what} has {count}: " + "; ".join(str(violation) for violation in violations[:5]))


class InvalidJobError(InvalidDocumentError):
    """The job file is not valid."""

    reason = "INVALID_JOB"

    def __init__(self, violations: tuple[Violation, ...]) -> None:
        """Hold every violation found."""
        super().__init__(violations, "job file")


class InvalidInputError(JobdError):
    """An input file of the job cannot be used."""

    reason = "INVALID_INPUT"


class PathNotAllowedError(JobdError):
    """The caller may not name this file by its path."""

    reason = "PATH_NOT_ALLOWED"


class InvalidRequestError(JobdError):
    """The request has a field that cannot be used."""

    reason = "INVALID_REQUEST"


class RequestIdReusedError(JobdError):
    """The request_id was used for another job."""

    reason = "REQUEST_ID_REUSED"


class JobNotFoundError(JobdError):
    """There is no such job."""

    reason = "JOB_NOT_FOUND"


class EntryNotFoundError(JobdError):
    """The job has no such entry."""

    reason = "ENTRY_NOT_FOUND"


class ArtifactNotFoundError(JobdError):
    """The job has no such artifact."""

    reason = "ARTIFACT_NOT_FOUND"


class ArtifactGoneError(JobdError):
    """The artifact is not on disk."""

    reason = "ARTIFACT_NOT_PRESENT"


class NotRetriableError(JobdError):
    """The job cannot be retried."""

    reason = "NOT_RETRIABLE"


class JobNotEndedError(JobdError):
    """The job has not ended."""

    reason = "JOB_NOT_ENDED"


class ModuleNotFoundInCatalogError(JobdError):
    """There is no such module."""

    reason = "MODULE_NOT_FOUND"


class OffsetOutOfRangeError(JobdError):
    """The offset lies beyond the end."""

    reason = "OFFSET_OUT_OF_RANGE"

    def __init__(self, message: str = "", *, hint: str = "", offset: int | None = None) -> None:
        """Hold, where there is only one, the offset that would do."""
        super().__init__(message, hint=hint)
        if offset is not None:
            self.metadata = {"offset": str(offset)}


class UploadNotFoundError(JobdError):
    """There is no such upload under way."""

    reason = "UPLOAD_NOT_FOUND"


class UploadBusyError(JobdError):
    """Another stream is sending to this upload."""

    reason = "UPLOAD_BUSY"


class DigestMismatchError(JobdError):
    """The bytes that arrived are not those that were promised."""

    reason = "DIGEST_MISMATCH"


class ArtifactChangedError(JobdError):
    """The artifact has another content than before."""

    reason = "ARTIFACT_CHANGED"


class SequenceOutOfRangeError(JobdError):
    """The sequence lies beyond the job's last event."""

    reason = "SEQUENCE_OUT_OF_RANGE"

    def __init__(self, message: str = "", *, hint: str = "", last: int = 0) -> None:
        """Hold the sequence of the last event as well."""
        super().__init__(message, hint=hint)
        self.metadata = {"last_sequence": str(last)}


class CursorOutOfRangeError(JobdError):
    """The cursor is not one that can be gone on from."""

    reason = "CURSOR_OUT_OF_RANGE"

    def __init__(self, message: str = "", *, hint: str = "", oldest: int = 0, newest: int = 0) -> None:
        """Hold the oldest and the newest cursor that can be gone on from."""
        super().__init__(message, hint=hint)
        self.metadata = {"oldest_cursor": str(oldest), "newest_cursor": str(newest)}


class LogsRemovedError(JobdError):
    """The logs of the job were removed."""

    reason = "LOGS_REMOVED"


class UnauthenticatedError(JobdError):
    """The call carries no valid token."""

    reason = "UNAUTHENTICATED"


class ForbiddenError(JobdError):
    """The call is not allowed."""

    reason = "FORBIDDEN"


class NotOwnerError(ForbiddenError):
    """The job belongs to somebody else."""

    reason = "NOT_OWNER"


class LimitExceededError(JobdError):
    """The request is larger than a limit allows."""

    reason = "LIMIT_EXCEEDED"

    def __init__(self, message: str = "", *, limit: str = "", value: int = 0, hint: str = "") -> None:
        """Name the limit as GetServerInfo lists it."""
        self.limit = limit
        self.value = value
        super().__init__(message, hint=hint or (f"the limit `{limit}` is {value}" if limit else ""))


class TooManyError(LimitExceededError):
    """There are as many already as a limit allows."""

    reason = "TOO_MANY"


class DrainingError(JobdError):
    """The daemon is shutting down."""

    reason = "DRAINING"


class StorageError(JobdError):
    """The daemon's disk refuses a write."""

    reason = "STORAGE"


class DiskFullError(StorageError):
    """The daemon's disk is too full to take on more."""

    reason = "DISK_FULL"


def is_disk_full(error: BaseException | None) -> bool:
    """Tell whether an error means that there is no room, be it for bytes, for files, or within a quota."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


class StateDirectoryLockedError(JobdError):
    """Another daemon serves this state directory."""

    reason = "STATE_DIRECTORY_LOCKED"


class ConfigError(JobdError):
    """The configuration cannot be used."""

    reason = "CONFIG"


class IllegalTransitionError(JobdError):
    """An event does not fit the state of its job."""

    reason = "ILLEGAL_TRANSITION"


class PrefectApiError(JobdError):
    """Prefect's server did not do what it was asked."""

    reason = "PREFECT_API"
