"""Watching all jobs: a cursor on everything that happens, filtered for each watcher."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from types import MappingProxyType

from jobapi.v1 import job_service_pb2 as pb

from jobd.bells import EVERY_JOB
from jobd.changes import Change, Range, Removed
from jobd.errors import CursorOutOfRangeError
from jobd.job_filter import JobFilter
from jobd.rpc import convert
from jobd.rpc.shared_reads import SharedReads
from jobd.rpc.watch import HEARTBEAT_SECONDS, Watcher
from jobd.states import JobState
from jobd.store import Store

_PAGE = 200
"""So many changes a watcher holds at most that it has not passed on."""

STATE_AFTER: Mapping[str, JobState] = MappingProxyType(
    {
        "job_submitted": JobState.QUEUED,
        "job_started": JobState.RUNNING,
        "job_cancelling": JobState.CANCELLING,
        "job_succeeded": JobState.SUCCEEDED,
        "job_failed": JobState.FAILED,
        "job_cancelled": JobState.CANCELLED,
    }
)
"""The state that a job comes into by an event of each kind that changes it."""

_Page = Sequence[tuple[Change | Removed, pb.WatchJobsResponse]]


class JobsWatcher:
    """Follows everything that happens for any number of clients."""

    def __init__(self, store: Store, watcher: Watcher) -> None:
        """Read from `store` when the bells of `watcher` ring, until that is drained."""
        self._store = store
        self._watcher = watcher
        self._reads = SharedReads()

    async def watch(self, wanted: JobFilter, after: int | None) -> AsyncIterator[pb.WatchJobsResponse]:
        """Give what happens after a cursor, or from now on, without an end; CursorOutOfRangeError when that is gone."""
        cursors = await self._reads.get(("cursors", self._watcher.rung), self._store.cursors)
        cursor = cursors.newest if after is None else after
        _check(cursor, cursors)
        yield pb.WatchJobsResponse(cursor=cursor, start=pb.WatchJobsStart(oldest_cursor=cursors.oldest))
        clock = asyncio.get_running_loop().time
        told = clock()
        while True:
            bell = self._watcher.bell(EVERY_JOB)
            try:
                while page := await self._read(cursor, cursors.oldest):
                    for change, message in page:
                        cursor = change.position
                        if _is_wanted(change, wanted):
                            yield message
                            told = clock()
                    self._watcher.check_draining()
                    if clock() - told > HEARTBEAT_SECONDS:
                        break
                if clock() - told > HEARTBEAT_SECONDS or not await self._watcher.changed(
                    bell, told + HEARTBEAT_SECONDS - clock()
                ):
                    yield pb.WatchJobsResponse(cursor=cursor, heartbeat=pb.WatchJobsHeartbeat())
                    told = clock()
            finally:
                self._watcher.drop(EVERY_JOB, bell)

    async def _read(self, cursor: int, oldest: int) -> _Page:
        # With the number of rings in its key, no read is shared that may have begun before the last bell rang.
        return await self._reads.get((cursor, oldest, self._watcher.rung), lambda: self._read_page(cursor, oldest))

    def _read_page(self, cursor: int, oldest: int) -> _Page:
        page = [(change, _message(change)) for change in self._store.changes_after(cursor, _PAGE)]
        # Removals may have been forgotten while a slow client had not asked for them.
        now = self._store.cursors()
        if now.oldest > oldest:
            _check(cursor, now)
        return page


def _message(value: Change | Removed) -> pb.WatchJobsResponse:
    job = value.job
    if isinstance(value, Change):
        change = pb.JobChange(
            name=job.name, event=convert.event(job.id, value.record), labels=job.labels, owner=job.owner
        )
        return pb.WatchJobsResponse(cursor=value.position, change=change)
    removed = pb.JobRemoved(
        job_id=job.id,
        name=job.name,
        state=convert.job_state(value.state),
        last_sequence=value.last_sequence,
        time=convert.timestamp(value.time),
        labels=job.labels,
        owner=job.owner,
    )
    return pb.WatchJobsResponse(cursor=value.position, removed=removed)


def _is_wanted(change: Change | Removed, wanted: JobFilter) -> bool:
    job = change.job
    if not wanted.admits(name=job.name, owner=job.owner, labels=job.labels):
        return False
    if isinstance(change, Removed) or not wanted.states:
        return True
    return STATE_AFTER.get(change.record.event.kind) in wanted.states


def _check(cursor: int, cursors: Range) -> None:
    """Refuse a cursor after which a removal was forgotten, or that no daemon of this store gave; 0 is the beginning."""
    if cursor != 0 and cursor < cursors.oldest:
        raise CursorOutOfRangeError(
            f"removals after the cursor {cursor} are no longer known; the oldest cursor is {cursors.oldest}",
            hint="list the jobs anew, and watch after the cursor that List gives",
            oldest=cursors.oldest,
            newest=cursors.newest,
        )
    if cursor > cursors.newest:
        raise CursorOutOfRangeError(
            f"the cursor {cursor} lies beyond the newest, {cursors.newest}",
            hint="it is of another daemon, or of before a backup was restored: list the jobs anew",
            oldest=cursors.oldest,
            newest=cursors.newest,
        )
