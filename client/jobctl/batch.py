"""One command for several jobs."""

from collections.abc import Callable, Iterable

from jobctl.error_report import report
from jobctl.errors import JobctlError, NotAllowedError, NotOwnerError, UnreachableError
from jobctl.exit_codes import ExitCode

_URGENCY = (ExitCode.SUCCEEDED, ExitCode.CANCELLED, ExitCode.FAILED)


def do_each(ids: Iterable[str], action: Callable[[str], None], *, json: bool) -> ExitCode:
    """Do something to every job, once; what fails for one is told, and keeps no other from its turn.

    The exit code is that of the first failure. Without a daemon, or without leave, none has its turn any more.
    """
    first = ExitCode.SUCCEEDED
    for job_id in dict.fromkeys(ids):
        try:
            action(job_id)
        except JobctlError as error:
            if isinstance(error, UnreachableError | NotAllowedError) and not isinstance(error, NotOwnerError):
                raise
            report(error, json=json)
            first = first or error.exit_code
    return first


def choose_worst(codes: Iterable[ExitCode]) -> ExitCode:
    """Give the exit code that stands for several jobs: of one that failed, else of one that was cancelled."""
    return max(codes, key=_URGENCY.index, default=ExitCode.SUCCEEDED)
