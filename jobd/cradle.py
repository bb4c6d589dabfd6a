"""A fork of the nursery on its way to a runner: it waits for its job, gets ready meanwhile, and runs it.

What it is told comes over a socket whose other end only the nursery holds. So a fork that nobody needs any more ends
with the nursery, and a runner that waits for its flow run goes on without it.
"""

import contextlib
import gc
import logging
import os
import select
import signal
import socket
import sys
import traceback
from typing import NoReturn

from pydantic import TypeAdapter

from jobd import flow, flow_workers, procfs, runner
from jobd.engine import Engine
from jobd.failpoints import failpoint
from jobd.layout import StateDirectory
from jobd.messages import FlowRunId, FlowRunMade, Fork
from jobd.plain import run_plainly

log = logging.getLogger("jobd.nursery")

SPARE, RUNNER = "jobd-spare", "jobd-runner"
"""What a fork is shown as while it has no job, and then."""

_FORK: TypeAdapter[Fork] = TypeAdapter(Fork)
_MADE: TypeAdapter[FlowRunMade] = TypeAdapter(FlowRunMade)
_MOST_BYTES = 1 << 16
_DRAIN_SECONDS = 20.0
_MADE_SECONDS = 20.0
"""A flow run that is not told of by then is made here; the daemon gives up sooner."""


def become_runner(state: StateDirectory, line: socket.socket, *, spare: bool) -> NoReturn:
    """Wait in this forked process for a Fork over `line`, and run its job; ends when the nursery has hung up.

    A spare one, for which no job is there yet, warms itself up first.
    """
    status = runner.EXIT_NOT_DONE
    try:
        os.setsid()
        _let_go(line)
        if spare and not _warm_up():
            line.shutdown(socket.SHUT_RD)  # what was said before is heard still
        words = _Line(line)
        wish = words.wish()
        status = _run(state, wish, words) if wish is not None else runner.EXIT_DONE
    except BaseException:  # noqa: BLE001 - whatever it is, it is written down, and the process must end here
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _run(state: StateDirectory, wish: Fork, line: "_Line") -> int:
    procfs.call_itself(RUNNER)
    _write_to_log(state, wish.job_id)
    failpoint("runner.born")

    def choose(stop_fd: int) -> Engine:
        if wish.plain:
            return run_plainly
        return flow.engine(line.flow_run(stop_fd) if wish.flow_run_follows else None)

    status = runner.run_job(state, wish, choose)
    if not wish.plain:
        flow_workers.drain(_DRAIN_SECONDS)
    return status


def _warm_up() -> bool:
    """Get ready for any job; False when Prefect's server is away: it is tried again later, with another."""
    procfs.call_itself(SPARE)
    try:
        flow_workers.connect()
    except OSError as error:
        log.debug("spare_not_warm error=%s", error)
        return False
    gc.collect()
    gc.freeze()
    failpoint("spare.ready")
    return True


class _Line:
    """What the nursery says, a packet for each message."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line

    def wish(self) -> Fork | None:
        """Wait for the job; None when the nursery has hung up."""
        text = self._line.recv(_MOST_BYTES)
        return _FORK.validate_json(text) if text else None

    def flow_run(self, stop_fd: int) -> FlowRunId | None:
        """Wait for the flow run; None when none was made, the nursery is gone, or the job is to stop."""
        poller = select.poll()
        for fd in (self._line.fileno(), stop_fd):
            poller.register(fd, select.POLLIN)
        ready = [fd for fd, _event in poller.poll(_MADE_SECONDS * 1000)]
        text = self._line.recv(_MOST_BYTES) if self._line.fileno() in ready else b""
        return _MADE.validate_json(text).flow_run if text else None


def _let_go(line: socket.socket) -> None:
    """Close what is the nursery's, and be nobody's but the kernel's to signal."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    null_fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null_fd, 0)  # which also hangs up on the daemon's line
    for fd in [int(name) for name in os.listdir("/proc/self/fd")]:  # noqa: PTH208 - pathlib gives no numbers
        if fd > 2 and fd != line.fileno():
            with contextlib.suppress(OSError):  # that of the listing
                os.close(fd)


def _write_to_log(state: StateDirectory, job_id: str) -> None:
    log_fd = os.open(state.job(job_id).runner_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    os.dup2(log_fd, 1)
    os.dup2(log_fd, 2)
    os.close(log_fd)
