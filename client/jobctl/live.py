"""A watched job as a picture that redraws itself, for a terminal."""

import threading
from types import TracebackType
from typing import Self, TextIO

from jobapi.v1 import job_pb2
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from jobctl.display import Display
from jobctl.errors import JobctlError
from jobctl.frame import Frame
from jobctl.job_view import JobView
from jobctl.summary import summarize
from jobctl.terminal import escape
from jobctl.units import now

_REDRAWS_A_SECOND = 5


class LiveDisplay(Display):
    """Redraws the steps, entries and bars in place; at the end the last picture stays, whole."""

    def __init__(self, stream: TextIO, *, color: bool) -> None:
        """Hold the terminal; `color` off, or NO_COLOR in the environment, leaves colours out."""
        self._console = Console(file=stream, no_color=None if color else True, highlight=False)
        self._view = JobView()
        self._outage = ""
        # The picture is drawn in a thread of its own, while events come in.
        self._lock = threading.Lock()
        self._live = Live(
            console=self._console,
            get_renderable=self._draw,
            refresh_per_second=_REDRAWS_A_SECOND,
            transient=True,
        )

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End drawing and leave the last picture, in full height."""
        self._live.stop()
        if self._view.job.id:
            self._console.print(Group(*(_fit(line) for line in self._frame().draw())))

    def show_job(self, job: job_pb2.Job) -> None:
        """Draw this from now on."""
        with self._lock:
            self._outage = ""
            self._view.reset(job)

    def show_event(self, event: job_pb2.Event) -> None:
        """Draw the change with the next picture."""
        with self._lock:
            self._outage = ""
            self._view.apply(event)

    def show_outage(self, error: JobctlError) -> None:
        """Draw the reason below the job until the daemon is back."""
        with self._lock:
            self._outage = f"{escape(error.message)}; trying again"

    def show_end(self, job: job_pb2.Job) -> None:
        """Print how the job ended and how to go on."""
        self._print([Text(line, style="" if index else "bold") for index, line in enumerate(summarize(job))])

    def _draw(self) -> Group:
        with self._lock:
            if not self._view.job.id:
                return Group(Text(self._outage or "connecting"))
            # One line stays free for the cursor, one for an outage.
            lines = self._frame(self._console.height - 2).draw()
            if self._outage:
                lines.append(Text(self._outage, style="bold yellow"))
        return Group(*(_fit(line) for line in lines))

    def _frame(self, height: int | None = None) -> Frame:
        return Frame(job=self._view.job, paces=self._view.paces, now=now(), height=height, columns=self._console.width)

    def _print(self, lines: list[Text]) -> None:
        for line in lines:
            self._console.print(line, soft_wrap=True)


def _fit(line: Text) -> Text:
    line.no_wrap, line.overflow = True, "ellipsis"
    return line
