"""A watched job as plain lines, one for each change: for logs, pipes and CI."""

from collections.abc import Callable
from typing import TextIO

from jobapi.v1 import job_pb2

from jobctl.display import Display
from jobctl.errors import JobctlError
from jobctl.job_view import describe_reuse
from jobctl.summary import describe_failure, summarize
from jobctl.terminal import escape, say
from jobctl.units import format_clock, format_size

_PROGRESS_STEP = 10.0


class PlainDisplay(Display):
    """Writes a line for every event. Of progress, one for each new status text and for each tenth of the way."""

    def __init__(self, stream: TextIO) -> None:
        """Hold where the lines go; talk goes to standard error."""
        self._stream = stream
        self._tenths: dict[tuple[str, str], int] = {}
        self._away = False

    def show_job(self, job: job_pb2.Job) -> None:  # noqa: ARG002 - as every display
        """Note that the daemon is there; nothing is written, for lines tell of changes."""
        self._away = False

    def show_event(self, event: job_pb2.Event) -> None:
        """Write the event's line."""
        if event.WhichOneof("kind") != "entry_progress" or self._is_news(event.entry_progress):
            print(format_event(event), file=self._stream, flush=True)

    def show_outage(self, error: JobctlError) -> None:
        """Say that the daemon is away, once for each time."""
        if not self._away:
            say(f"{escape(error.message)}; trying again")
        self._away = True

    def show_end(self, job: job_pb2.Job) -> None:
        """Say how the job ended and how to go on."""
        for line in summarize(job):
            say(line)

    def _is_news(self, progress: job_pb2.EntryProgress) -> bool:
        key = (progress.step, progress.entry)
        before = self._tenths.get(key, -1)
        if progress.HasField("percent"):
            self._tenths[key] = int(progress.percent // _PROGRESS_STEP)
        return progress.HasField("status") or self._tenths.get(key, -1) != before


def format_event(event: job_pb2.Event) -> str:
    """Write an event as one line: the local time, the step and entry, what happened. Safe for a terminal."""
    kind = event.WhichOneof("kind") or ""
    change = getattr(event, kind, None)
    describe = _DESCRIPTIONS.get(kind)
    what = describe(event) if describe else "something happened that this jobctl does not know"
    step, entry, name = (getattr(change, field, "") for field in ("step", "entry", "name"))
    subject = name or (f"{step}/{entry}" if entry else step) or "job"
    return f"{format_clock(event.time)}  {escape(subject)}  {escape(what)}"


def _because(text: str, reason: str) -> str:
    return f"{text}: {reason}" if reason else text


def _describe_progress(event: job_pb2.Event) -> str:
    progress = event.entry_progress
    percent = f"{progress.percent:.0f} %" if progress.HasField("percent") else ""
    return ", ".join(part for part in (percent, progress.status) if part) or "progress"


def _describe_retry(event: job_pb2.Event) -> str:
    retry = event.entry_retrying
    delay = retry.delay.ToTimedelta().total_seconds()
    return f"attempt {retry.attempt} failed, next in {delay:g} s: {retry.failure.message}"


def _describe_artifact(event: job_pb2.Event) -> str:
    kind = "a folder, " if event.artifact_published.folder else ""
    return f"is ready ({kind}{format_size(event.artifact_published.size_bytes)})"


_DESCRIPTIONS: dict[str, Callable[[job_pb2.Event], str]] = {
    "job_submitted": lambda _event: "submitted",
    "job_waiting": lambda event: _because("waiting", event.job_waiting.reason),
    "job_started": lambda _event: "started",
    "job_cancelling": lambda event: _because("cancelling", event.job_cancelling.reason),
    "job_succeeded": lambda _event: "succeeded",
    "job_failed": lambda event: _because("failed", describe_failure(event.job_failed.failure)),
    "job_cancelled": lambda event: _because("cancelled", event.job_cancelled.reason),
    "job_recovering": lambda event: _because("goes on under a new runner", event.job_recovering.reason),
    "step_started": lambda _event: "started",
    "step_succeeded": lambda _event: "succeeded",
    "entry_waiting": lambda _event: "waiting for capacity",
    "entry_started": lambda event: f"started, attempt {event.entry_started.attempt}, pid {event.entry_started.pid}",
    "entry_progress": _describe_progress,
    "entry_retrying": _describe_retry,
    "entry_succeeded": lambda _event: "succeeded",
    "entry_failed": lambda event: _because("failed", event.entry_failed.failure.message),
    "entry_cancelled": lambda event: _because("cancelled", event.entry_cancelled.reason),
    "entry_skipped": lambda event: _because("skipped", event.entry_skipped.reason),
    "entry_reused": lambda event: _because("need not run", describe_reuse(event.entry_reused)),
    "artifact_published": _describe_artifact,
    "artifact_removed": lambda event: _because("removed", event.artifact_removed.reason),
}
"""What each kind of event says; every kind on the wire has its line here."""
