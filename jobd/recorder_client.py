"""The daemon's end of the recorder: which jobs are due, and the process that looks at them, which may die or hang."""

import asyncio
import contextlib
import sys
from time import time

from structlog.typing import FilteringBoundLogger

from jobd.backoff import delay_before
from jobd.errors import JobNotFoundError, PrefectApiError
from jobd.job_record import FROM_RECORDER, Compared, JobRecord, Server, wanted_record
from jobd.jobs import Job
from jobd.layout import StateDirectory
from jobd.prefect_status import Prefect
from jobd.store import Store

_LOOK_SECONDS = 2.0
_AGAIN_SECONDS = 5.0
"""How long a record that may yet become complete by itself is left alone."""
_AT_ONCE = 20
"""Jobs that are looked at in one round."""
_IN_VIEW = 1000
"""Jobs among which those are chosen that are due: ones that fail again and again must not hide the others."""
_PATIENCE_SECONDS = 60.0
_PATIENCE_PER_ENTRY_SECONDS = 0.5
"""How long an answer may take; a recorder that takes longer hangs, and is killed."""
_KEPT_SECONDS = 30.0
"""How long one without work is kept."""


class RecorderClient:
    """Goes through the ended jobs whose record is not known to be complete, oldest first. Nothing waits for it."""

    def __init__(self, *, state: StateDirectory, prefect: Prefect, store: Store, log: FilteringBoundLogger) -> None:
        """Have `store` compared with what `prefect` tells."""
        self._state = state
        self._prefect = prefect
        self._store = store
        self._log = log
        self._failures: dict[str, int] = {}
        self._due: dict[str, float] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._used = 0.0

    @property
    def pid(self) -> int | None:
        """Give the process of the recorder; None while there is none."""
        return self._process.pid if self._process else None

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            await self._go_round()
        finally:
            await self._end()

    async def _go_round(self) -> None:
        nothing_at = -1  # no job was left to look at when the store had had so many commits
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            commits = self._store.commits
            if self._prefect.status.ready and commits != nothing_at:
                ended = await asyncio.to_thread(self._store.unrecorded, _IN_VIEW)
                nothing_at = -1 if ended else commits
                due = [job_id for job_id in ended if self._due.get(job_id, 0.0) <= time()]
                for job_id in due[:_AT_ONCE]:
                    with contextlib.suppress(JobNotFoundError):  # deleted in between
                        await self._look(await asyncio.to_thread(self._store.get, job_id))
            if self._process and time() - self._used > _KEPT_SECONDS:
                await self._end()

    async def _look(self, job: Job) -> None:
        try:
            compared = await self._ask(wanted_record(job))
        except PrefectApiError as error:
            failures = self._failures[job.id] = self._failures.get(job.id, 0) + 1
            self._due[job.id] = time() + delay_before(failures, first=5.0, most=300.0)
            self._log.warning("record_not_repaired", job=job.id, error=error.message, hint=error.hint)
            return
        if not compared.flow_run_id:
            self._due[job.id] = time() + _AGAIN_SECONDS
            return
        if compared.repaired:
            self._log.info("record_repaired", job=job.id, flow_run=compared.flow_run_id)
        await asyncio.wrap_future(self._store.mark_recorded(job.id, compared.flow_run_id))
        self._failures.pop(job.id, None)
        self._due.pop(job.id, None)

    async def _ask(self, record: JobRecord) -> Compared:
        """Have one record looked at; PrefectApiError when it cannot be."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS + _PATIENCE_PER_ENTRY_SECONDS * len(record.entries)):
                line = await self._exchange(record)
        except TimeoutError:
            await self._end()
            raise PrefectApiError("the recorder hung, and was killed") from None
        except ValueError:  # a line so long that it is not read
            await self._end()
            raise PrefectApiError("the recorder said more than it should") from None
        if not line.endswith(b"\n"):  # it died before its answer, or in the middle of it
            await self._end()
            raise PrefectApiError("the recorder died", hint=f"{self._state.recorder_log} may tell why")
        compared = FROM_RECORDER.validate_json(line)
        if compared.error:
            raise PrefectApiError(compared.error)
        return compared

    async def _exchange(self, record: JobRecord) -> bytes:
        self._process = self._process or await self._start()
        self._used = time()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(record.line())
        with contextlib.suppress(ConnectionError):  # it died; its answer ends where it should begin
            await self._process.stdin.drain()
        return await self._process.stdout.readline()

    async def _start(self) -> asyncio.subprocess.Process:
        with self._state.recorder_log.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "jobd.recorder",
                str(self._state.root),  # for whoever wants to know whose it is
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                cwd="/",
                start_new_session=True,  # a Ctrl-C in the daemon's terminal is the daemon's affair
            )
        prefect = self._prefect
        assert process.stdin is not None
        process.stdin.write(Server(api_url=prefect.api_url, auth=prefect.auth, key=prefect.key).line())
        self._log.debug("recorder_started", pid=process.pid)
        return process

    async def _end(self) -> None:
        """End the process; what it was about to write it writes another time."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
