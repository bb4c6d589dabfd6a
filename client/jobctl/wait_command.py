"""`jobctl wait`, and the waiting part of `jobctl submit` and `jobctl retry`."""

import math
import time
from collections.abc import Sequence

from jobctl.arguments import Arguments
from jobctl.batch import choose_worst
from jobctl.client import Client
from jobctl.errors import TimedOutError
from jobctl.exit_codes import ExitCode
from jobctl.session import connect
from jobctl.states import exit_code_of
from jobctl.terminal import say


def wait(arguments: Arguments) -> ExitCode:
    """Wait silently until every job has ended; the exit code is the worst one's."""
    with connect(arguments) as client:
        # All at once and at first: an unknown one is told now, and @latest stays the same job.
        ids = [client.get(job_id).id for job_id in dict.fromkeys(arguments.ids)]
        return wait_for(client, ids, timeout=arguments.timeout)


def wait_for(client: Client, ids: Sequence[str], *, timeout: float | None = None) -> ExitCode:
    """Wait for all, `timeout` seconds at most. Ctrl-C and the timeout leave the jobs alone and say how to go on."""
    deadline = time.monotonic() + (math.inf if timeout is None else timeout)
    try:
        return choose_worst([_wait(client, job_id, deadline) for job_id in ids])
    except KeyboardInterrupt:
        say(f"\ndetached; {_describe_way(ids)}")
        return ExitCode.INTERRUPTED
    except TimedOutError as error:
        message = f"timed out after {timeout:g} s" if timeout is not None else error.message
        raise TimedOutError(message, hint=_describe_way(ids)) from error


def _wait(client: Client, job_id: str, deadline: float) -> ExitCode:
    left = None if deadline == math.inf else max(0.0, deadline - time.monotonic())
    return exit_code_of(client.wait(job_id, timeout=left).state)


def _describe_way(ids: Sequence[str]) -> str:
    return f"what has not ended goes on: jobctl wait {' '.join(ids)}"
