"""`jobctl get`, `list`, `cancel` and `open`."""

import os
import sys
import webbrowser

from jobapi.v1 import job_pb2

from jobctl.arguments import Arguments
from jobctl.client import Client
from jobctl.errors import NotFoundError
from jobctl.exit_codes import ExitCode
from jobctl.json_output import dump_document, to_json
from jobctl.states import is_terminal, job_state_name, parse_job_state
from jobctl.tables import format_job, format_jobs
from jobctl.terminal import escape, say


def get(arguments: Arguments) -> ExitCode:
    """Tell everything known of a job."""
    with Client.connect(arguments.address, arguments.token_file) as client:
        job = client.get(arguments.id)
    if arguments.json:
        print(dump_document(to_json(job)))
    else:
        print("\n".join(format_job(job)))
    return ExitCode.SUCCEEDED


def list_jobs(arguments: Arguments) -> ExitCode:
    """List jobs, newest first."""
    states = [parse_job_state(name) for name in arguments.state]
    with Client.connect(arguments.address, arguments.token_file) as client:
        jobs = list(client.list_jobs(states=states, name=arguments.name, limit=arguments.limit or None))
    if arguments.json:
        print(dump_document({"jobs": [to_json(job) for job in jobs]}))
    else:
        print("\n".join(format_jobs(jobs)))
    return ExitCode.SUCCEEDED


def cancel(arguments: Arguments) -> ExitCode:
    """Ask for a job's end; one that has ended already is no error."""
    with Client.connect(arguments.address, arguments.token_file) as client:
        job = client.cancel(arguments.id, arguments.reason)
    if arguments.json:
        print(dump_document(to_json(job)))
    else:
        _tell_cancelled(job)
    return ExitCode.SUCCEEDED


def open_dashboard(arguments: Arguments) -> ExitCode:
    """Print where the dashboard shows the job, and open it in a browser when a person is there to see it."""
    with Client.connect(arguments.address, arguments.token_file) as client:
        job = client.get(arguments.id)
        if not job.dashboard_url:
            status = client.info().prefect_status
            raise NotFoundError(
                f"no dashboard shows the job {job.id} yet: it is {job_state_name(job.state)}",
                hint=f"Prefect: {status}" if status else "",
            )
    print(escape(job.dashboard_url), flush=True)
    # The address comes from the daemon: only one of the web is handed to a browser.
    if _has_browser() and not arguments.print_only and job.dashboard_url.startswith(("http://", "https://")):
        webbrowser.open(job.dashboard_url)
    return ExitCode.SUCCEEDED


def _tell_cancelled(job: job_pb2.Job) -> None:
    print(f"{job.id} {job_state_name(job.state)}")
    if not is_terminal(job.state):
        say(f"its processes are being ended; watch: jobctl watch {job.id}")


def _has_browser() -> bool:
    # Without a display the standard library would start a text browser inside this terminal.
    shown = sys.platform == "darwin" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
    return shown and sys.stdout.isatty()
