"""Clients that mean harm, or do not know what they do: each is answered or cut off, and nobody else notices."""

import asyncio

import grpc
import pytest
from jobapi.v1 import artifact_service_pb2 as artifact_pb
from jobapi.v1 import job_service_pb2 as pb

from jobd import events

pytestmark = pytest.mark.timeout(120)

ONE = {"step": "one", "entry": "copy"}


@pytest.mark.parametrize(
    "words", [b"\0" * 4096, b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 999]
)
def test_nonsense_on_the_line_harms_nobody(serve, words: bytes):
    """Bytes that are no call, on the unix socket or over TCP, end their own connection at most."""

    async def work(client) -> None:
        job = await client.submit()
        lines = [await asyncio.open_unix_connection("jobd.sock")]
        lines.append(await asyncio.open_connection(*client.tcp.rsplit(":", 1)))
        for _reader, writer in lines:
            writer.write(words)
            await writer.drain()
        assert (await client.jobs.Get(pb.GetRequest(id=job.id))).job.id == job.id
        for _reader, writer in lines:
            writer.close()

    serve(work)


def test_a_watcher_that_does_not_read_holds_up_nobody(serve):
    """While one stream is never read, events are taken in, calls are answered, and another watch comes to its end."""

    async def work(client) -> None:
        job = await client.submit()
        deaf = client.jobs.Watch(pb.WatchRequest(id=job.id))
        await deaf.read()
        status = "x" * 2000
        progress = [events.EntryProgress(**ONE, percent=None, status=f"{number} {status}") for number in range(2000)]
        await client.happen(job.id, *client.running, *progress, *client.done)
        seen = [
            m.event async for m in client.jobs.Watch(pb.WatchRequest(id=job.id)) if m.WhichOneof("message") == "event"
        ]
        assert [event.sequence for event in seen] == [*range(1, len(seen) + 1)]
        assert len(seen) > len(progress)
        assert seen[-1].WhichOneof("kind") == "job_succeeded"
        deaf.cancel()

    serve(work)


def test_streams_that_are_opened_and_dropped_leave_nothing(serve):
    """Many streams that end at once, some before they were answered, change nothing."""

    async def work(client) -> None:
        job = await client.submit()
        for _round in range(3):
            calls = [client.jobs.Watch(pb.WatchRequest(id=job.id)) for _ in range(40)]
            await asyncio.gather(*(call.read() for call in calls[::2]))
            for call in calls:
                call.cancel()
        assert (await client.jobs.Get(pb.GetRequest(id=job.id))).job.id == job.id

    serve(work)


@pytest.mark.parametrize("job_id", ["..", "../..", "a/b", "/etc/passwd", "x" * 5000, "\0", "*", "%", "no-such-job"])
def test_an_id_is_never_a_path_or_a_pattern(serve, job_id: str):
    """Whatever stands in the place of an id, no call reaches a job or a file by it."""

    async def work(client) -> None:
        await client.submit()
        calls = [
            client.jobs.Get(pb.GetRequest(id=job_id)),
            client.jobs.Cancel(pb.CancelRequest(id=job_id)),
            client.jobs.Delete(pb.DeleteRequest(id=job_id)),
            client.jobs.Watch(pb.WatchRequest(id=job_id)),
            client.jobs.Logs(pb.LogsRequest(id=job_id)),
            client.artifacts.Download(artifact_pb.DownloadRequest(job_id=job_id, name="../jobd.db")),
        ]
        for call in calls:
            code, _reason, _text = await client.refused(call)
            assert code in {"NOT_FOUND", "INVALID_ARGUMENT"}, code

    serve(work)


@pytest.mark.parametrize("after", [-1, 1 << 40, (1 << 63) - 1, -(1 << 63)])
def test_a_sequence_that_cannot_be_is_no_danger(serve, after: int):
    """A watch after an event that never was is refused or waits; the daemon serves on."""

    async def work(client) -> None:
        job = await client.submit()
        watch = client.jobs.Watch(pb.WatchRequest(id=job.id, after_sequence=after))
        try:
            await asyncio.wait_for(watch.read(), 5)
        except grpc.aio.AioRpcError as error:
            assert error.code() in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE}  # noqa: PT017 - either
        finally:
            watch.cancel()
        assert (await client.jobs.Get(pb.GetRequest(id=job.id))).job.id == job.id

    serve(work)
