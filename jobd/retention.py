"""How long is kept what ended jobs leave behind: a pure part decides, a thin part carries out.

Only what belongs to a job that has ended and whose runner is gone is ever removed. Rows go first, files after them:
what a crash in between leaves belongs to no row, and goes at the next start or by `jobd check --repair`.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from time import time

from structlog.typing import FilteringBoundLogger

from jobd import events, runner
from jobd.artifacts import ArtifactStore
from jobd.errors import JobdError
from jobd.events import Occurrence
from jobd.jobs import Job
from jobd.layout import StateDirectory
from jobd.removal import delete_job, trim_log
from jobd.states import JobState
from jobd.store import Store
from jobd.trees import remove_tree, tree_size
from jobd.upload_shelf import DATA, USED

_DAY, _HOUR = 86400.0, 3600.0
_EVERY_SECONDS = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPolicy:
    """What is kept. Ages are in seconds from the job's end, sizes in bytes; None means without a bound."""

    keep_jobs: float | None = 30 * _DAY
    most_jobs: int | None = 50_000
    """So many ended jobs are kept; the oldest go first."""
    most_bytes: int | None = None
    """The folders of ended jobs together take no more; the oldest go first."""
    keep_failed: float | None = 7 * _DAY
    """For how long a job that failed or was cancelled keeps what a retry of it would use again."""
    keep_logs: float | None = 30 * _DAY
    keep_uploads: float = _DAY
    """For how long an upload waits for a job that uses it."""
    keep_partial_uploads: float = _HOUR
    """For how long an interrupted upload waits to be gone on with, and the bytes of a used one to save a transfer."""
    runner_log_bytes: int = 1 << 20
    nursery_log_bytes: int = 16 << 20


class RemovalKind(StrEnum):
    """What is removed of an ended job."""

    JOB = "job"
    """Everything: rows, events, folder."""
    ARTIFACTS = "artifacts"
    LOGS = "logs"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedJob:
    """What is to be known of an ended job to decide what goes."""

    id: str
    state: JobState
    ended: float
    """Seconds since the epoch."""
    size_bytes: int = 0
    """What its folder takes; 0 where nobody asked."""
    private: tuple[str, ...] = ()
    """Names of artifacts that are present and not public."""
    has_logs: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """One thing to remove, and why."""

    kind: RemovalKind
    job_id: str
    reason: str
    names: tuple[str, ...] = ()
    """Of the artifacts to remove."""


def plan_removals(jobs: Sequence[EndedJob], policy: RetentionPolicy, now: float) -> tuple[Removal, ...]:
    """Decide what goes at the time `now`, in seconds since the epoch: whole jobs first, oldest first."""
    kept = sorted(jobs, key=lambda job: (job.ended, job.id))
    removals: list[Removal] = []
    for choose in (_too_old, _too_many, _too_large):
        chosen, reason = choose(kept, policy, now)
        removals += [Removal(kind=RemovalKind.JOB, job_id=job.id, reason=reason) for job in kept[:chosen]]
        kept = kept[chosen:]
    return (*removals, *(removal for job in kept for removal in _parts(job, policy, now)))


def _too_old(jobs: Sequence[EndedJob], policy: RetentionPolicy, now: float) -> tuple[int, str]:
    count = sum(_older(job, policy.keep_jobs, now) for job in jobs)
    return count, f"it ended more than {_span(policy.keep_jobs)} ago"


def _too_many(jobs: Sequence[EndedJob], policy: RetentionPolicy, _now: float) -> tuple[int, str]:
    count = 0 if policy.most_jobs is None else max(0, len(jobs) - policy.most_jobs)
    return count, f"only the latest {policy.most_jobs} ended jobs are kept"


def _too_large(jobs: Sequence[EndedJob], policy: RetentionPolicy, _now: float) -> tuple[int, str]:
    count, total = 0, sum(job.size_bytes for job in jobs)
    while policy.most_bytes is not None and total > policy.most_bytes:
        total -= jobs[count].size_bytes
        count += 1
    return count, f"ended jobs may take {policy.most_bytes} bytes together"


def _parts(job: EndedJob, policy: RetentionPolicy, now: float) -> Iterator[Removal]:
    if job.private and job.state is JobState.SUCCEEDED:
        yield _artifacts(job, "the job has succeeded and it is not public")
    elif job.private and _older(job, policy.keep_failed, now):
        yield _artifacts(job, f"the job ended more than {_span(policy.keep_failed)} ago and it is not public")
    if job.has_logs and _older(job, policy.keep_logs, now):
        reason = f"the job ended more than {_span(policy.keep_logs)} ago"
        yield Removal(kind=RemovalKind.LOGS, job_id=job.id, reason=reason)


def _artifacts(job: EndedJob, reason: str) -> Removal:
    return Removal(kind=RemovalKind.ARTIFACTS, job_id=job.id, reason=reason, names=job.private)


def _older(job: EndedJob, age: float | None, now: float) -> bool:
    return age is not None and now - job.ended > age


def _span(seconds: float | None) -> str:
    seconds = seconds or 0.0
    return f"{seconds / _DAY:g} days" if seconds >= _DAY else f"{seconds:g} s"


class Retention:
    """Carries out what the policy asks for, at the start of a daemon and every hour."""

    def __init__(
        self,
        *,
        state: StateDirectory,
        store: Store,
        policy: RetentionPolicy,
        supervised: Callable[[str], bool],
        log: FilteringBoundLogger,
    ) -> None:
        """Keep to `policy`; a job of which `supervised` says that it is still looked after is left alone."""
        self._state = state
        self._store = store
        self._policy = policy
        self._supervised = supervised
        self._log = log

    async def run(self) -> None:
        """Work until cancelled; what fails is told and tried again an hour later."""
        while True:
            try:
                await asyncio.to_thread(self.sweep, time())
            except Exception:  # noqa: BLE001 - told in full; upkeep must not end because one round of it failed
                self._log.exception("retention_failed")
            await asyncio.sleep(_EVERY_SECONDS)

    def sweep(self, now: float) -> tuple[Removal, ...]:
        """Remove what is due at `now`, in seconds since the epoch, and give what was removed of jobs."""
        done = []
        for removal in plan_removals(self._ended(), self._policy, now):
            try:
                self._carry_out(removal, now)
            except (JobdError, OSError) as error:
                self._log.warning("removal_failed", job=removal.job_id, kind=removal.kind, error=str(error))
            else:
                done.append(removal)
        self._bound_logs()
        for place in self._state.uploads.iterdir():
            try:
                self._look_at_upload(place, now)
            except OSError as error:  # it became whole, or was given up, at this moment; or it cannot be removed
                self._log.warning("removal_failed", upload=place.name, error=str(error))
        return tuple(done)

    def _ended(self) -> list[EndedJob]:
        private = self._store.private_artifacts()
        return [
            self._look(job, private.get(job.id, ()))
            for job in self._store.ended()
            if not self._supervised(job.id) and not runner.is_locked(self._state.job(job.id).runner_lock)
        ]

    def _look(self, job: Job, private: tuple[str, ...]) -> EndedJob:
        directory = self._state.job(job.id)
        return EndedJob(
            id=job.id,
            state=job.state,
            ended=job.ended or job.submitted,
            # A walk through every folder is paid for only when there is a bound to keep.
            size_bytes=0 if self._policy.most_bytes is None else tree_size(directory.root),
            private=private,
            has_logs=directory.logs.exists(),
        )

    def _carry_out(self, removal: Removal, now: float) -> None:
        directory = self._state.job(removal.job_id)
        if removal.kind is RemovalKind.JOB:
            freed = delete_job(self._state, self._store, removal.job_id)
        elif removal.kind is RemovalKind.LOGS:
            freed = remove_tree(directory.logs)
        else:
            self._note_removed(removal, now)
            freed = sum(remove_tree(ArtifactStore(directory.artifacts).path(name)) for name in removal.names)
        names = {"names": removal.names} if removal.names else {}
        self._log.info(f"{removal.kind}_removed", job=removal.job_id, reason=removal.reason, freed_bytes=freed, **names)

    def _note_removed(self, removal: Removal, now: float) -> None:
        happened = [
            Occurrence(time=now, event=events.ArtifactRemoved(name=name, reason=removal.reason))
            for name in removal.names
        ]
        self._store.decide(removal.job_id, lambda job: happened if job.terminal else []).result()

    def _bound_logs(self) -> None:
        trim_log(self._state.nursery_log, self._policy.nursery_log_bytes)
        for path in self._state.jobs.glob("*/runner.log"):
            trim_log(path, self._policy.runner_log_bytes)

    def _look_at_upload(self, place: Path, now: float) -> None:
        age, partial = now - _newest(place), self._policy.keep_partial_uploads
        if age > (partial if place.name.startswith(".") else self._policy.keep_uploads):
            self._log.info("upload_removed", upload=place.name, freed_bytes=remove_tree(place))
        elif age > partial and (place / USED).exists() and (place / DATA).exists():
            self._log.info("upload_data_removed", upload=place.name, freed_bytes=remove_tree(place / DATA))


def _newest(place: Path) -> float:
    """Give when something last happened in an upload: a long transfer changes its file, not its folder."""
    paths = (place, *place.iterdir()) if place.is_dir() else (place,)
    return max(path.lstat().st_mtime for path in paths)
