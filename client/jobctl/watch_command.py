"""`jobctl watch`, and the watching part of `jobctl submit`."""

import sys
from typing import TextIO

from jobapi.v1 import job_pb2

from jobctl.arguments import Arguments
from jobctl.client import Client
from jobctl.display import Display, JsonDisplay
from jobctl.errors import JobctlError, TimedOutError, UsageError
from jobctl.exit_codes import ExitCode
from jobctl.job_view import JobView
from jobctl.plain import PlainDisplay
from jobctl.session import connect
from jobctl.states import exit_code_of, is_terminal
from jobctl.terminal import can_redraw, escape, say
from jobctl.watch_all_command import watch_all


def watch(arguments: Arguments) -> ExitCode:
    """Show a job until it ends; the exit code is the job's. Or, with --all, what happens to every job."""
    if arguments.all:
        return watch_all(arguments)
    if not arguments.id:
        raise UsageError("there is no ID", hint="give the ID of a job, @latest, or --all")
    if arguments.state or arguments.name or arguments.label or arguments.owner or arguments.after_cursor is not None:
        raise UsageError("--state, --name, --label, --owner and --after-cursor are for --all", hint="add --all")
    display = choose_display(arguments, sys.stdout)
    with connect(arguments) as client:
        return follow(client, arguments.id, display, after=arguments.after, timeout=arguments.timeout)


def choose_display(arguments: Arguments, stream: TextIO) -> Display:
    """Choose lines of JSON, the live view on a terminal that can do it, or plain lines; `stream` is for text."""
    if arguments.json:
        return JsonDisplay(sys.stdout)
    if not can_redraw(stream):
        return PlainDisplay(stream)
    from jobctl.live import LiveDisplay  # noqa: PLC0415 - what it draws with is loaded for those who look only

    return LiveDisplay(stream, color=not arguments.no_color)


def follow(
    client: Client,
    job_id: str,
    display: Display,
    *,
    after: int = 0,
    timeout: float | None = None,
    resuming: bool = False,
) -> ExitCode:
    """Show a job until it ends. Ctrl-C and the timeout leave the job alone and say how to go on."""
    view = JobView()
    try:
        with display:
            for item in client.watch(
                job_id, after=after, timeout=timeout, resuming=resuming, on_outage=display.show_outage
            ):
                _show(item, view, display)
    except KeyboardInterrupt:
        say(f"\ndetached; {_describe_ways(view.job.id or job_id)}")
        return ExitCode.INTERRUPTED
    except TimedOutError as error:
        raise TimedOutError(error.message, hint=_describe_ways(view.job.id or job_id)) from error
    final = _read_final(client, view.job)
    display.show_end(final)
    return exit_code_of(final.state)


def _show(item: job_pb2.Job | job_pb2.Event, view: JobView, display: Display) -> None:
    if isinstance(item, job_pb2.Job):
        view.reset(item)
        display.show_job(item)
    else:
        view.apply(item)
        display.show_event(item)


def _read_final(client: Client, seen: job_pb2.Job) -> job_pb2.Job:
    """Ask once more, for what no event tells: the dashboard's address, and what became of every artifact."""
    try:
        job = client.get(seen.id)
    except JobctlError as error:
        # The outcome is known from the events; only the talk about it is poorer.
        say(f"could not read the job's last details: {escape(error.message)}")
        return seen
    return job if is_terminal(job.state) else seen


def _describe_ways(job_id: str) -> str:
    return f"the job goes on: jobctl watch {job_id} | jobctl cancel {job_id}"
