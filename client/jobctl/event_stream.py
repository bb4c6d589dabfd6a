"""A watch that outlives its connection."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from jobapi.v1 import job_pb2, job_service_pb2

from jobctl.address import Address
from jobctl.errors import JobctlError, TimedOutError, UnreachableError
from jobctl.patience import Outage, Patience
from jobctl.states import is_terminal, is_terminal_event
from jobctl.talk import SilenceError, Talk, open_stream, pause, read


@dataclass(slots=True, kw_only=True)
class EventStream:
    """Yields the job as it is, again after every interruption, and between these each event once, in order.

    It ends after the job's terminal event. It raises `UnreachableError` when the daemon stays away for longer than
    the patience allows, `TimedOutError` when `timeout` seconds are over, and what the daemon answers otherwise.
    """

    address: Address
    """Where the daemon is, to be told in errors."""
    job_id: str
    """The job; after the first answer its full id, so that `@latest` stays the same job."""
    sequence: int = 0
    """The last sequence seen."""
    timeout: float | None = None
    """How many seconds to watch at most; None for no end."""
    resuming: bool = False
    """Whether the daemon was there a moment ago, so that even the first connection is waited for."""
    patience: Patience = field(default_factory=Patience)
    """How long to wait for the daemon."""
    on_outage: Callable[[JobctlError], None] = lambda _error: None
    """Told of each interruption."""
    _ended: bool = field(default=False, init=False)
    _open: bool = field(default=False, init=False)
    _outage: Outage = field(init=False)
    _deadline: float = field(init=False)

    def __post_init__(self) -> None:
        """Let the time run."""
        self._outage = Outage(self.patience)
        self._deadline = time.monotonic() + (math.inf if self.timeout is None else self.timeout)

    def next(self) -> Talk[job_pb2.Job | job_pb2.Event | None]:
        """Watch until there is something to tell; None after the job's end."""
        while not self._ended:
            try:
                if (item := (yield from self._read())) is not None:
                    return item
            except JobctlError as error:
                self._open = False
                if not (self.resuming and error.transient):
                    raise
                self.on_outage(error)
                yield from pause(self._outage.delay(error, self._deadline))
        return None

    def _read(self) -> Talk[job_pb2.Job | job_pb2.Event | None]:
        kind = job_service_pb2.WatchResponse
        if not self._open:
            request = job_service_pb2.WatchRequest(id=self.job_id, after_sequence=self.sequence)
            yield from open_stream(lambda to: to.jobs.Watch, request, kind, patient=self.resuming)
            self._open = True
        try:
            message = yield from read(kind, self._limit())
        except SilenceError as error:
            raise self._explain_silence() from error
        if message is None:
            raise self._interrupted("the daemon ended the stream before the job had ended")
        return self._take(message)

    def _limit(self) -> float:
        left = self._deadline - time.monotonic()
        return max(0.0, min(self.patience.silence, self._outage.remaining(), left))

    def _take(self, message: job_service_pb2.WatchResponse) -> job_pb2.Job | job_pb2.Event | None:
        match message.WhichOneof("message"):
            case "snapshot":
                self._outage.connect()
                return self._take_snapshot(message.snapshot)
            case "event" if message.event.sequence > self.sequence:
                self._outage.end()
                return self._take_event(message.event)
            case "heartbeat":
                self._outage.end()
        return None

    def _take_snapshot(self, job: job_pb2.Job) -> job_pb2.Job:
        self.job_id = job.id
        self.resuming = True
        # Who asks after the last event of an ended job gets no terminal event: there is nothing left to tell.
        self._ended = is_terminal(job.state) and self.sequence >= job.last_sequence
        return job

    def _take_event(self, event: job_pb2.Event) -> job_pb2.Event:
        if event.sequence != self.sequence + 1:
            raise self._interrupted(f"event {self.sequence + 1} did not arrive before event {event.sequence}")
        self.sequence = event.sequence
        self._ended = is_terminal_event(event)
        return event

    def _explain_silence(self) -> JobctlError:
        if time.monotonic() >= self._deadline:
            return TimedOutError(f"timed out after {self.timeout:g} s" if self.timeout is not None else "")
        return self._interrupted("the daemon gave no sign of life")

    def _interrupted(self, what: str) -> UnreachableError:
        return UnreachableError(
            f"lost the daemon at {self.address}: {what}", hint="start it with: jobd serve", code="UNAVAILABLE"
        )
