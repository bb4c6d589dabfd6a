"""`jobctl watch --all`."""

import sys

from jobapi.v1 import job_service_pb2

from jobctl.arguments import Arguments
from jobctl.errors import JobctlError, UsageError
from jobctl.exit_codes import ExitCode
from jobctl.json_output import Json, dump_line, event_to_json, to_json
from jobctl.plain import format_event
from jobctl.selection import parse_selectors
from jobctl.session import connect
from jobctl.states import job_state_name, parse_job_state
from jobctl.terminal import escape, say
from jobctl.units import format_clock


def watch_all(arguments: Arguments) -> ExitCode:
    """Write a line for everything that happens to jobs, from now on or after a cursor, until Ctrl-C."""
    if arguments.id:
        raise UsageError("--all watches every job", hint="leave the ID out, or --all")
    write = _write_json if arguments.json else _write_plain
    outage = _Outage()
    try:
        with connect(arguments) as client:
            for message in client.watch_jobs(
                after=arguments.after_cursor,
                states=[parse_job_state(name) for name in arguments.state],
                name=arguments.name,
                labels=parse_selectors(arguments.label),
                owner=arguments.owner,
                on_outage=outage.show,
            ):
                outage.end()
                write(message)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return ExitCode.SUCCEEDED


class _Outage:
    """Says that the daemon is away, once for each time."""

    def __init__(self) -> None:
        self._away = False

    def show(self, error: JobctlError) -> None:
        if not self._away:
            say(f"{escape(error.message)}; trying again")
        self._away = True

    def end(self) -> None:
        self._away = False


def _write_plain(message: job_service_pb2.WatchJobsResponse) -> None:
    print(format_change(message), flush=True)


def _write_json(message: job_service_pb2.WatchJobsResponse) -> None:
    if message.WhichOneof("message") == "removed":
        line: dict[str, Json] = {
            "type": "job_removed",
            "cursor": message.cursor,
            "job_removed": to_json(message.removed),
        }
    else:
        change = message.change
        about: dict[str, Json] = {"name": change.name, "labels": dict(change.labels), "owner": change.owner}
        line = event_to_json(change.event) | {"cursor": message.cursor, "job": about}
    print(dump_line(line), file=sys.stdout, flush=True)


def format_change(message: job_service_pb2.WatchJobsResponse) -> str:
    """Write what happened as one line: the job, its name, and what a watch of the job alone would write."""
    if message.WhichOneof("message") == "removed":
        job = message.removed
        what = f"{format_clock(job.time)}  removed, {job_state_name(job.state)}"
        return f"{job.job_id}  {escape(job.name)}  {what}"
    change = message.change
    return f"{change.event.job_id}  {escape(change.name)}  {format_event(change.event)}"
