"""Every job that has not ended: it is queued, given a runner, given another when that one dies, and ended.

A runner is alive while its lock is held. "Cannot prove that it is dead" means that no second one is started.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator
from functools import partial
from math import inf
from time import monotonic
from typing import Any

from structlog.typing import FilteringBoundLogger

from jobd import endings, events, job_cgroup, procfs, runner
from jobd.artifacts import ArtifactStore
from jobd.errors import JobdError, JobNotFoundError, StorageError
from jobd.events import JobEvent, Occurrence
from jobd.failpoints import failpoint
from jobd.fair_share import Lease
from jobd.ingest import Ingest
from jobd.jobs import Job
from jobd.launcher import Launcher, occurring
from jobd.layout import JobDirectory, StateDirectory
from jobd.runner_lines import RunnerLines
from jobd.scheduler import Scheduler
from jobd.states import ArtifactState, JobState
from jobd.store import Decision, Store
from jobd.trees import discard

MAX_RECOVERIES = 3
"""A job whose runner dies more often than this has failed."""

_Work = Coroutine[Any, Any, None]

_LOOK_SECONDS, _IDLE_LOOK_SECONDS = 1.0, 3.0
"""How often runners are looked after, in case a word of theirs was lost, and how often it is seen whether any are."""
_STARTS = 8
"""So many jobs are given their runners at once: with more, each takes longer."""
_RETRY_SECONDS = 5.0
"""How long a job whose start failed waits for the next try."""
_SILENCE_SECONDS = 30.0
"""A runner on the line that says nothing for so long is hung, and killed for another to take over."""
_FORK_SECONDS = 10.0
"""A runner may take this long to be forked and to take its lock."""
_RETURN_SECONDS = 5.0
"""How long runners of an earlier daemon have to say what they hold, before anything is granted to others."""


class Supervisor:
    """Takes accepted jobs to their end."""

    def __init__(
        self,
        *,
        state: StateDirectory,
        store: Store,
        ingest: Ingest,
        scheduler: Scheduler,
        launcher: Launcher,
        log: FilteringBoundLogger,
    ) -> None:
        """Prepare; `lines` are set before anything is asked of it."""
        self.lines: RunnerLines
        self._state = state
        self._store = store
        self._ingest = ingest
        self._scheduler = scheduler
        self._launcher = launcher
        self._log = log
        self._locks: dict[str, asyncio.Lock] = {}
        self._cancels: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._expected: set[str] = set()
        self._returned = asyncio.Event()
        self._starting = asyncio.Semaphore(_STARTS)
        scheduler.granted = self._granted

    # -- the way in --------------------------------------------------------------------------------------------

    async def take_back(self) -> None:
        """Take on every job that an earlier daemon left, those with a living runner as they are.

        Before that no line of a runner may be open.
        """
        self._scheduler.hold_back()  # a queued job must not get what a living runner holds and has not told yet
        for job in self._store.live():
            directory = self._state.job(job.id)
            if runner.is_locked(directory.runner_lock):
                await self._launcher.know(job)
                self._launcher.launched[job.id] = monotonic()
                self._expected.add(job.id)
                self._ingest.ring(job.id)
            elif directory.assignment.exists():
                await self._launcher.know(job)  # its runner may only just be born, and will not say twice what it wants
                self._launcher.launched[job.id] = -inf
                self._start_task(self._check(job.id))
            else:
                await self._launcher.queue(job)
        if self._expected:
            self._log.info("runners_taken_back", count=len(self._expected))
            self._start_task(self._await_return())
        else:
            self._scheduler.resume()

    def take_on(self, job: Job) -> None:
        """Queue a job that was just accepted; nobody waits for that, as it is on disk."""
        self._start_task(self._queue(job))

    async def _queue(self, job: Job) -> None:
        try:
            await self._launcher.queue(job)
        except JobdError as error:
            self._log.warning("queueing_put_off", job=job.id, error=error.message, again_seconds=_RETRY_SECONDS)
            await self._queue_again(job.id)

    async def cancel(self, job_id: str, reason: str) -> Job:
        """Ask for a job's end; give the job once the wish is on disk. One that has ended or is ending stays so."""
        # Asked when it is decided: between the wish and the decision a runner may have been given or have died.
        launched = partial(self._launcher.launched.__contains__, job_id)
        with self._nobody_starts(job_id):
            job = await self._decide(job_id, partial(_cancel, launched=launched, reason=reason))
        failpoint("cancel.recorded")
        if launched():
            self.lines.cancel(job_id, job.reason)
            self._start_task(self._insist(job_id))
        elif job.terminal:
            await self._clear(job)
        return job

    @contextlib.contextmanager
    def _nobody_starts(self, job_id: str) -> Iterator[None]:
        """Keep a job from being given a runner, from now on; when the block fails, it may be again."""
        self._launcher.cancelled.add(job_id)
        self._cancels[job_id] += 1
        try:
            yield
        except Exception:
            if self._cancels[job_id] == 1:
                self._launcher.cancelled.discard(job_id)
                self._start_task(self._queue_if_let_be(job_id))
            raise
        finally:
            self._cancels[job_id] -= 1
            if not self._cancels[job_id]:
                del self._cancels[job_id]

    async def _insist(self, job_id: str) -> None:
        """Kill a runner that has not ended its cancelled job long after it should have."""
        plan = await asyncio.to_thread(self._store.plan, job_id)
        grace = max(entry.grace for step in plan.steps for entry in step.entries)
        await asyncio.sleep(grace + _SILENCE_SECONDS)
        if self._store.live_job(job_id) is not None:
            self._log.error("runner_does_not_cancel", job=job_id)
            self.lines.kill(job_id)

    def _granted(self, job_id: str, key: str | None, lease: Lease) -> None:
        """Pass on what the scheduler grants: an entry's lease to its runner, a job's start to the nursery."""
        if key is None:
            self._start_task(self._launch(job_id))
        else:
            self.lines.grant(job_id, key, lease.gpus)

    async def _launch(self, job_id: str) -> None:
        try:
            async with self._lock(job_id), self._starting:
                if job_id not in self._launcher.launched:
                    await self._launcher.launch(job_id)
        except JobdError as error:
            # The store cannot be written now.
            self._log.warning("launch_put_off", job=job_id, error=error.message, again_seconds=_RETRY_SECONDS)
            await self._queue_again(job_id)
        except Exception:  # noqa: BLE001 - told in full; the job must not stay in the queue for ever
            self._log.exception("launch_failed", job=job_id, again_seconds=_RETRY_SECONDS)
            await self._queue_again(job_id)

    async def _queue_if_let_be(self, job_id: str) -> None:
        """Queue a job again that was not to be started for a moment, if who was about to start it has let it be."""
        async with self._lock(job_id):
            pass
        await self._queue_again(job_id)

    async def _queue_again(self, job_id: str) -> None:
        """Put a job that could not be started back into the queue, and leave others what was set aside for it."""
        if job_id not in self._launcher.launched:
            self._scheduler.forget(job_id)
            await asyncio.sleep(_RETRY_SECONDS)
            job = self._store.live_job(job_id)
            if job is not None and job_id not in self._launcher.launched:
                self._start_task(self._queue(job))

    def why_waiting(self, job_id: str, key: str | None) -> str:
        """Say what an entry, by `step/entry`, or the start of a job, as None, waits for; empty when it does not."""
        return self._scheduler.why(job_id, key)

    def connected(self, job_id: str) -> None:
        """Greet a runner: a cancel that it has not heard of is told."""
        job = self._store.live_job(job_id)
        if job is not None and job.state is JobState.CANCELLING:
            self.lines.cancel(job_id, job.reason)
            self._start_task(self._insist(job_id))
        self._ingest.ring(job_id)
        self._expected.discard(job_id)
        if not self._expected:
            self._returned.set()

    def holds(self, job_id: str) -> bool:
        """Tell whether a job is still looked after: its runner may live, also when the job has ended."""
        return job_id in self._launcher.launched

    def hung_up(self, job_id: str) -> None:
        """Look after a runner that has gone from the line."""
        self._start_task(self._check(job_id))

    def runner_ended(self, job_id: str, status: int) -> None:
        """Look after a job whose runner has ended."""
        self._log.debug("runner_ended", job=job_id, status=status)
        if status not in (runner.EXIT_LOCKED, runner.EXIT_STALE):
            self._start_task(self._check(job_id, ended=status))

    async def watch(self) -> None:
        """Look after runners now and then, in case a word of theirs was lost; until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS if self._launcher.launched else _IDLE_LOOK_SECONDS)
            for job_id in self.lines.silent(_SILENCE_SECONDS):
                self._log.error("runner_hung", job=job_id)
                self.lines.kill(job_id)
            for job_id, since in tuple(self._launcher.launched.items()):
                if self._ingest.has_news(job_id):
                    self._ingest.ring(job_id)
                if not self.lines.is_connected(job_id) and monotonic() - since > _FORK_SECONDS:
                    self._start_task(self._check(job_id))

    async def close(self) -> None:
        """Leave everything as it is, for the next daemon to take on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- ending ------------------------------------------------------------------------------------------------

    async def _check(self, job_id: str, ended: int | None = None) -> None:
        """See whether a job's runner lives; if not, take in its last words, and end the job or give it another."""
        async with self._lock(job_id):
            if job_id not in self._launcher.launched:
                return
            if ended is None and monotonic() - self._launcher.launched[job_id] < _FORK_SECONDS:
                return  # it may not have taken its lock yet
            with contextlib.ExitStack() as stack:
                try:
                    # Held, not only looked at: a runner that is born late must not begin while its job is given up.
                    held = stack.enter_context(runner.hold(self._state.job(job_id).runner_lock))
                except FileNotFoundError:  # it had ended, and was deleted before its runner was gone
                    self._let_go(job_id)
                    return
                if held is not None:
                    try:
                        await self._bury(job_id, ended)
                    except Exception:
                        self._launcher.launched.setdefault(job_id, -inf)  # so that the next look tries again
                        raise

    async def _bury(self, job_id: str, ended: int | None) -> None:
        """Take in the last words of a runner that is dead for certain, and end its job or give it another."""
        await self._ingest.take(job_id)
        failpoint("check.taken")
        try:
            job = await asyncio.to_thread(self._store.get, job_id)
        except JobNotFoundError:  # it was deleted meanwhile
            self._let_go(job_id)
            return
        if not job.terminal:
            job = await self._recover(job, ended)
        failpoint("recover.recorded")
        self._state.job(job_id).assignment.unlink(missing_ok=True)  # whoever is born late finds nothing to do
        if job.terminal:
            await self._clear(job)
        else:
            self.take_on(job)

    async def _clear(self, job: Job) -> None:
        """Let go of a job that has ended and has no runner, with the litter that its runners left."""
        failpoint("check.ended")
        await asyncio.to_thread(_remove_litter, self._state.job(job.id), job)
        self._let_go(job.id)

    async def _recover(self, job: Job, status: int | None) -> Job:
        death = "its runner died" if status is None else f"its runner died ({runner.describe(status)})"
        self._log.error("runner_died", job=job.id, status=status, recoveries=job.recoveries)
        failpoint("recover.begun")
        killed = await asyncio.to_thread(_kill_leftovers, job.id)
        failpoint("recover.killed")
        if killed:
            self._log.warning("leftovers_killed", job=job.id, pids=[process.pid for process in killed])
        # From here on a cancel ends the job by itself; one that came before is seen by the decision.
        self._launcher.launched.pop(job.id, None)
        self._scheduler.forget(job.id)
        return await self._decide(job.id, lambda now: occurring(_after_death(now, death, certain=status is not None)))

    def _let_go(self, job_id: str) -> None:
        self._launcher.launched.pop(job_id, None)
        self._launcher.cancelled.discard(job_id)
        self._locks.pop(job_id, None)
        self._ingest.forget(job_id)
        self._scheduler.forget(job_id)

    async def _await_return(self) -> None:
        try:
            async with asyncio.timeout(_RETURN_SECONDS):
                await self._returned.wait()
        except TimeoutError:
            self._log.warning("runners_silent", jobs=sorted(self._expected))
        self._scheduler.resume()

    # -- small things ------------------------------------------------------------------------------------------

    async def _decide(self, job_id: str, decision: Decision) -> Job:
        return await asyncio.wrap_future(self._store.decide(job_id, decision))

    def _lock(self, job_id: str) -> asyncio.Lock:
        return self._locks.setdefault(job_id, asyncio.Lock())

    def _start_task(self, work: _Work) -> None:
        task = asyncio.create_task(self._guard(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guard(self, work: _Work) -> None:
        try:
            await work
        except StorageError as error:
            self._log.warning("supervision_waits", error=error.message)
        except Exception:  # noqa: BLE001 - told in full
            # One job's trouble must not end the care of the others; the next look tries again.
            self._log.exception("supervision_failed")


def _after_death(job: Job, death: str, *, certain: bool) -> Iterable[JobEvent]:
    """Say what follows a runner; where it is not certain that there ever was one, it does not count as a death."""
    if job.state is JobState.CANCELLING:
        return endings.cancelled(job, job.reason)
    if job.recoveries >= MAX_RECOVERIES:
        return endings.failed(job, f"{death}, and {MAX_RECOVERIES} more before it")
    never_born = job.state is JobState.QUEUED and not certain
    return () if job.terminal or never_born else (events.JobRecovering(reason=death),)


def _cancel(job: Job, *, launched: Callable[[], bool], reason: str) -> list[Occurrence]:
    if job.terminal or job.state is JobState.CANCELLING:
        return []
    first = events.JobCancelling(reason=reason)
    return occurring([first] if launched() else [first, *endings.cancelled(job, reason)])


def _remove_litter(directory: JobDirectory, job: Job) -> None:
    """Remove scratch folders, half-written files, artifacts never told of, and the cgroup of a killed runner."""
    discard(directory.work)
    for half_written in directory.root.glob(".*.tmp"):
        half_written.unlink(missing_ok=True)
    known = {item.name for item in job.artifacts if item.state is ArtifactState.PRESENT}
    store = ArtifactStore(directory.artifacts)
    for name in store.names() - known:
        store.remove(name)
    job_cgroup.remove_stale(job.id)


def _kill_leftovers(job_id: str) -> list[procfs.Process]:
    failpoint("recover.killing")
    killed = job_cgroup.remove_stale(job_id)
    mark = f"JOBD_JOB_ID={job_id}".encode()
    return killed + procfs.end_all(lambda: procfs.find(session=None, mark=mark), grace=0)
