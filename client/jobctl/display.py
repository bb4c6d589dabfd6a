"""What a watched job is shown on."""

from types import TracebackType
from typing import Self, TextIO

from jobapi.v1 import job_pb2

from jobctl.errors import JobctlError
from jobctl.json_output import dump_line, event_to_json


class Display:
    """Shows nothing; each kind of display overrides what it shows. It is entered before it is told anything."""

    def __enter__(self) -> Self:
        """Prepare the output."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Leave the output as it was found."""

    def show_job(self, job: job_pb2.Job) -> None:
        """Take in the job as it is now: at first, and after each interruption."""

    def show_event(self, event: job_pb2.Event) -> None:
        """Show a change; each comes once, in order."""

    def show_outage(self, error: JobctlError) -> None:
        """Show that the daemon is away and is being asked again."""

    def show_end(self, job: job_pb2.Job) -> None:
        """Show how the job ended; told after the display was left."""


class JsonDisplay(Display):
    """Writes each event as a line of JSON, and nothing else."""

    def __init__(self, stream: TextIO) -> None:
        """Hold where the lines go."""
        self._stream = stream

    def show_event(self, event: job_pb2.Event) -> None:
        """Write the event."""
        print(dump_line(event_to_json(event)), file=self._stream, flush=True)
