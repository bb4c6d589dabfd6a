"""A fresh interpreter that imports Prefect once, never grpc, and forks runners in milliseconds.

It obeys the daemon over the socket on its standard input, and ends when that is closed. Its runners go on.
"""

import gc
import importlib
import logging
import os
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from pydantic import TypeAdapter

from jobd import runner
from jobd.failpoints import failpoint
from jobd.layout import StateDirectory
from jobd.messages import Ended, Fork, Forked, Ready
from jobd.plain import run_plainly

log = logging.getLogger("jobd.nursery")

_FORK: TypeAdapter[Fork] = TypeAdapter(Fork)
_DRAIN_SECONDS = 20.0

_WARM = (
    "jobd.flow",
    # What the first flow run of a process imports by itself: measured, a quarter of a second of every runner's life.
    "anyio._backends._asyncio",
    "encodings.idna",
    "fastapi",
    "graphviz",
    "prefect.concurrency",
    "prefect.engine",
    "prefect.flow_engine",
    "prefect.task_engine",
    "prefect.utilities.visualization",
    "pydantic.v1",
    "rich._emoji_codes",
    "sqlite3",
)


def main() -> None:
    """Serve forks until the daemon hangs up."""
    runner.configure_logging()
    os.umask(0o077)
    state = StateDirectory(Path(sys.argv[1]))
    line = socket.socket(fileno=os.dup(0))
    os.set_inheritable(line.fileno(), False)
    for name in _WARM:
        importlib.import_module(name)
    # Prefect must not be imported where only this file is looked at.
    from jobd import flow, rehearsal  # noqa: PLC0415

    with flow.settings():
        _rehearse(rehearsal.rehearse)
        with flow.client():
            # What is here now is shared with every runner; a collection must not touch, and so copy, its pages.
            gc.collect()
            gc.freeze()
            Nursery(state, line).serve()


def _rehearse(rehearse: Callable[[], None]) -> None:
    try:
        rehearse()
    except Exception:
        log.exception("rehearsal_failed")  # the first runs are slower then, and right


class Nursery:
    """Forks runners and tells when they end."""

    def __init__(self, state: StateDirectory, line: socket.socket) -> None:
        """Talk over `line`."""
        self._state = state
        self._line = line
        self._runners: dict[int, str] = {}
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def serve(self) -> None:
        """Serve until the daemon hangs up."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        selector = selectors.DefaultSelector()
        selector.register(self._line, selectors.EVENT_READ)
        selector.register(self._wake_read, selectors.EVENT_READ)
        self._say(Ready())
        buffer = b""
        while True:
            ready = {key.fd for key, _events in selector.select()}
            if self._wake_read in ready:
                os.read(self._wake_read, 4096)
                self._reap()
            if self._line.fileno() in ready:
                data = self._line.recv(65536)
                if not data:
                    return
                *lines, buffer = (buffer + data).split(b"\n")
                for line in lines:
                    self._fork(_FORK.validate_json(line))

    def _fork(self, wish: Fork) -> None:
        pid = os.fork()
        if pid == 0:
            _become_runner(self._state, wish)
        failpoint("nursery.forked")
        self._runners[pid] = wish.job_id
        self._say(Forked(job_id=wish.job_id, pid=pid))

    def _reap(self) -> None:
        while self._runners:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            job_id = self._runners.pop(pid)
            self._say(Ended(job_id=job_id, pid=pid, status=os.waitstatus_to_exitcode(status)))

    def _say(self, message: Ready | Forked | Ended) -> None:
        self._line.sendall(message.line())


def _become_runner(state: StateDirectory, wish: Fork) -> NoReturn:
    """Run the job in this forked process, which never returns to the nursery's code."""
    status = runner.EXIT_NOT_DONE
    try:
        os.setsid()
        _reset(state, wish.job_id)
        failpoint("runner.born")
        from jobd import flow  # noqa: PLC0415 - imported long ago; here to keep this file importable without Prefect

        status = runner.run_job(state, wish, run_plainly if wish.plain else flow.engine(wish.flow_run))
        flow.drain(_DRAIN_SECONDS)
    except BaseException:  # noqa: BLE001 - whatever it is, it is written down, and the process must end here
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _reset(state: StateDirectory, job_id: str) -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    log_fd = os.open(state.job(job_id).runner_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    null_fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null_fd, 0)  # which also hangs up on the daemon's line
    os.dup2(log_fd, 1)
    os.dup2(log_fd, 2)
    os.closerange(3, log_fd)
    runner.configure_logging()


if __name__ == "__main__":
    main()
