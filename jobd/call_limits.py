"""How much callers may ask for at once, and what of it is taken."""

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from jobd.errors import InvalidRequestError, LimitExceededError, TooManyError
from jobd.names import MAX_NAME_BYTES, FieldError, check_line
from jobd.spec import MAX_ENTRIES
from jobd.yaml_reader import MAX_BYTES, MAX_NODES

MAX_MESSAGE_BYTES = 4 << 20
"""gRPC's own default, which clients of every language have too."""
MAX_PROBES = 100
"""Open watches of the health service, which need no token."""
MAX_OPEN_UPLOADS = 1000
"""Resumable uploads that are begun and not complete, sent to or not."""
MAX_OPEN_UPLOADS_PER_CALLER = 500
"""Of those, by one identity."""
MAX_REQUEST_ID = 128
"""Characters of a request_id."""
MAX_REASON_BYTES = 1000
"""Bytes of the reason for a cancel, which every entry that it ends keeps."""
MAX_LABELS = 64
"""Labels of one job."""
MAX_LABEL_BYTES = 255
"""Bytes of a label's name, and of its value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLimits:
    """How much callers may have at once. What an operator sets of it are the options of the same names."""

    max_queued: int = 10_000
    """Jobs that wait in the queue."""
    max_streams: int = 10_000
    """Open streams to clients: watches, logs, downloads."""
    max_streams_per_caller: int = 5_000
    """Of those, by one identity."""
    max_uploads: int = 256
    """Uploads that are under way."""
    max_uploads_per_caller: int = 128
    """Of those, by one identity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One bound, as clients are told it."""

    name: str
    value: int
    unit: str


def list_limits(limits: CallLimits) -> tuple[Limit, ...]:
    """Give every bound that a client can run into."""
    return (
        Limit(name="message", value=MAX_MESSAGE_BYTES, unit="bytes"),
        Limit(name="job_file", value=MAX_BYTES, unit="bytes"),
        Limit(name="job_file_values", value=MAX_NODES, unit="keys and values"),
        Limit(name="entries", value=MAX_ENTRIES, unit="entries of a job"),
        Limit(name="name", value=MAX_NAME_BYTES, unit="bytes"),
        Limit(name="request_id", value=MAX_REQUEST_ID, unit="characters"),
        Limit(name="reason", value=MAX_REASON_BYTES, unit="bytes of the reason for a cancel"),
        Limit(name="labels", value=MAX_LABELS, unit="labels of a job"),
        Limit(name="label", value=MAX_LABEL_BYTES, unit="bytes of a name or value"),
        Limit(name="probes", value=MAX_PROBES, unit="open calls"),
        Limit(name="queued", value=limits.max_queued, unit="jobs"),
        Limit(name="streams", value=limits.max_streams, unit="open calls"),
        Limit(name="streams_per_caller", value=limits.max_streams_per_caller, unit="open calls"),
        Limit(name="uploads", value=limits.max_uploads, unit="open calls"),
        Limit(name="uploads_per_caller", value=limits.max_uploads_per_caller, unit="open calls"),
        Limit(name="open_uploads", value=MAX_OPEN_UPLOADS, unit="uploads begun"),
        Limit(name="open_uploads_per_caller", value=MAX_OPEN_UPLOADS_PER_CALLER, unit="uploads begun"),
    )


class Seats:
    """The places for calls of one kind that take their time."""

    def __init__(self, name: str, *, most: int, most_per_caller: int) -> None:
        """Have so many places in all and for one caller; `name` is that of the limit."""
        self._name = name
        self._most = most
        self._most_per_caller = most_per_caller
        self._taken: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """How many places are taken."""
        return self._taken.total()

    @contextlib.contextmanager
    def take(self, caller: str) -> Iterator[None]:
        """Hold a place within the block; TooManyError when there is none."""
        if self._taken[caller] >= self._most_per_caller:
            raise TooManyError(
                f"{caller} has too many {self._name} already",
                limit=f"{self._name}_per_caller",
                value=self._most_per_caller,
            )
        if self.taken >= self._most:
            raise TooManyError(f"the daemon has too many {self._name} already", limit=self._name, value=self._most)
        self._taken[caller] += 1
        try:
            yield
        finally:
            self._taken[caller] -= 1
            if not self._taken[caller]:
                del self._taken[caller]


def check_request_id(request_id: str) -> None:
    """Raise LimitExceededError for one that is too long."""
    if len(request_id) > MAX_REQUEST_ID:
        raise LimitExceededError(
            f"the request_id has {len(request_id)} characters", limit="request_id", value=MAX_REQUEST_ID
        )


def check_reason(reason: str) -> None:
    """Raise LimitExceededError for a reason that is too long."""
    if (size := len(reason.encode())) > MAX_REASON_BYTES:
        raise LimitExceededError(f"the reason has {size} bytes", limit="reason", value=MAX_REASON_BYTES)


def check_labels(labels: Mapping[str, str]) -> None:
    """Raise LimitExceededError for too many labels, or one too long; InvalidRequestError for a name that is no line."""
    if len(labels) > MAX_LABELS:
        raise LimitExceededError(f"the job has {len(labels)} labels", limit="labels", value=MAX_LABELS)
    for text in (*labels.keys(), *labels.values()):
        if (size := len(text.encode())) > MAX_LABEL_BYTES:
            raise LimitExceededError(
                f"a label has a name or value of {size} bytes", limit="label", value=MAX_LABEL_BYTES
            )
    for name in labels:
        try:
            check_line(name)
        except FieldError as error:
            raise InvalidRequestError(f"the name of a label cannot be used: {error}", hint=error.hint) from error
