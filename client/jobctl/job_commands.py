"""`jobctl get`, `cancel`, `delete` and `open`."""

import os
import sys
import webbrowser

from jobctl.answers import print_answer
from jobctl.arguments import Arguments
from jobctl.batch import do_each
from jobctl.errors import NotFoundError
from jobctl.exit_codes import ExitCode
from jobctl.job_tables import format_job
from jobctl.json_output import dump_document, dump_line, to_json
from jobctl.output_format import OutputFormat
from jobctl.session import connect
from jobctl.states import is_terminal, job_state_name
from jobctl.terminal import escape, say


def get(arguments: Arguments) -> ExitCode:
    """Tell everything known of a job."""
    with connect(arguments) as client:
        job = client.get(arguments.id)
    print_answer(
        arguments.output,
        data=lambda: to_json(job),
        names=lambda: [job.id],
        lines=lambda: format_job(job, wide=arguments.output == OutputFormat.WIDE),
    )
    return ExitCode.SUCCEEDED


def cancel(arguments: Arguments) -> ExitCode:
    """Ask for the ends of jobs; one that has ended already is no error."""
    dump = dump_document if len(arguments.ids) == 1 else dump_line

    def cancel_one(job_id: str) -> None:
        job = client.cancel(job_id, arguments.reason)
        print(dump(to_json(job)) if arguments.json else f"{job.id} {job_state_name(job.state)}", flush=True)
        if not (arguments.json or is_terminal(job.state)):
            say(f"its processes are being ended; watch: jobctl watch {job.id}")

    with connect(arguments) as client:
        return do_each(arguments.ids, cancel_one, json=arguments.json)


def delete(arguments: Arguments) -> ExitCode:
    """Remove jobs that have ended, with everything of theirs, and print the id of each."""

    def delete_one(job_id: str) -> None:
        gone = client.delete(job_id)
        print(dump_line({"id": gone}) if arguments.json else gone, flush=True)

    with connect(arguments) as client:
        return do_each(arguments.ids, delete_one, json=arguments.json)


def open_dashboard(arguments: Arguments) -> ExitCode:
    """Print where the dashboard shows the job, and open it in a browser when a person is there to see it.

    The address holds the dashboard's password, behind its `#`: the browser keeps it and does not ask for it again.
    """
    with connect(arguments) as client:
        url = client.open_dashboard(arguments.id)
        if not url:
            job, status = client.get(arguments.id), client.info().prefect_status
            raise NotFoundError(
                f"no dashboard shows the job {job.id} yet: it is {job_state_name(job.state)}",
                hint=f"Prefect: {status}" if status else "",
            )
    print(escape(url), flush=True)
    # The address comes from the daemon: only one of the web is handed to a browser.
    if _has_browser() and not arguments.print_only and url.startswith(("http://", "https://")):
        webbrowser.open(url)
    return ExitCode.SUCCEEDED


def _has_browser() -> bool:
    # Without a display the standard library would start a text browser inside this terminal.
    shown = sys.platform == "darwin" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
    return shown and sys.stdout.isatty()
