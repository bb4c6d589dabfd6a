"""The daemon's end of the nursery: started as a child, started again when it dies, asked for runners."""

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from jobd.messages import FROM_NURSERY, Ended, FlowRunMade, Fork, Forked, Ready

_BACKOFF_SECONDS = (0.5, 30.0)
_STOP_SECONDS = 5.0


class NurseryClient:
    """Keeps a nursery running. Runners are not its concern: they live on without it."""

    def __init__(
        self,
        state_directory: Path,
        *,
        env: Mapping[str, str],
        runner_ended: Callable[[str, int], None],
        log: FilteringBoundLogger,
    ) -> None:
        """Prepare; `runner_ended` is told the job and the exit status of each runner that ends."""
        self._state_directory = state_directory
        self._env = env
        self._runner_ended = runner_ended
        self.restarts = 0
        """How often a nursery has died and another was started."""
        self._log = log
        self._ready = asyncio.Event()
        self._writer: asyncio.StreamWriter | None = None

    @property
    def ready(self) -> bool:
        """Tell whether a fork would be answered at once."""
        return self._ready.is_set()

    async def wait_ready(self) -> None:
        """Return as soon as it can fork."""
        await self._ready.wait()

    async def fork(self, wish: Fork) -> None:
        """Have a runner forked for a job; a nursery that dies meanwhile may or may not have done it."""
        await self._ready.wait()
        await self._say(wish)

    async def tell(self, made: FlowRunMade) -> None:
        """Tell a runner that was asked for of its flow run; it does without when the nursery dies meanwhile."""
        await self._say(made)

    async def _say(self, wish: Fork | FlowRunMade) -> None:
        if self._writer is not None:
            self._writer.write(wish.line())
            with contextlib.suppress(ConnectionError):
                await self._writer.drain()

    async def run(self) -> None:
        """Keep a nursery running until cancelled."""
        delay, most = _BACKOFF_SECONDS
        while True:
            loop = asyncio.get_running_loop()
            begun = loop.time()
            await self._live_once()
            if loop.time() - begun > most:
                delay = _BACKOFF_SECONDS[0]
            self._log.error("nursery_ended", restart_seconds=delay)
            await asyncio.sleep(delay)
            self.restarts += 1
            delay = min(most, delay * 2)

    async def _live_once(self) -> None:
        ours, theirs = socket.socketpair()
        process = await self._spawn(theirs)
        theirs.close()
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=1 << 20)
        self._writer = writer
        try:
            # One that is killed with words of ours unread ends the line as broken instead of as ended.
            with contextlib.suppress(ConnectionError):
                while line := await reader.readline():
                    self._hear(FROM_NURSERY.validate_json(line))
        finally:
            self._ready.clear()
            self._writer = None
            writer.close()
            await self._stop(process)

    async def _spawn(self, theirs: socket.socket) -> asyncio.subprocess.Process:
        log_fd = os.open(
            self._state_directory / "nursery.log",
            os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC,
            0o600,
        )
        try:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "jobd.nursery",
                str(self._state_directory),
                stdin=theirs.fileno(),
                stdout=log_fd,
                stderr=log_fd,
                env=dict(self._env),
                cwd="/",
                start_new_session=True,  # a Ctrl-C in the daemon's terminal is the daemon's affair
            )
        finally:
            os.close(log_fd)

    async def _stop(self, process: asyncio.subprocess.Process) -> None:
        # Hanging up ends it; it may be in the middle of its imports.
        try:
            await asyncio.wait_for(asyncio.shield(process.wait()), _STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()

    def _hear(self, message: Ready | Forked | Ended) -> None:
        match message:
            case Ready():
                self._ready.set()
                self._log.info("nursery_ready")
            case Forked():
                self._log.debug("runner_forked", job=message.job_id, pid=message.pid)
            case Ended():
                self._runner_ended(message.job_id, message.status)
