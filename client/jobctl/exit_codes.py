"""What jobctl's exit code says to a script."""

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of every command; numbers never change their meaning."""

    SUCCEEDED = 0
    """The command did what was asked; of a watched job, that it succeeded."""
    FAILED = 1
    """The watched job failed, or something went wrong that has no code of its own."""
    USAGE = 2
    """The command line is not valid."""
    CANCELLED = 3
    """The watched job was cancelled."""
    NOT_ALLOWED = 4
    """The daemon refused: no token, a wrong one, or one that may not do this."""
    UNREACHABLE = 5
    """No daemon answers."""
    NOT_FOUND = 6
    """There is no such job, entry, artifact or module."""
    INVALID_JOB = 7
    """The job file or one of its input files cannot be used; nothing was stored."""
    TIMED_OUT = 124
    """`--timeout` was reached; the job goes on."""
    INTERRUPTED = 130
    """Ctrl-C; the job goes on."""
    BROKEN_PIPE = 141
    """Whoever read standard output stopped reading, as `head` does."""
