"""The first program in a sandbox, run by path in a bare interpreter: starts the module and writes down how it ended.

bubblewrap itself makes one exit code of a signal and of an exit with 128 more, and does not tell what was used.
"""

import os
import signal
import sys

_LET_PASS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_AS_BEFORE = (signal.SIGPIPE, signal.SIGXFSZ)
"""What an interpreter ignores for itself, and a module must find as it is for everybody."""


def main(report: str, folder: str, argv: list[str]) -> int:
    """Run `argv` in a folder to its end and report `code cpu-seconds peak-bytes`; the code is negative for a signal."""
    os.chdir(folder)  # which only the module's own user may be able to
    for number in _LET_PASS:
        signal.signal(number, lambda *_: None)  # it is the module that they are for
    pid = os.posix_spawn(argv[0], argv, os.environ, setsigdef=_AS_BEFORE)
    _pid, status, usage = os.wait4(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    try:
        fd = os.open(report, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        os.write(fd, f"{code} {usage.ru_utime + usage.ru_stime} {usage.ru_maxrss << 10}".encode())
    except OSError as error:  # the module has removed the folder, or put something there
        print(f"how the module ended could not be written down: {error}", file=sys.stderr)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    os._exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
