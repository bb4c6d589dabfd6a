"""The audit log: one JSON object a line for every call that changes something, and for every call that was denied.

A line is written in one piece and in plain ASCII, so that nothing a client sends can begin another line. Written lines
survive the daemon's end; those of the last seconds before a power cut may be lost.
"""

import json
import os
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import time

from structlog.typing import FilteringBoundLogger

from jobd.errors import ForbiddenError, JobdError, TooManyError, UnauthenticatedError

CHANGING = frozenset({"Submit", "Cancel", "Retry", "Delete", "BeginUpload", "Upload"})
"""Methods that change something."""

_MOST_TEXT = 1000
"""More characters of one value are not kept: a client must not fill the log with one call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLine:
    """One call."""

    time: str
    """In UTC, as ISO 8601."""
    method: str
    """With its service, as `/jobapi.v1.JobService/Cancel`."""
    peer: str
    """Where the call came from, as gRPC names it; `unix:` for the socket."""
    who: str = ""
    """Who called: `local`, the name of a token, or `cert:` and the name in a certificate; empty for nobody."""
    asked: str
    """The job that the client named, as it wrote it; empty where it named none."""
    job: str
    """The job that was touched or made, by its whole id; empty where there is none."""
    upload: str = ""
    """The upload that was made."""
    result: str
    """`ok`, or the code of the error, as `UNAUTHENTICATED`."""
    reason: str = ""
    """What the error said, or why the client asked for a cancel."""
    left_out: int = 0
    """How many denied calls were not written down since the last one that was, because there were so many."""


class AuditLog:
    """Appends to a file that is closed to other users, and starts a new one when it is full."""

    def __init__(
        self,
        path: Path,
        *,
        log: FilteringBoundLogger,
        most_bytes: int = 16 << 20,
        keep: int = 8,
        now: Callable[[], float] = time,
    ) -> None:
        """Write to `path`; when it would exceed `most_bytes` it becomes `path.1`, and `keep` such are kept."""
        self._path = path
        self._log = log
        self._most = most_bytes
        self._keep = keep
        self._now = now
        self._lock = threading.Lock()

    def note(
        self,
        *,
        method: str,
        peer: str,
        who: str = "",
        asked: object = None,
        answer: object = None,
        error: Exception | None = None,
        left_out: int = 0,
    ) -> None:
        """Write down a call that has ended, if it is one of those that are; `asked` and `answer` are its messages.

        It raises nothing: a line that cannot be written goes to the daemon's log, and the call's answer stays the same.
        """
        denied = isinstance(error, UnauthenticatedError | ForbiddenError | TooManyError)
        if not denied and method.rpartition("/")[2] not in CHANGING:
            return
        line = AuditLine(
            time=datetime.fromtimestamp(self._now(), UTC).isoformat(timespec="milliseconds"),
            method=_text(method),
            peer=_text(peer),
            who=_text(who),
            asked=_field(asked, "id"),
            job=_field(getattr(answer, "job", None), "id") or _field(answer, "id"),
            upload=_field(answer, "upload_id"),
            result=_result(error),
            reason=_text(str(error)) if error else _field(asked, "reason"),
            left_out=left_out,
        )
        try:
            self._append(json.dumps(asdict(line)).encode() + b"\n")
        except OSError as failure:
            self._log.error("audit_not_written", failure=str(failure), **asdict(line))

    def _append(self, line: bytes) -> None:
        with self._lock:
            if self._size() + len(line) > self._most:
                self._rotate()
            fd = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                size = os.fstat(fd).st_size
                torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
                written = os.write(fd, b"\n" + line if torn else line)
                if written < len(line) + torn:
                    raise OSError(f"only {written} of {len(line)} bytes of a line were written to {self._path}")
            finally:
                os.close(fd)

    def _size(self) -> int:
        return self._path.stat().st_size if self._path.exists() else 0

    def _rotate(self) -> None:
        if not self._path.exists():
            return
        for number in range(self._keep - 1, 0, -1):
            older = self._numbered(number)
            if older.exists():
                older.replace(self._numbered(number + 1))
        self._path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def _field(message: object, name: str) -> str:
    value = getattr(message, name, "")
    return _text(value) if isinstance(value, str) else ""


def _text(text: str) -> str:
    return text if len(text) <= _MOST_TEXT else text[:_MOST_TEXT] + "…"


def _result(error: Exception | None) -> str:
    if error is None:
        return "ok"
    return error.reason if isinstance(error, JobdError) else "INTERNAL"
