"""What a trace shows of a job, from its history alone: so it is the same, however often the daemon was restarted."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from jobd import events
from jobd.events import Record
from jobd.jobs import Entry, Job

Attributes = Mapping[str, str | int | float | bool]


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened within a span."""

    time: float
    name: str
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanPlan:
    """A span to be sent. Times are in seconds since the epoch."""

    name: str
    start: float
    end: float
    attributes: Attributes
    failure: str = ""
    """Why it failed; empty when it did not."""
    moments: tuple[Moment, ...] = ()


def job_span(job: Job, records: Iterable[Record]) -> SpanPlan:
    """Give the span of a job that has ended: from its submission to its end, with the moments between."""
    moments = []
    for record in records:
        match record.event:
            case events.JobStarted():
                moments.append(Moment(record.time, "started"))
            case events.JobRecovering() | events.JobCancelling():
                name = record.event.kind.removeprefix("job_")
                moments.append(Moment(record.time, name, {"reason": record.event.reason}))
            case events.StepStarted():
                moments.append(Moment(record.time, "step started", {"step": record.event.step}))
    return SpanPlan(
        name=f"job {job.name}",
        start=job.submitted,
        end=job.ended or job.submitted,
        attributes={
            "jobd.job.id": job.id,
            "jobd.job.name": job.name,
            "jobd.job.version": job.version,
            "jobd.job.state": job.state.value,
            "jobd.job.entries": len(job.entries),
            **({"jobd.job.retry_of": job.retry_of} if job.retry_of else {}),
        },
        failure=job.failure.message if job.failure else "",
        moments=tuple(moments),
    )


def entry_spans(job: Job, records: Iterable[Record]) -> list[SpanPlan]:
    """Give the spans of the entries that ran: from the first attempt to the end, each failed attempt a moment."""
    wishes: dict[tuple[str, str], float] = {}
    moments: dict[tuple[str, str], list[Moment]] = {}
    for record in records:
        event = record.event
        match event:
            case events.EntryWaiting():
                wishes.setdefault((event.step, event.entry), record.time)
            case events.EntryStarted():
                moment = Moment(record.time, "attempt", {"attempt": event.attempt, "pid": event.pid})
                moments.setdefault((event.step, event.entry), []).append(moment)
            case events.EntryRetrying():
                why = {"attempt": event.attempt, "kind": event.failure.kind.value, "message": event.failure.message}
                moments.setdefault((event.step, event.entry), []).append(Moment(record.time, "attempt failed", why))
    return [
        _entry_span(job, entry, wishes.get((entry.step, entry.name)), moments.get((entry.step, entry.name), []))
        for entry in job.entries
        if entry.started is not None
    ]


def _entry_span(job: Job, entry: Entry, wish: float | None, moments: list[Moment]) -> SpanPlan:
    start = entry.started or job.submitted
    failure = entry.failure
    return SpanPlan(
        name=f"{entry.step}/{entry.name}",
        start=start,
        end=entry.ended or job.ended or start,
        attributes={
            "jobd.job.id": job.id,
            "jobd.step": entry.step,
            "jobd.entry": entry.name,
            "jobd.module": entry.module,
            "jobd.entry.state": entry.state.value,
            "jobd.entry.attempts": entry.attempt,
            **({} if wish is None else {"jobd.entry.wait_seconds": max(0.0, start - wish)}),
            **({} if failure is None else {"jobd.failure.kind": failure.kind.value}),
        },
        failure=failure.message if failure else "",
        moments=tuple(moments),
    )
