"""The daemon's end of the runners' lines: wishes for capacity go to the scheduler, grants and cancels come back."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable
from time import monotonic

from pydantic import ValidationError
from structlog.typing import FilteringBoundLogger

from jobd import procfs, sockets
from jobd.fair_share import Lease
from jobd.layout import StateDirectory
from jobd.messages import FROM_RUNNER, Acquire, Alive, Cancel, Granted, Hello, Release
from jobd.scheduler import Scheduler


class RunnerLines:
    """One line for each runner that lives."""

    def __init__(
        self,
        state: StateDirectory,
        scheduler: Scheduler,
        *,
        connected: Callable[[str], None],
        hung_up: Callable[[str], None],
        log: FilteringBoundLogger,
    ) -> None:
        """Prepare; `connected` and `hung_up` are told the job whose runner came or went."""
        self._state = state
        self._scheduler = scheduler
        self._connected = connected
        self._hung_up = hung_up
        self._log = log
        self._lines: dict[str, asyncio.StreamWriter] = {}
        self._heard: dict[str, float] = {}
        self._runners: dict[str, Hello] = {}
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Take lines from now on."""
        listener = sockets.bind(self._state.run / sockets.RUNNERS, socket.SOCK_STREAM)
        listener.listen(128)
        self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=1 << 24)

    async def close(self) -> None:
        """Hang up on everybody; runners go on and call again when there is a daemon."""
        if self._server is not None:
            self._server.close()
        for writer in tuple(self._lines.values()):
            writer.close()

    def is_connected(self, job_id: str) -> bool:
        """Tell whether a job's runner is on the line."""
        return job_id in self._lines

    def silent(self, seconds: float) -> list[str]:
        """Give the jobs whose runners are on the line and have said nothing for so long."""
        now = monotonic()
        return [job_id for job_id, heard in self._heard.items() if now - heard > seconds]

    def kill(self, job_id: str) -> None:
        """Kill a job's runner, if it is still the one that is on the line."""
        hello = self._runners.get(job_id)
        found = procfs.process(hello.pid) if hello else None
        if hello and found and found.start_ticks == hello.start_ticks:
            procfs.send(found, signal.SIGKILL)

    def grant(self, job_id: str, key: str, gpus: tuple[str, ...] | None = None) -> None:
        """Tell a runner that it may use what it wanted, and which gpus these are."""
        self._say(job_id, Granted(key=key, gpus=gpus))

    def cancel(self, job_id: str, reason: str) -> None:
        """Tell a runner to end its job; one that is not on the line is told when it comes."""
        self._say(job_id, Cancel(reason=reason))

    def _say(self, job_id: str, message: Granted | Cancel) -> None:
        writer = self._lines.get(job_id)
        if writer is not None:
            writer.write(message.line())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        job_id = ""
        try:
            while line := await reader.readline():
                message = FROM_RUNNER.validate_json(line)
                if job_id:
                    self._heard[job_id] = monotonic()
                if isinstance(message, Hello):
                    job_id = message.job_id
                    self._welcome(message, writer)
                elif job_id:
                    self._hear(job_id, message)
        except (ConnectionError, ValidationError, ValueError) as error:
            self._log.warning("runner_line_broken", job=job_id, error=str(error))
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            if job_id and self._lines.get(job_id) is writer:
                del self._lines[job_id], self._heard[job_id], self._runners[job_id]
                self._hung_up(job_id)

    def _welcome(self, hello: Hello, writer: asyncio.StreamWriter) -> None:
        self._lines[hello.job_id] = writer
        self._runners[hello.job_id] = hello
        self._heard[hello.job_id] = monotonic()
        self._scheduler.restate(hello.job_id, {lease.key: Lease(lease.resources, lease.gpus) for lease in hello.held})
        self._connected(hello.job_id)

    def _hear(self, job_id: str, message: Acquire | Release | Alive) -> None:
        if isinstance(message, Acquire):
            self._scheduler.want(job_id, message.lease.key, message.lease.resources)
        elif isinstance(message, Release):
            self._scheduler.release(job_id, message.key)
