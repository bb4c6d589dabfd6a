"""A watch of all jobs that outlives its connection."""

from collections.abc import Callable
from dataclasses import dataclass, field

from jobapi.v1 import job_service_pb2

from jobctl.address import Address
from jobctl.errors import JobctlError, UnreachableError
from jobctl.patience import Outage, Patience
from jobctl.talk import SilenceError, Talk, open_stream, pause, read


@dataclass(slots=True, kw_only=True)
class JobsStream:
    """Yields each change and each removal once, in order, across interruptions; it has no end of its own.

    It raises `UnreachableError` when the daemon stays away for longer than the patience allows, and what the daemon
    answers otherwise: `CursorOutOfRangeError` when too much was removed meanwhile.
    """

    address: Address
    """Where the daemon is, to be told in errors."""
    request: job_service_pb2.WatchJobsRequest
    """What is asked for; its cursor goes with what was seen."""
    patience: Patience = field(default_factory=Patience)
    """How long to wait for the daemon."""
    on_outage: Callable[[JobctlError], None] = lambda _error: None
    """Told of each interruption."""
    _served: bool = field(default=False, init=False)
    _open: bool = field(default=False, init=False)
    _outage: Outage = field(init=False)

    def __post_init__(self) -> None:
        """Begin with the daemon present."""
        self._outage = Outage(self.patience)

    def next(self) -> Talk[job_service_pb2.WatchJobsResponse | None]:
        """Watch until there is something to tell."""
        while True:
            try:
                message = yield from self._read()
            except JobctlError as error:
                self._open = False
                if not (self._served and error.transient):
                    raise
                self.on_outage(error)
                yield from pause(self._outage.delay(error))
                continue
            if message.WhichOneof("message") in {"change", "removed"}:
                return message

    def _read(self) -> Talk[job_service_pb2.WatchJobsResponse]:
        kind = job_service_pb2.WatchJobsResponse
        if not self._open:
            yield from open_stream(lambda to: to.jobs.WatchJobs, self.request, kind, patient=self._served)
            self._open = True
        try:
            message = yield from read(kind, min(self.patience.silence, self._outage.remaining()))
        except SilenceError as error:
            raise self._interrupted("the daemon gave no sign of life") from error
        if message is None:
            raise self._interrupted("the daemon ended the stream")
        self._served = True
        self._outage.end()
        self.request.after_cursor = message.cursor
        return message

    def _interrupted(self, what: str) -> UnreachableError:
        return UnreachableError(
            f"lost the daemon at {self.address}: {what}", hint="start it with: jobd serve", code="UNAVAILABLE"
        )
