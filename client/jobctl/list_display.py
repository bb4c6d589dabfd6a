"""What a watched list is shown on."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TextIO

from jobapi.v1 import job_pb2
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from jobctl.errors import JobctlError
from jobctl.job_tables import format_jobs
from jobctl.json_output import dump_line, to_json
from jobctl.states import job_state_name
from jobctl.summary import describe_failure
from jobctl.terminal import escape, say
from jobctl.units import now


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A job that is new, or not as it was."""

    job: job_pb2.Job
    """The job as it is now; of one that is gone, as it was."""
    deleted: bool = False
    """Whether it is gone."""


class ListDisplay:
    """Shows nothing; each kind of display overrides what it shows. It is entered before it is told anything."""

    def __enter__(self) -> Self:
        """Prepare the output."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Leave the output as it was found."""

    def show(self, jobs: Sequence[job_pb2.Job], changes: Sequence[Change]) -> None:
        """Show the list as it is, or what changed."""

    def show_outage(self, error: JobctlError) -> None:
        """Show that the daemon is away and is being asked again."""


class PlainLines(ListDisplay):
    """Writes a line for each change: for logs, pipes and CI."""

    def __init__(self, stream: TextIO) -> None:
        """Hold where the lines go; talk goes to standard error."""
        self._stream = stream
        self._away = False

    def show(self, jobs: Sequence[job_pb2.Job], changes: Sequence[Change]) -> None:  # noqa: ARG002 - as every display
        """Write the lines."""
        self._away = False
        for change in changes:
            print(format_change(change), file=self._stream, flush=True)

    def show_outage(self, error: JobctlError) -> None:
        """Say that the daemon is away, once for each time."""
        if not self._away:
            say(f"{escape(error.message)}; trying again")
        self._away = True


class JsonLines(PlainLines):
    """Writes each change as a line of JSON."""

    def show(self, jobs: Sequence[job_pb2.Job], changes: Sequence[Change]) -> None:  # noqa: ARG002 - as every display
        """Write the lines."""
        for change in changes:
            kind = "deleted" if change.deleted else "changed"
            print(dump_line({"type": kind, "job": to_json(change.job)}), file=self._stream, flush=True)


class LiveTable(ListDisplay):
    """Redraws the table in place, as much of it as there is room for; at the end it stays."""

    def __init__(self, stream: TextIO, *, color: bool, wide: bool) -> None:
        """Hold the terminal; `color` off, or NO_COLOR in the environment, leaves colours out."""
        self._console = Console(file=stream, no_color=None if color else True, highlight=False)
        self._wide = wide
        self._jobs: Sequence[job_pb2.Job] = ()
        self._live = Live(console=self._console, auto_refresh=False)

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End drawing and leave the last table."""
        self._live.stop()

    def show(self, jobs: Sequence[job_pb2.Job], changes: Sequence[Change]) -> None:  # noqa: ARG002 - as every display
        """Draw the list as it is, times included."""
        self._jobs = jobs
        self._draw("")

    def show_outage(self, error: JobctlError) -> None:
        """Draw the reason below the table until the daemon is back."""
        self._draw(f"{escape(error.message)}; trying again")

    def _draw(self, note: str) -> None:
        room = max(1, self._console.height - 4)
        head, *rows = format_jobs(self._jobs, wide=self._wide)
        lines = [Text(head, style="bold"), *map(Text, rows[:room])]
        if len(rows) > room:
            lines.append(Text(f"and {len(rows) - room} more", style="dim"))
        if note:
            lines.append(Text(note, style="bold yellow"))
        for line in lines:
            line.no_wrap, line.overflow = True, "ellipsis"
        self._live.update(Group(*lines), refresh=True)


def format_change(change: Change) -> str:
    """Write a change as one line: the local time, id, state, entries, name, reason. Safe for a terminal."""
    job = change.job
    state = "DELETED" if change.deleted else job_state_name(job.state)
    reason = describe_failure(job.failure) if job.HasField("failure") else escape(job.reason)
    count = f"{job.ended_entry_count}/{job.entry_count}"
    cells = (now().astimezone().strftime("%H:%M:%S"), job.id, f"{state:<10}", count, escape(job.name), reason)
    return "  ".join(cells).rstrip()
