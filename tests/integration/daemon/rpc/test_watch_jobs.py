"""The watch of all jobs: one order over everything, filters, cursors to go on from, and removals that are told."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from jobapi.v1 import job_pb2
from jobapi.v1 import job_service_pb2 as pb

from jobd import recording
from jobd.rpc import watch_jobs

pytestmark = pytest.mark.timeout(90)


async def read(call: AsyncIterator[Any], count: int) -> list[pb.WatchJobsResponse]:
    """Read so many messages that tell of something."""
    messages: list[pb.WatchJobsResponse] = []
    async with asyncio.timeout(30):
        while len(messages) < count:
            message = await anext(call)
            if message.WhichOneof("message") in ("change", "removed"):
                messages.append(message)
    return messages


def opened_watch(client: Any, **request: Any) -> Any:
    """Open a watch of all jobs."""
    return aiter(client.jobs.WatchJobs(pb.WatchJobsRequest(**request)))


def table(client: Any) -> list[tuple[int, str, int]]:
    """Give the place, job and sequence of everything that has happened."""
    return [
        (change.position, change.job.id, change.record.sequence)
        for change in client.office.store.changes_after(0, 10_000)
    ]


def places(messages: list[pb.WatchJobsResponse]) -> list[tuple[int, str, int]]:
    """Give the same of what a watch told."""
    return [(m.cursor, m.change.event.job_id, m.change.event.sequence) for m in messages]


def test_everything_is_told_in_one_order(serve):
    """Events of several jobs come once each, in the order of their places, with the names and labels of their jobs."""

    async def work(client) -> None:
        call = opened_watch(client)
        start = await anext(call)
        assert (start.WhichOneof("message"), start.cursor, start.start.oldest_cursor) == ("start", 0, 0)
        jobs = [await client.submit(labels={"number": str(number)}) for number in range(3)]
        for event in (*client.running, *client.done):
            for job in jobs:
                await client.happen(job.id, event)
        expected = table(client)
        assert len(expected) == sum(client.office.store.get(job.id).sequence for job in jobs)
        told = await read(call, len(expected))
        assert places(told) == expected
        assert {(m.change.name, m.change.labels["number"]) for m in told if m.change.event.job_id == jobs[1].id} == {
            ("example", "1")
        }
        whole = await read(opened_watch(client, after_cursor=0), len(expected))
        assert places(whole) == expected
        middle = expected[7][0]
        rest = await read(opened_watch(client, after_cursor=middle), len(expected) - 8)
        assert places(rest) == expected[8:]

    serve(work)


def test_a_watch_from_now_on_tells_nothing_of_before(serve):
    """Without a cursor the stream begins where the history ends, and says where that is."""

    async def work(client) -> None:
        job = await client.submit()
        call = opened_watch(client)
        start = await anext(call)
        assert start.cursor == table(client)[-1][0]
        await client.happen(job.id, client.running[0])
        (message,) = await read(call, 1)
        assert message.change.event.WhichOneof("kind") == "job_started"

    serve(work)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"name": "example"}, {"one", "two"}),
        ({"name": "exampl"}, set()),
        ({"name_prefix": "exam"}, {"one", "two"}),
        ({"name_prefix": "x"}, set()),
        ({"labels": [pb.LabelSelector(key="number", value="two")]}, {"two"}),
        ({"labels": [pb.LabelSelector(key="number")]}, {"one", "two"}),
        ({"labels": [pb.LabelSelector(key="number"), pb.LabelSelector(key="other")]}, set()),
        ({"labels": [pb.LabelSelector(key="number", value="")]}, set()),
        ({"owner": "local"}, {"one", "two"}),
        ({"owner": "nobody"}, set()),
    ],
)
def test_filters_choose_jobs(serve, wanted: dict[str, Any], expected: set[str]):
    """Only what belongs to the jobs that a filter means is told; its cursor passes over the rest."""

    async def work(client) -> None:
        for number in ("one", "two"):
            await client.submit(labels={"number": number})
        last = await client.submit(labels={"number": "three"})
        end = table(client)[-1][0]
        everything = client.jobs.WatchJobs(pb.WatchJobsRequest(after_cursor=0, **wanted))
        told: set[str] = set()
        cursor = 0
        async with asyncio.timeout(60):
            async for message in everything:
                assert message.cursor >= cursor
                cursor = message.cursor
                if message.WhichOneof("message") == "change" and message.change.event.job_id != last.id:
                    told.add(message.change.labels["number"])
                if message.WhichOneof("message") == "heartbeat" and cursor >= end:
                    break
        assert told == expected

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watch_jobs, "HEARTBEAT_SECONDS", 0.3)
        serve(work)


def test_states_choose_the_moments_of_change(serve):
    """With states, only the events by which a job comes into one of them are told, and removals."""

    async def work(client) -> None:
        states = [job_pb2.JOB_STATE_RUNNING, job_pb2.JOB_STATE_SUCCEEDED]
        call = opened_watch(client, after_cursor=0, states=states)
        job = await client.submit()
        await client.happen(job.id, *client.running, *client.done)
        await client.jobs.Delete(pb.DeleteRequest(id=job.id))
        await client.submit()
        kinds = [m.change.event.WhichOneof("kind") or m.WhichOneof("message") for m in await read(call, 3)]
        assert kinds == ["job_started", "job_succeeded", "removed"]

    serve(work)


def test_a_removal_is_told_in_place_of_the_history(serve):
    """Who comes after a job was removed hears of that, and of nothing else of it; who was there hears everything."""

    async def work(client) -> None:
        gone = await client.submit(labels={"team": "news"})
        early = opened_watch(client, after_cursor=0)
        await client.happen(gone.id, *client.running, *client.done)
        last = client.office.store.get(gone.id).sequence
        heard = await read(early, last)
        kept = await client.submit()
        await client.jobs.Delete(pb.DeleteRequest(id=gone.id))
        rest = await read(early, client.office.store.get(kept.id).sequence + 1)
        removed = rest[-1].removed
        assert [m.change.event.sequence for m in heard] == [*range(1, last + 1)]
        assert (removed.job_id, removed.name, removed.state, removed.last_sequence, dict(removed.labels)) == (
            gone.id,
            "example",
            job_pb2.JOB_STATE_SUCCEEDED,
            last,
            {"team": "news"},
        )
        assert removed.owner == "local"
        for after in (0, heard[3].cursor, rest[-2].cursor):
            late = await read(opened_watch(client, after_cursor=after), len([r for r in rest if r.cursor > after]))
            assert [m.cursor for m in late] == [r.cursor for r in rest if r.cursor > after]
            assert late[-1].removed == removed

    serve(work)


def test_a_cursor_that_cannot_be_gone_on_from_is_refused(serve, monkeypatch: pytest.MonkeyPatch):
    """Beyond the newest, below 0, and before a forgotten removal: each is an error that tells how to go on."""

    async def work(client) -> None:
        monkeypatch.setattr(recording, "_MOST_REMOVALS", 1)
        jobs = [await client.submit() for _ in range(3)]
        start = table(client)[0][0]
        for job in jobs:
            await client.happen(job.id, *client.running, *client.done)
        for job in jobs[:2]:
            await client.jobs.Delete(pb.DeleteRequest(id=job.id))
        cursors = client.office.store.cursors()
        assert start < cursors.oldest < cursors.newest
        for after, code in (
            (-1, ("INVALID_ARGUMENT", "INVALID_REQUEST")),
            (start, ("OUT_OF_RANGE", "CURSOR_OUT_OF_RANGE")),
            (cursors.oldest - 1, ("OUT_OF_RANGE", "CURSOR_OUT_OF_RANGE")),
            (cursors.newest + 1, ("OUT_OF_RANGE", "CURSOR_OUT_OF_RANGE")),
        ):
            told = await client.refused(client.jobs.WatchJobs(pb.WatchJobsRequest(after_cursor=after)))
            assert told[:2] == code, after
        (removed,) = await read(opened_watch(client, after_cursor=cursors.oldest), 1)
        assert removed.removed.job_id == jobs[1].id
        first = await anext(opened_watch(client, after_cursor=0))
        assert first.start.oldest_cursor == cursors.oldest

    serve(work)


def test_a_list_and_a_watch_after_it_miss_nothing(serve):
    """A List tells the cursor from which a watch completes it, while jobs go on."""

    async def work(client) -> None:
        job = await client.submit()
        await client.happen(job.id, *client.running)
        page = await client.jobs.List(pb.ListRequest())
        await client.happen(job.id, *client.done)
        shown = page.jobs[0].last_sequence
        call = opened_watch(client, after_cursor=page.cursor)
        new = await read(call, len(client.done))
        assert [m.change.event.sequence for m in new] == [*range(shown + 1, shown + 1 + len(client.done))]

    serve(work)


def test_a_draining_daemon_ends_watches_of_all_jobs(serve):
    """Who watches all jobs while the daemon shuts down is told to come again."""

    async def work(client) -> None:
        call = opened_watch(client)
        await anext(call)
        client.office.watcher.drain()
        assert (await client.refused(call))[:2] == ("UNAVAILABLE", "DRAINING")

    serve(work)


def test_watchers_of_all_jobs_that_hang_up_leave_nothing(serve):
    """The bells of clients that went away are taken down."""

    async def work(client) -> None:
        job = await client.submit()
        calls = [client.jobs.WatchJobs(pb.WatchJobsRequest()) for _ in range(20)]
        for call in calls:
            await call.read()
            call.cancel()
        async with asyncio.timeout(20):
            while client.office.bells._waiting:
                await client.happen(job.id, client.running[0])
        assert (await client.jobs.Get(pb.GetRequest(id=job.id))).job.id == job.id

    serve(work)
