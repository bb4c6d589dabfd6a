"""A watch that outlives its connection."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import grpc
from jobapi.v1 import job_pb2, job_service_pb2

from jobctl.address import Address
from jobctl.errors import JobctlError, TimedOutError, UnreachableError
from jobctl.patience import Outage, Patience
from jobctl.reader import Call, Reader
from jobctl.states import is_terminal, is_terminal_event
from jobctl.statuses import translate


class WatchMethod(Protocol):
    """The daemon's Watch."""

    def __call__(
        self, request: job_service_pb2.WatchRequest, *, wait_for_ready: bool
    ) -> Call[job_service_pb2.WatchResponse]:
        """Open a stream."""


@dataclass(slots=True, kw_only=True)
class EventStream:
    """Yields the job as it is, again after every interruption, and between these each event once, in order.

    It ends after the job's terminal event. It raises `UnreachableError` when the daemon stays away for longer than
    the patience allows, `TimedOutError` when `timeout` seconds are over, and what the daemon answers otherwise.
    """

    call: WatchMethod
    """The daemon's Watch."""
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

    def __iter__(self) -> Iterator[job_pb2.Job | job_pb2.Event]:
        """Watch to the end."""
        deadline = time.monotonic() + (math.inf if self.timeout is None else self.timeout)
        outage = Outage(self.patience)
        while not self._ended:
            try:
                yield from self._read_stream(outage, deadline)
            except JobctlError as error:
                if not (self.resuming and error.transient):
                    raise
                self.on_outage(error)
                outage.wait(error, deadline)

    def _read_stream(self, outage: Outage, deadline: float) -> Iterator[job_pb2.Job | job_pb2.Event]:
        request = job_service_pb2.WatchRequest(id=self.job_id, after_sequence=self.sequence)
        call = self.call(request, wait_for_ready=self.resuming)
        with Reader(call) as reader:
            try:
                for message in reader.read(lambda: self._limit(outage, deadline)):
                    yield from self._take(message, outage)
                    if self._ended:
                        return
            except grpc.RpcError as error:
                raise self._explain(error, expired=reader.expired, deadline=deadline) from error
        if not self._ended:
            raise self._interrupted("the daemon ended the stream before the job had ended")

    def _limit(self, outage: Outage, deadline: float) -> float:
        return max(0.0, min(self.patience.silence, outage.remaining(), deadline - time.monotonic()))

    def _take(self, message: job_service_pb2.WatchResponse, outage: Outage) -> Iterator[job_pb2.Job | job_pb2.Event]:
        match message.WhichOneof("message"):
            case "snapshot":
                outage.connect()
                yield self._take_snapshot(message.snapshot)
            case "event" if message.event.sequence > self.sequence:
                outage.end()
                yield self._take_event(message.event)
            case "heartbeat":
                outage.end()

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

    def _explain(self, error: grpc.RpcError, *, expired: bool, deadline: float) -> JobctlError:
        if expired and time.monotonic() >= deadline:
            return TimedOutError(f"timed out after {self.timeout:g} s" if self.timeout is not None else "")
        if expired:
            return self._interrupted("the daemon gave no sign of life")
        return translate(error, self.address)

    def _interrupted(self, what: str) -> UnreachableError:
        return UnreachableError(
            f"lost the daemon at {self.address}: {what}", hint="start it with: jobd serve", code="UNAVAILABLE"
        )
