"""A fresh interpreter that imports Prefect once, never grpc, and forks runners in milliseconds.

It obeys the daemon over the socket on its standard input, and ends when that is closed. Its runners go on.
"""

import contextlib
import gc
import importlib
import logging
import os
import selectors
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic

from jobd import runner
from jobd.failpoints import failpoint
from jobd.layout import StateDirectory
from jobd.messages import TO_NURSERY, Ended, FlowRunMade, Fork, Forked, Ready

log = logging.getLogger("jobd.nursery")

_IDLE_SECONDS = 0.1
"""How long after the end of the last runner a spare one is made."""
_BUSY_SECONDS = 3.0
"""How long after a start one is made although runners are at work."""
_MOST_SECONDS = 10.0
"""How long at most one is put off because those before it have died."""

_WARM = (
    "jobd.cradle",
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


class _Cradle:
    """A fork, and the line over which it is told of its job and its flow run."""

    def __init__(self, state: StateDirectory, *, spare: bool) -> None:
        """Make it."""
        # Imported long ago; here to keep this file importable without Prefect.
        from jobd import cradle  # noqa: PLC0415

        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.launch = ""
        self.pid = os.fork()
        if self.pid == 0:
            cradle.become_runner(state, theirs, spare=spare)
        theirs.close()

    def tell(self, message: Fork | FlowRunMade) -> bool:
        """Say something; tell whether it lives to hear it."""
        try:
            self._line.send(message.line())
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Hang up."""
        self._line.close()


class Nursery:
    """Forks runners and tells when they end. While it has nothing else to do it holds a spare one ready."""

    def __init__(self, state: StateDirectory, line: socket.socket) -> None:
        """Talk over `line`."""
        self._state = state
        self._line = line
        self._runners: dict[int, str] = {}
        self._untold: dict[str, _Cradle] = {}
        """The runners that wait for their flow runs, by their jobs."""
        self._spare: _Cradle | None = None
        self._spare_deaths = 0
        self._spare_due = 0.0
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
            ready = {key.fd for key, _events in selector.select(self._seconds_to_spare())}
            if self._wake_read in ready:
                os.read(self._wake_read, 4096)
                self._reap()
            if self._line.fileno() in ready:
                data = self._line.recv(65536)
                if not data:
                    return
                *lines, buffer = (buffer + data).split(b"\n")
                for line in lines:
                    self._hear(TO_NURSERY.validate_json(line))
            elif self._seconds_to_spare() == 0:
                self._spare = _Cradle(self._state, spare=True)

    def _hear(self, message: Fork | FlowRunMade) -> None:
        if isinstance(message, Fork):
            self._fork(message)
        elif (cradle := self._untold.get(message.job_id)) is not None and cradle.launch == message.launch:
            cradle.tell(message)  # one that is dead needs to know no more
            self._forget(message.job_id)

    def _fork(self, wish: Fork) -> None:
        self._forget(wish.job_id)
        if not wish.plain:
            self._spare_deaths = 0  # they died for want of Prefect's server, and there it is
        cradle, self._spare = self._spare, None
        if cradle is None or not cradle.tell(wish):
            cradle = _Cradle(self._state, spare=False)
            cradle.tell(wish)
        failpoint("nursery.forked")
        cradle.launch = wish.launch
        self._runners[cradle.pid] = wish.job_id
        if wish.flow_run_follows:
            self._untold[wish.job_id] = cradle
        else:
            cradle.close()
        self._put_off_spare()
        self._say(Forked(job_id=wish.job_id, pid=cradle.pid))

    def _forget(self, job_id: str) -> None:
        if (cradle := self._untold.pop(job_id, None)) is not None:
            cradle.close()

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                self._bury(*ended)

    def _bury(self, pid: int, status: int) -> None:
        job_id = self._runners.pop(pid, None)
        if job_id is not None:
            self._say(Ended(job_id=job_id, pid=pid, status=os.waitstatus_to_exitcode(status)))
        elif self._spare is not None and self._spare.pid == pid:
            self._spare.close()
            self._spare = None
            self._spare_deaths += 1
            if status != 0:  # it goes by itself while Prefect's server is away
                log.warning("spare_ended status=%d", os.waitstatus_to_exitcode(status))
        self._put_off_spare()

    def _put_off_spare(self) -> None:
        """Make no spare one for a while: whoever starts or runs a job now has the better use for the processors."""
        pause = _BUSY_SECONDS if self._runners else _IDLE_SECONDS
        self._spare_due = monotonic() + min(_MOST_SECONDS, pause * 2 ** min(self._spare_deaths, 10))

    def _seconds_to_spare(self) -> float | None:
        """Give how long it is until a spare one is made; None when there is one."""
        return max(0.0, self._spare_due - monotonic()) if self._spare is None else None

    def _say(self, message: Ready | Forked | Ended) -> None:
        self._line.sendall(message.line())


if __name__ == "__main__":
    main()
