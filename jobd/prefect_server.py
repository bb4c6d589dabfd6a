"""The Prefect server that jobs are recorded in: the embedded one, kept running, or one that is elsewhere."""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import time
from asyncio.subprocess import Process
from functools import partial
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from jobd.backoff import delay_before
from jobd.errors import PrefectApiError
from jobd.prefect_api import PrefectApi
from jobd.prefect_login import load_auth
from jobd.prefect_pidfile import end_leftover, read_pid_file
from jobd.prefect_settings import EXIT_PORT_TAKEN, HOST, ServerPlace, server_environment
from jobd.prefect_status import Prefect, PrefectStatus, Readiness, always

__all__ = ["Prefect", "PrefectServer", "PrefectStatus", "RemotePrefect"]

_STARTING_POLL, _STEADY_POLL, _IDLE_POLL = 0.2, 3.0, 10.0
"""Seconds between two questions after the server's health, before and after the first good answer."""
_ANSWER_SECONDS = 5.0
"""How long a server may take to say that it is well; a burst of events makes it slow, so this is generous."""
_START_LIMIT, _SILENCE_LIMIT = 300.0, 120.0
"""After so many seconds without an answer, before and after the first one, the server is started anew."""
_STOP_GRACE = 10.0
_FIRST_BACKOFF, _LAST_BACKOFF = 0.5, 30.0
_LOG_BYTES = 8 * 1024 * 1024


class PrefectServer:
    """The embedded server: a child process, started again when it dies or hangs, ended with the daemon."""

    def __init__(self, *, directory: Path, port: int, log: FilteringBoundLogger, template: Path | None = None) -> None:
        """Take the directory of its files, its port on 127.0.0.1, and the database to begin with.

        The template is for tests: the installed one is used when none is given.
        """
        self._place = ServerPlace(directory=directory.absolute(), port=port)
        self._log = log
        self._template = template.absolute() if template else None
        self._failure = ""
        self._readiness = Readiness("Prefect's server is not started")
        self.api_url = self._place.api_url
        self.ui_url = self._place.ui_url
        self.auth, self.key = load_auth(self._place.auth_file), ""
        self.needed = always

    @property
    def status(self) -> PrefectStatus:
        """Tell whether the server can be used now."""
        return self._readiness.status

    async def wait_ready(self) -> None:
        """Return as soon as the server answers."""
        await self._readiness.wait()

    async def run(self) -> None:
        """Keep the server running until cancelled, then end it and everything it started.

        It must be called on the main thread: the kernel ends the server with the thread that started it.
        """
        await self._prepare()
        failures = 0
        try:
            while True:
                served = await self._live_once()
                failures = 1 if served > _LAST_BACKOFF else failures + 1
                await asyncio.sleep(delay_before(failures, first=_FIRST_BACKOFF, most=_LAST_BACKOFF))
        finally:
            self._readiness.say("Prefect's server is stopped")

    async def _prepare(self) -> None:
        """Make the directory, and end a server that an earlier daemon left in it."""
        self._place.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            leftover = await asyncio.to_thread(end_leftover, self._place.pid_file, grace=_STOP_GRACE)
        except TimeoutError as error:
            # The port is still taken then, which the status will say.
            self._log.exception("prefect_leftover_stays", error=str(error))
            return
        if leftover is not None:
            self._log.warning("prefect_leftover_ended", pid=leftover)

    async def _live_once(self) -> float:
        """Run one server process to its end, or until it hangs; give for how many seconds it served."""
        self._readiness.say(self._failure or "Prefect's server is starting")
        process = await self._spawn()
        self._log.info("prefect_starting", pid=process.pid, url=self.ui_url)
        begin = time.monotonic()
        watch, end = asyncio.create_task(self._watch(process)), asyncio.create_task(process.wait())
        try:
            await asyncio.wait({watch, end}, return_when=asyncio.FIRST_COMPLETED)
            hung = not end.done()
        finally:
            watch.cancel()
            await _stop(process)
        await asyncio.wait({watch})
        if not watch.cancelled():
            watch.result()  # an error in our own watching must be heard
        self._tell_end(process, hung=hung)
        return time.monotonic() - begin

    async def _spawn(self) -> Process:
        """Start the server process in a session of its own."""
        place = self._place
        words = ["--directory", str(place.directory), "--port", str(place.port), "--parent", str(os.getpid())]
        if self._template is not None:
            words += ["--template", str(self._template)]
        self._bound_log()
        with place.log.open("ab") as output:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # or Python would look for modules in the working directory
                *("-m", "jobd.prefect_child", *words),
                cwd=place.directory,  # Prefect reads settings from files in its working directory
                env=server_environment(place, self.auth),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    async def _watch(self, process: Process) -> None:
        """Ask the server how it is, again and again; return when it has been silent for too long."""
        heard, seen = time.monotonic(), False
        async with PrefectApi(self.api_url, auth=self.auth, timeout=_ANSWER_SECONDS) as api:
            while time.monotonic() - heard < (_SILENCE_LIMIT if seen else _START_LIMIT):
                if await self._answers(process, api):
                    heard, seen = time.monotonic(), True
                    self._bound_log()
                elif seen:
                    self._readiness.say("Prefect's server does not answer")
                steady = _STEADY_POLL if self.needed() else _IDLE_POLL
                await asyncio.sleep(steady if self.status.ready else _STARTING_POLL)

    async def _answers(self, process: Process, api: PrefectApi) -> bool:
        """Ask once; what answers counts only when it is our own process that holds the port."""
        name = read_pid_file(self._place.pid_file)
        if name is None or name.pid != process.pid:
            return False
        try:
            await (api.version() if self.status.ready else api.health())
        except PrefectApiError:
            return False
        if not self.status.ready:
            self._log.info("prefect_ready", pid=process.pid, url=self.ui_url)
        self._failure = ""
        self._readiness.answer()
        return True

    def _tell_end(self, process: Process, *, hung: bool) -> None:
        """Say why the server process ended."""
        code = process.returncode
        if code == EXIT_PORT_TAKEN:
            reason = f"port {self._place.port} of {HOST} is taken by another program; free it, or give --prefect-port"
        elif hung:
            reason = "Prefect's server hung and was ended; it is starting again"
        else:
            reason = f"Prefect's server ended with {code} and is starting again; its log is {self._place.log}"
        if reason != self._failure:
            self._log.error("prefect_ended", code=code, reason=reason)
        self._failure = reason
        self._readiness.say(reason)

    def _bound_log(self) -> None:
        """Move the server's output to a second file when there is much of it; the server appends, so it may run."""
        log = self._place.log
        with contextlib.suppress(FileNotFoundError):
            if log.stat().st_size > _LOG_BYTES:
                shutil.copyfile(log, log.with_name(log.name + ".1"))
                os.truncate(log, 0)


class RemotePrefect:
    """A server that somebody else runs: its health is watched, and nothing is ever started or ended."""

    def __init__(self, *, api_url: str, log: FilteringBoundLogger, auth: str = "", key: str = "") -> None:
        """Take the address of its API, and `user:password` or an API key where it wants one."""
        self.api_url = api_url.rstrip("/")
        self.ui_url = self.api_url.removesuffix("/api")
        self.auth, self.key = auth, key
        self.needed = always
        self._api = partial(PrefectApi, self.api_url, auth=auth, key=key, timeout=_ANSWER_SECONDS)
        self._log = log
        self._readiness = Readiness(f"Prefect's server at {self.api_url} was not asked yet")

    @property
    def status(self) -> PrefectStatus:
        """Tell whether the server can be used now."""
        return self._readiness.status

    async def wait_ready(self) -> None:
        """Return as soon as the server answers."""
        await self._readiness.wait()

    async def run(self) -> None:
        """Ask the server how it is, until cancelled."""
        async with self._api() as api:
            while True:
                await self._ask(api)
                steady = _STEADY_POLL if self.needed() else _IDLE_POLL
                await asyncio.sleep(steady if self.status.ready else _STARTING_POLL * 5)

    async def _ask(self, api: PrefectApi) -> None:
        """Ask once, and tell changes to the log."""
        was = self.status.ready
        try:
            await (api.version() if was else api.health())
        except PrefectApiError as error:
            if was:
                self._log.warning("prefect_away", url=self.api_url, error=str(error))
            self._readiness.say(f"Prefect's server cannot be used: {error}")
        else:
            self._readiness.answer()
            if not was:
                self._log.info("prefect_ready", url=self.api_url)


async def _stop(process: Process) -> None:
    """End the process: SIGTERM, the grace, then SIGKILL for its whole group; return when it is gone."""
    try:
        if process.returncode is None:
            process.terminate()
            async with asyncio.timeout(_STOP_GRACE):
                await process.wait()
    except TimeoutError:
        pass  # it had its time
    finally:
        # Also when this very wait is cancelled: nothing is left behind, in no case.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
