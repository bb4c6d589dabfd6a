"""One job as its watcher saw it."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import grpc
from jobapi.v1 import job_pb2
from jobapi.v1 import job_service_pb2 as pb

PATIENCE_SECONDS = 900.0
"""A job that takes longer has broken down, and with it the measure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRun:
    """A job from its submit to its end. Times are seconds since the epoch, all of one machine's clock."""

    id: str
    begun: float
    """When Submit was called."""
    answered: float
    """When Submit answered."""
    ended: float
    """When the watcher had the last event."""
    events: tuple[job_pb2.Event, ...]

    @property
    def seconds(self) -> float:
        """From the call of Submit to the news of the end."""
        return self.ended - self.begun

    @property
    def end(self) -> str:
        """The kind of the last event."""
        return kind(self.events[-1]) if self.events else "no event"

    @property
    def failure(self) -> str:
        """Why the job failed; empty when it did not."""
        return self.events[-1].job_failed.failure.message if self.events else ""

    def of(self, wanted: str) -> Iterator[job_pb2.Event]:
        """Give the events of a kind."""
        return (event for event in self.events if kind(event) == wanted)

    def first(self, wanted: str) -> float:
        """Give the time of the first event of a kind."""
        return at(next(self.of(wanted)))

    def span(self, first: str, last: str) -> float:
        """Give the seconds from the first event of one kind to the last of another."""
        return max(map(at, self.of(last))) - self.first(first)


def kind(event: job_pb2.Event) -> str:
    """Tell what an event is of."""
    return str(event.WhichOneof("kind"))


def at(event: job_pb2.Event) -> float:
    """Give the time of an event."""
    return event.time.ToNanoseconds() / 1e9


def follow(channel: grpc.Channel, job_id: str, begun: float, answered: float) -> JobRun:
    """Watch a job to its end. Messages are read only afterwards, so that the watcher takes little from the job."""
    watch: grpc.UnaryStreamMultiCallable[pb.WatchRequest, bytes] = channel.unary_stream(
        "/jobapi.v1.JobService/Watch", request_serializer=pb.WatchRequest.SerializeToString
    )
    raw = list(watch(pb.WatchRequest(id=job_id), timeout=PATIENCE_SECONDS))
    ended = time.time()
    messages = map(pb.WatchResponse.FromString, raw)
    events = tuple(message.event for message in messages if message.WhichOneof("message") == "event")
    return JobRun(id=job_id, begun=begun, answered=answered, ended=ended, events=events)
