"""Journals on their way into the store: by doorbell or by looking, each line once, whatever is wrong with it."""

import asyncio
import contextlib
import socket
from concurrent.futures import Future

import pytest
from sqlalchemy import event
from structlog.testing import capture_logs

from jobd import events, ingest, journal, recording, sockets
from jobd.errors import StorageError
from jobd.events import FailureKind
from jobd.states import JobState

pytestmark = pytest.mark.timeout(60)

STARTED = events.JobStarted(flow_run_id="run-1")


def ring(office, word: bytes) -> None:
    """Ring the doorbell as a runner does: without waiting for one who is too busy to listen."""
    with sockets.connect(office.state.run / sockets.DOORBELL, socket.SOCK_DGRAM) as bell:
        bell.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            bell.send(word)


def listening(work):
    """Run a test's coroutine while the doorbell is answered."""

    async def run(office) -> None:
        bell = office.ingest.listen()
        try:
            await work(office)
        finally:
            asyncio.get_running_loop().remove_reader(bell)
            bell.close()

    return run


def test_a_ring_takes_in_what_is_new(office):
    """After a ring every whole line is in the store, and a second ring adds nothing."""

    @listening
    async def work(office) -> None:
        job = await office.submit()
        office.write(job.id, STARTED)
        assert office.ingest.has_news(job.id)
        ring(office, job.id.encode())
        running = await office.until(job.id, lambda job: job.state is JobState.RUNNING)
        ring(office, job.id.encode())
        await office.ingest.take(job.id)
        assert office.store.get(job.id).sequence == running.sequence
        assert not office.ingest.has_news(job.id)

    office(work)


def test_what_rings_without_end_is_taken_in_together(office, monkeypatch):
    """The first ring is answered at once; those that follow closely share a transaction."""
    monkeypatch.setattr(ingest, "SPACING_SECONDS", 1.0)

    @listening
    async def work(office) -> None:
        job = await office.submit()
        taken = []
        record = recording.record

        def count(connection, before, job, records, values) -> None:
            taken.append(sum(isinstance(each.event, events.JobStarted) for each in records))
            record(connection, before, job, records, values)

        monkeypatch.setattr(recording, "record", count)
        office.write(job.id, STARTED)
        ring(office, job.id.encode())
        await office.until(job.id, lambda job: job.state is JobState.RUNNING)
        for number in range(50):
            office.write(job.id, events.JobStarted(flow_run_id=str(number)))
            ring(office, job.id.encode())
            await asyncio.sleep(0)
        await office.until(job.id, lambda job: job.flow_run_id == "49")
        pieces = [lines for lines in taken if lines]
        assert pieces[0] == 1
        assert sum(pieces) == 51
        assert len(pieces) < 20

    office(work)


def test_jobs_that_ring_together_share_a_commit(office):
    """The lines of twenty jobs that rang at one moment are committed together, not one job after another."""

    @listening
    async def work(office) -> None:
        jobs = [await office.submit() for _ in range(20)]
        await office.settle()
        commits: list[object] = []
        event.listen(office.store._writer._engine, "commit", commits.append)
        for job in jobs:
            office.write(job.id, STARTED)
            ring(office, job.id.encode())
        for job in jobs:
            await office.until(job.id, lambda job: job.state is JobState.RUNNING)
        assert len(commits) <= 4

    office(work)


def test_rings_that_were_lost_among_many_are_made_up_for(office):
    """When so many ring at once that others may not have got through, every job that is known is looked at."""

    @listening
    async def work(office) -> None:
        quiet, loud = await office.submit(), await office.submit()
        office.write(quiet.id, STARTED)
        await office.ingest.take(quiet.id)
        office.write(quiet.id, events.JobStarted(flow_run_id="unheard"))
        for _ in range(ingest._MANY_RINGS):
            ring(office, loud.id.encode())
        await office.until(quiet.id, lambda job: job.flow_run_id == "unheard")

    office(work)


def test_a_job_is_heard_again_after_the_store_refused_it(office, monkeypatch):
    """A round in which nothing could be written leaves no job unheard: the next ring takes everything in."""

    @listening
    async def work(office) -> None:
        job = await office.submit()
        office.write(job.id, STARTED)
        refused = asyncio.Event()
        take_in = office.store.take_in

        def refuse(_job_id, _source):
            refused.set()
            future: Future[int] = Future()
            future.set_exception(StorageError("the disk is away"))
            return future

        monkeypatch.setattr(office.store, "take_in", refuse)
        ring(office, job.id.encode())
        await asyncio.wait_for(refused.wait(), 20)
        monkeypatch.setattr(office.store, "take_in", take_in)
        await asyncio.gather(*office.ingest._tasks)
        ring(office, job.id.encode())
        await office.until(job.id, lambda job: job.state is JobState.RUNNING)

    office(work)


def test_a_storm_of_rings_counts_each_line_once(office):
    """However often and however many ring at once, each of a hundred lines is recorded once and in order."""

    @listening
    async def work(office) -> None:
        job = await office.submit()
        before = office.store.get(job.id).sequence
        office.write(job.id, STARTED)
        for number in range(100):
            office.write(job.id, events.JobStarted(flow_run_id=str(number)))
            ring(office, job.id.encode())
            office.ingest.ring(job.id)
        await asyncio.gather(*(office.ingest.take(job.id) for _ in range(5)))
        ended = await office.until(job.id, lambda job: job.flow_run_id == "99")
        records = office.store.events_after(job.id, 0)
        assert [r.event.flow_run_id for r in records if r.event.kind == "job_started"] == [
            "run-1",
            *(str(number) for number in range(100)),
        ]
        assert ended.sequence >= before + 101

    office(work)


@pytest.mark.parametrize("word", [b"", b"nobody", b"../../etc", b"\xff\xfe", b"x" * 5000], ids=ascii)
def test_a_ring_of_nobody_disturbs_nobody(office, word: bytes):
    """A word that is no job is answered by nothing, and the next ring is heard."""

    @listening
    async def work(office) -> None:
        job = await office.submit()
        ring(office, word)
        office.write(job.id, STARTED)
        ring(office, job.id.encode())
        await office.until(job.id, lambda job: job.state is JobState.RUNNING)

    office(work)


def test_a_torn_line_waits_until_it_is_whole(office):
    """Half a line is not taken in; when the rest comes, it counts."""

    async def work(office) -> None:
        job = await office.submit()
        line = journal.encode(events.Occurrence(time=5.0, event=STARTED))
        path = office.state.job(job.id).journal
        path.write_bytes(line[:30])
        await office.ingest.take(job.id)
        assert office.store.get(job.id).started is None
        with path.open("ab") as file:
            file.write(line[30:])
        await office.ingest.take(job.id)
        assert office.store.get(job.id).state is JobState.RUNNING

    office(work)


def test_a_restarted_daemon_goes_on_where_the_last_one_stopped(opened):
    """Lines that the last daemon took in are not taken in again, those it did not see are."""

    async def work() -> None:
        async with opened() as office:
            job = await office.submit()
            office.write(job.id, STARTED)
            await office.ingest.take(job.id)
        office.write(job.id, events.StepStarted(step="one"))
        async with opened() as office:
            await office.ingest.take(job.id)
            kinds = [record.event.kind for record in office.store.events_after(job.id, 0)]
            assert (kinds.count("job_started"), kinds.count("step_started")) == (1, 1)

    asyncio.run(work())


def test_a_journal_that_cannot_be_followed_ends_its_job(office):
    """A history that says what cannot be makes the job fail with the reason, instead of hanging for ever."""

    async def work(office) -> None:
        job = await office.submit()
        office.write(job.id, STARTED, events.EntryProgress(step="one", entry="copy", percent=1))
        await office.ingest.take(job.id)
        ended = office.store.get(job.id)
        assert (ended.state, ended.failure.kind) == (JobState.FAILED, FailureKind.SYSTEM)
        assert "progress of an entry that is pending" in ended.failure.message
        office.write(job.id, events.StepStarted(step="one"))
        await office.ingest.take(job.id)
        assert not office.ingest.has_news(job.id)

    office(work)


def test_what_fits_before_the_line_that_does_not_is_kept(office):
    """A job that is ended for one impossible line still tells all that came before it."""

    async def work(office) -> None:
        job = await office.submit()
        office.write(job.id, STARTED, events.EntryProgress(step="one", entry="copy", percent=1))
        await office.ingest.take(job.id)
        told = [record.event.kind for record in office.store.events_after(job.id, job.sequence)]
        assert (told[0], told[-1]) == ("job_started", "job_failed")
        assert office.store.get(job.id).flow_run_id == STARTED.flow_run_id

    office(work)


def test_a_long_journal_is_taken_in_pieces(office):
    """A journal of several megabytes, as after a long absence of the daemon, is taken in whole."""

    async def work(office) -> None:
        job = await office.submit()
        waiting = [events.JobWaiting(reason=f"{number} {'x' * 2000}") for number in range(4000)]
        office.write(job.id, *waiting)
        assert office.state.job(job.id).journal.stat().st_size > 7 << 20
        await office.ingest.take(job.id)
        assert office.store.get(job.id).reason.startswith("3999 ")
        assert not office.ingest.has_news(job.id)

    office(work)


def test_of_a_job_that_was_deleted_there_is_nothing_to_take(office):
    """A runner may end after its job was deleted; that its last words are nobody's any more is no error."""

    @listening
    async def work(office) -> None:
        job = await office.submit()
        office.write(job.id, STARTED, events.JobCancelling(reason="asked"), events.JobCancelled(reason="asked"))
        await office.ingest.take(job.id)
        await asyncio.wrap_future(office.store.delete(job.id))
        office.write(job.id, events.JobCancelled(reason="asked"))
        with capture_logs() as told:
            await office.ingest.take(job.id)
            ring(office, job.id.encode())
            await office.settle()
        assert told == []

    office(work)
