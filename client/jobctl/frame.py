"""One picture of a running job, as lines of text that fit a screen."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from jobapi.v1 import job_pb2
from rich.text import Text

from jobctl.pace import Paces
from jobctl.states import entry_state_name, has_ended, is_terminal, job_state_name
from jobctl.terminal import escape
from jobctl.units import format_duration, format_estimate, to_datetime

_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_MARKS = {
    job_pb2.ENTRY_STATE_PENDING: ("·", "dim"),
    job_pb2.ENTRY_STATE_WAITING: ("…", "yellow"),
    job_pb2.ENTRY_STATE_RETRYING: ("↻", "yellow"),
    job_pb2.ENTRY_STATE_SUCCEEDED: ("✓", "green"),
    job_pb2.ENTRY_STATE_FAILED: ("✗", "bold red"),
    job_pb2.ENTRY_STATE_CANCELLED: ("⊘", "magenta"),
    job_pb2.ENTRY_STATE_SKIPPED: ("-", "dim"),
}
_JOB_STYLES = {
    job_pb2.JOB_STATE_SUCCEEDED: "bold green",
    job_pb2.JOB_STATE_FAILED: "bold red",
    job_pb2.JOB_STATE_CANCELLED: "bold magenta",
    job_pb2.JOB_STATE_RUNNING: "bold cyan",
}
_URGENCY = [
    job_pb2.ENTRY_STATE_FAILED,
    job_pb2.ENTRY_STATE_RUNNING,
    job_pb2.ENTRY_STATE_RETRYING,
    job_pb2.ENTRY_STATE_WAITING,
    job_pb2.ENTRY_STATE_CANCELLED,
    job_pb2.ENTRY_STATE_PENDING,
    job_pb2.ENTRY_STATE_SUCCEEDED,
    job_pb2.ENTRY_STATE_SKIPPED,
]
_QUIET = {job_pb2.ENTRY_STATE_PENDING, job_pb2.ENTRY_STATE_SUCCEEDED, job_pb2.ENTRY_STATE_SKIPPED}
_BAR = 20
_NAME = 32
_LEAST_BAR = 5
_LEAST_NAME = 10
_PERCENT = 8
"""How much `100 %` takes, with the space around it."""
_BESIDE = 17
"""How much of an entry's line stands around its name: the indent, the mark, the time."""
_TAIL = 5
_FEWEST = 6


@dataclass(slots=True, kw_only=True)
class Frame:
    """Draws a job at one moment."""

    job: job_pb2.Job
    """The job."""
    now: datetime
    """The moment, for elapsed times and the spinner."""
    paces: Paces = field(default_factory=Paces)
    """How fast its entries go."""
    height: int | None = None
    """The number of lines there is room for; None for any number."""
    columns: int | None = None
    """How wide the screen is; None for any width. Names and bars shrink on a narrow one, before texts are cut."""
    _width: int = field(default=_NAME, init=False)

    def __post_init__(self) -> None:
        """Measure the column of names once for all lines."""
        widths = (len(entry.name) for step in self.job.steps for entry in step.entries)
        room = _NAME if self.columns is None else max(_LEAST_NAME, self.columns - _BESIDE - _BAR - _PERCENT)
        self._width = min(_NAME, room, max(widths, default=0))

    def draw(self) -> list[Text]:
        """Give the lines; where there is little room, quiet steps and then quiet entries are only counted."""
        room = None if self.height is None else max(_FEWEST, self.height - 2)
        body = self._draw_steps(room=None)
        if room is not None and len(body) > room:
            body = self._draw_steps(room=room)
        return [self._draw_head(), *body, self._draw_foot()]

    def _draw_head(self) -> Text:
        job = self.job
        line = Text(f"{escape(job.name)} ", style="bold").append(job.id, style="dim").append("  ")
        line.append(job_state_name(job.state), style=_JOB_STYLES.get(job.state, "yellow"))
        if job.HasField("start_time"):
            line.append(f"  {self._elapsed(job)}")
        return line.append(f"  {escape(job.reason)}", style="yellow") if job.reason else line

    def _draw_foot(self) -> Text:
        entries = [entry for step in self.job.steps for entry in step.entries]
        line = Text(f"{sum(map(has_ended, entries))} of {len(entries)} entries ended", style="dim")
        return line.append(f"  {escape(self.job.dashboard_url)}") if self.job.dashboard_url else line

    def _draw_steps(self, room: int | None) -> list[Text]:
        if room is None:
            return [line for step in self.job.steps for line in self._draw_step(step, list(step.entries))]
        loud = [step for step in self.job.steps if not _is_quiet(step)]
        # Each loud step takes its own line and one that counts what is left out; steps in between share a line.
        share = max(1, (room - 2) // max(1, len(loud)) - 2)
        lines: list[Text] = []
        hidden = 0
        for step in self.job.steps:
            if _is_quiet(step) and len(self.job.steps) > room // 2:
                hidden += 1
            else:
                lines += self._draw_step(step, [] if _is_quiet(step) else _choose(step.entries, share))
        return [*lines[: room - 1], Text(f"  and {hidden} more steps", style="dim")] if hidden else lines[:room]

    def _draw_step(self, step: job_pb2.Step, shown: Sequence[job_pb2.Entry]) -> list[Text]:
        lines = [self._draw_step_line(step)]
        for entry in shown:
            lines.append(self._draw_entry(step.name, entry))
            lines += self._draw_tail(step.name, entry)
        rest = len(step.entries) - len(shown)
        if shown and rest:
            lines.append(Text(f"    and {rest} more", style="dim"))
        return lines

    def _draw_step_line(self, step: job_pb2.Step) -> Text:
        counts = Counter(entry.state for entry in step.entries)
        told = ", ".join(f"{counts[state]} {entry_state_name(state).lower()}" for state in _URGENCY if counts[state])
        return Text("  ").append(escape(step.name), style="bold").append(f"  {told}", style="dim")

    def _draw_entry(self, step: str, entry: job_pb2.Entry) -> Text:
        mark, style = _MARKS.get(entry.state, (self._spin(), "cyan"))
        line = Text("    ").append(mark, style=style).append(f" {_fit(escape(entry.name), self._width):<{self._width}}")
        line.append(f" {self._elapsed(entry) if entry.HasField('start_time') else '':>8}  ", style="dim")
        if entry.state == job_pb2.ENTRY_STATE_RUNNING and entry.HasField("progress_percent"):
            left = self.paces.left(step, entry.name, self.now)
            told = f"{format_estimate(left)} left  " if left else ""
            _append_bar(line, entry.progress_percent, self._measure_bar(told))
            line.append(told, style="dim")
        if entry.attempt > 1:
            line.append(f"attempt {entry.attempt}  ", style="yellow")
        return line.append(escape(_explain(entry)), style="red" if entry.HasField("failure") else "")

    def _draw_tail(self, step: str, entry: job_pb2.Entry) -> list[Text]:
        failure = self.job.failure
        # The summary of an ended job has the lines of the entry that it names.
        told = is_terminal(self.job.state) and (failure.step, failure.entry) == (step, entry.name)
        if told or entry.state != job_pb2.ENTRY_STATE_FAILED:
            return []
        return [Text(f"      | {escape(line)}", style="dim") for line in entry.failure.log_tail[-_TAIL:]]

    def _elapsed(self, item: job_pb2.Job | job_pb2.Entry) -> str:
        end = to_datetime(item.end_time) if item.HasField("end_time") else self.now
        return format_duration((end - to_datetime(item.start_time)).total_seconds())

    def _measure_bar(self, told: str) -> int:
        """Give the length of a bar that leaves room for the estimate; one that would say little is left out."""
        room = _BAR if self.columns is None else self.columns - _BESIDE - self._width - _PERCENT - len(told)
        return min(_BAR, room) if room >= _LEAST_BAR else 0

    def _spin(self) -> str:
        return _SPINNER[int(self.now.timestamp() * 5) % len(_SPINNER)]


def _is_quiet(step: job_pb2.Step) -> bool:
    return all(entry.state in _QUIET for entry in step.entries)


def _choose(entries: Sequence[job_pb2.Entry], count: int) -> list[job_pb2.Entry]:
    urgent = sorted(range(len(entries)), key=lambda index: (_rank(entries[index]), index))
    return [entries[index] for index in sorted(urgent[:count])]


def _rank(entry: job_pb2.Entry) -> int:
    return _URGENCY.index(entry.state) if entry.state in _URGENCY else 0


def _explain(entry: job_pb2.Entry) -> str:
    if entry.HasField("failure"):
        return entry.failure.message
    if entry.state == job_pb2.ENTRY_STATE_WAITING:
        return entry.reason or "waiting for capacity"
    return entry.status if entry.state == job_pb2.ENTRY_STATE_RUNNING else entry.reason


def _append_bar(line: Text, percent: float, length: int) -> None:
    done = round(length * min(max(percent, 0.0), 100.0) / 100)
    line.append("━" * done, style="cyan").append("━" * (length - done), style="grey37").append(f" {percent:3.0f} %  ")


def _fit(name: str, width: int) -> str:
    return name if len(name) <= width else name[: width - 1] + "…"
