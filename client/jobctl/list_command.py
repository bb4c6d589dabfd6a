"""`jobctl list`."""

import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial

from jobapi.v1 import job_pb2

from jobctl.answers import print_answer
from jobctl.arguments import Arguments
from jobctl.client import Client
from jobctl.errors import UsageError
from jobctl.exit_codes import ExitCode
from jobctl.job_list import JobList, follow_list
from jobctl.job_tables import format_jobs
from jobctl.json_output import to_json
from jobctl.list_display import JsonLines, ListDisplay, LiveTable, PlainLines
from jobctl.output_format import OutputFormat
from jobctl.selection import parse_moment, parse_selectors
from jobctl.session import connect
from jobctl.states import parse_job_state
from jobctl.terminal import can_redraw


def list_jobs(arguments: Arguments) -> ExitCode:
    """List jobs, newest first; or show the list, and how it changes, until Ctrl-C."""
    display = _choose_display(arguments) if arguments.watch else None
    with connect(arguments) as client:
        fetch = _prepare(client, arguments)
        if display:
            return follow_list(JobList(fetch=fetch, look=client.get), display)
        jobs = list(fetch())
    print_answer(
        arguments.output,
        data=lambda: {"jobs": [to_json(job) for job in jobs]},
        names=lambda: [job.id for job in jobs],
        lines=lambda: _format(jobs, wide=arguments.output == OutputFormat.WIDE),
    )
    return ExitCode.SUCCEEDED


def _format(jobs: list[job_pb2.Job], *, wide: bool) -> Iterator[str]:
    """Give the table; on a terminal a job is one line of it, unless it is wide, and the reason at its end is cut."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() and not wide else 0
    for line in format_jobs(jobs, wide=wide):
        yield f"{line[: width - 1]}…" if 0 < width < len(line) else line


def _prepare(client: Client, arguments: Arguments) -> Callable[[], Iterator[job_pb2.Job]]:
    return partial(
        client.list_jobs,
        states=[parse_job_state(name) for name in arguments.state],
        name=arguments.name,
        labels=parse_selectors(arguments.label),
        owner=arguments.owner,
        since=parse_moment(arguments.since, "--since"),
        until=parse_moment(arguments.until, "--until"),
        limit=arguments.limit or None,
    )


def _choose_display(arguments: Arguments) -> ListDisplay:
    if arguments.output in {OutputFormat.YAML, OutputFormat.NAME}:
        raise UsageError(f"--watch cannot write {arguments.output}", hint="it can: table, wide, json")
    if arguments.json:
        return JsonLines(sys.stdout)
    if not can_redraw(sys.stdout):
        return PlainLines(sys.stdout)
    return LiveTable(sys.stdout, color=not arguments.no_color, wide=arguments.output == OutputFormat.WIDE)
