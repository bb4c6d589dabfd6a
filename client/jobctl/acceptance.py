"""What follows when the daemon has taken on jobs: their ids, the hints, and the wait for their ends."""

import sys
from collections.abc import Sequence

from jobapi.v1 import job_pb2

from jobctl.arguments import Arguments
from jobctl.client import Client
from jobctl.errors import LocalFileError, UsageError
from jobctl.exit_codes import ExitCode
from jobctl.json_output import dump_document, dump_line, to_json
from jobctl.terminal import escape, say
from jobctl.wait_command import wait_for
from jobctl.watch_command import choose_display, follow


def check_following(arguments: Arguments) -> None:
    """Raise `UsageError` where the options for what follows contradict each other."""
    if arguments.timeout is not None and not (arguments.watch or arguments.wait):
        raise UsageError("--timeout needs --watch or --wait")
    if len(arguments.files) > 1 and arguments.watch:
        raise UsageError("--watch shows one job", hint="use --wait, or submit one job file")


def tell_accepted(job: job_pb2.Job, arguments: Arguments, *, existed: bool) -> None:
    """Print the job's id alone, or the job as JSON, and the hints on standard error."""
    try:
        _print_job(job, arguments)
    except BrokenPipeError:
        raise
    except OSError as error:
        message = f"job {job.id} was accepted, but standard output cannot be written: {error.strerror}"
        raise LocalFileError(message) from error
    if existed:
        say("this request id was used before; it is the same job")
    if job.retry_of:
        say(f"a retry of: {job.retry_of}")
    if not (arguments.watch or arguments.wait):
        say(f"watch: jobctl watch {job.id}")
    if job.dashboard_url:
        say(f"dashboard: {escape(job.dashboard_url)}")


def _print_job(job: job_pb2.Job, arguments: Arguments) -> None:
    if arguments.json:
        # Events, or other jobs, follow on lines of their own.
        one_document = len(arguments.files) <= 1 and not arguments.watch
        print((dump_document if one_document else dump_line)(to_json(job)), flush=True)
    else:
        print(job.id, flush=True)


def follow_accepted(client: Client, ids: Sequence[str], arguments: Arguments) -> ExitCode:
    """Watch or wait, where that was asked for; the exit code is then the jobs'."""
    if arguments.watch:
        # Standard output has the id; the talk about the job goes where all talk of submit goes.
        display = choose_display(arguments, sys.stderr)
        return follow(client, ids[0], display, timeout=arguments.timeout, resuming=True)
    return wait_for(client, ids, timeout=arguments.timeout) if arguments.wait else ExitCode.SUCCEEDED
