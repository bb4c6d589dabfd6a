"""Watches and logs over the wire: nothing missed, nothing twice, and an end."""

import asyncio
from typing import Any

import grpc
import pytest
from jobapi.v1 import (
    job_service_pb2 as pb,
)

from jobd import events
from jobd.errors import JobNotFoundError

pytestmark = pytest.mark.timeout(60)

ENDS = {"job_succeeded", "job_failed", "job_cancelled"}


async def watched(call: Any) -> tuple[list[str], list[int], list[str]]:
    """Read a watch to its end: which messages came, the sequences and the kinds of its events."""
    messages = [message async for message in call]
    seen = [message.event for message in messages if message.WhichOneof("message") == "event"]
    kinds = [message.WhichOneof("message") for message in messages]
    return kinds, [event.sequence for event in seen], [event.WhichOneof("kind") for event in seen]


def test_a_watch_misses_nothing_and_ends(serve):
    """A snapshot, then every event once and in order while it happens, one terminal event, then the end."""

    async def work(client) -> None:
        job = await client.submit()
        calls = [asyncio.create_task(watched(client.jobs.Watch(pb.WatchRequest(id=job.id)))) for _ in range(5)]
        for event in (*client.running, *client.done):
            await client.happen(job.id, event)
        last = client.office.store.get(job.id).sequence
        for call in calls:
            kinds, sequences, events_seen = await call
            assert kinds[0] == "snapshot"
            assert kinds.count("snapshot") == 1
            assert sequences == [*range(1, last + 1)]
            assert events_seen[-1] == "job_succeeded"
            assert sum(kind in ENDS for kind in events_seen) == 1

    serve(work)


def test_a_watch_goes_on_after_a_sequence(serve):
    """Asked again after the last sequence that was seen, a watch repeats nothing, also after the job's end."""

    async def work(client) -> None:
        job = await client.submit()
        await client.happen(job.id, *client.running, *client.done)
        last = client.office.store.get(job.id).sequence
        for after in (0, 3, last - 1, last):
            _kinds, sequences, _events = await watched(
                client.jobs.Watch(pb.WatchRequest(id=job.id, after_sequence=after))
            )
            assert sequences == [*range(after + 1, last + 1)]
        told = await client.refused(client.jobs.Watch(pb.WatchRequest(id=job.id, after_sequence=last + 1)))
        assert told[:2] == ("OUT_OF_RANGE", "SEQUENCE_OUT_OF_RANGE")
        told = await client.refused(client.jobs.Watch(pb.WatchRequest(id=job.id, after_sequence=-1)))
        assert told[:2] == ("INVALID_ARGUMENT", "INVALID_REQUEST")

    serve(work)


def test_a_watch_ends_when_its_job_is_deleted_before_all_was_read(serve):
    """What a slow reader has not read of a history is gone with it, and that is told."""

    async def work(client) -> None:
        job = await client.submit()
        progress = [events.EntryProgress(step="one", entry="copy", percent=n / 10) for n in range(1000)]
        await client.happen(job.id, *client.running, *progress, *client.done)
        watch = client.office.watcher.watch(job.id, 0)
        for _ in range(50):
            await anext(watch)
        await client.office.submissions.delete(job.id)

        async def read_on() -> None:
            async for _ in watch:
                pass

        with pytest.raises(JobNotFoundError):
            await asyncio.wait_for(read_on(), 30)

    serve(work)


def test_a_watch_of_a_daemon_that_ends_asks_to_come_again(serve):
    """A client that watches while the daemon shuts down is told that it may come again."""

    async def work(client) -> None:
        job = await client.submit()
        messages = aiter(client.jobs.Watch(pb.WatchRequest(id=job.id)))
        assert (await anext(messages)).WhichOneof("message") == "snapshot"
        client.office.watcher.drain()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.drained(messages)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE

    serve(work)


def test_watchers_that_hang_up_leave_nothing(serve):
    """The bells of clients that went away are taken down."""

    async def work(client) -> None:
        job = await client.submit()
        calls = [client.jobs.Watch(pb.WatchRequest(id=job.id)) for _ in range(20)]
        for call in calls:
            await call.read()
            call.cancel()
        async with asyncio.timeout(20):
            while client.office.bells._waiting.get(job.id):
                await client.happen(job.id, events.JobWaiting(reason="x"))
        assert (await client.jobs.Get(pb.GetRequest(id=job.id))).job.id == job.id

    serve(work)


async def logged(call: Any) -> bytes:
    """Read a log to its end, checking that the offsets are those of the bytes."""
    data = b""
    first = None
    async for piece in call:
        first = piece.offset if first is None else first
        assert piece.offset == first + len(data)
        data += piece.data
    return data


def test_a_log_is_followed_to_the_end_of_its_entry(serve):
    """What a module writes arrives while it runs, and the stream ends with the entry."""

    async def work(client) -> None:
        job = await client.submit()
        await client.happen(job.id, *client.running)
        path = client.office.state.job(job.id).log("one", "copy", 1)
        path.parent.mkdir(parents=True)
        path.write_bytes(b"first\n")
        pieces = aiter(client.jobs.Logs(pb.LogsRequest(id=job.id, step="one", entry="copy", follow=True)))
        assert (await anext(pieces)).data == b"first\n"
        with path.open("ab") as file:
            file.write(b"x" * 200_000)
        await client.happen(job.id, events.EntrySucceeded(step="one", entry="copy", attempt=1))
        rest = b"".join([piece.data async for piece in pieces])
        assert rest == b"x" * 200_000
        whole = pb.LogsRequest(id=job.id, step="one", entry="copy")
        assert await logged(client.jobs.Logs(whole)) == b"first\n" + rest
        whole.offset = 100_000
        assert await logged(client.jobs.Logs(whole)) == b"x" * 100_006
        whole.offset = 200_006
        assert await logged(client.jobs.Logs(whole)) == b""
        whole.offset = 200_007
        assert (await client.refused(client.jobs.Logs(whole)))[0] == "OUT_OF_RANGE"

    serve(work)


def test_logs_of_nothing_are_refused(serve):
    """An entry that the job does not have, and numbers that cannot be, are errors; a job that waits has no log."""

    async def work(client) -> None:
        job = await client.submit()
        assert await logged(client.jobs.Logs(pb.LogsRequest(id=job.id))) == b""
        for rest, code in [
            ({"step": "nine"}, "NOT_FOUND"),
            ({"step": "one", "entry": "../../x"}, "NOT_FOUND"),
            ({"offset": -1}, "INVALID_ARGUMENT"),
            ({"attempt": -1}, "INVALID_ARGUMENT"),
            ({"offset": 1}, "INVALID_ARGUMENT"),
        ]:
            assert (await client.refused(client.jobs.Logs(pb.LogsRequest(id=job.id, **rest))))[0] == code, rest

    serve(work)
