"""A crowd of watchers: every one hears everything, also after all have come back at once, whoever stops reading."""

import asyncio
import contextlib
import ctypes
import gc
import random
import resource
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from jobapi.v1 import job_service_pb2 as pb
from jobapi.v1 import job_service_pb2_grpc as pb_grpc

from jobd import events

pytestmark = pytest.mark.timeout(180)

CROWD = 2000
CONNECTIONS = 200
OF_ALL_JOBS = 10
"""Each tenth watcher watches all jobs."""


@pytest.fixture
def many_files() -> Iterator[None]:
    """Allow this process a file for either end of each connection."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = 4 * CONNECTIONS + 1024
    if hard != resource.RLIM_INFINITY and hard < enough:
        pytest.skip(f"this machine allows {hard} open files, fewer than {enough}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, enough), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@dataclass
class Watcher:
    """One of the crowd: it hears of one job, through Watch or among all jobs."""

    stub: Any
    job_id: str
    of_all: bool
    told: Callable[[], None]
    seen: list[int] = field(default_factory=list)
    cursor: int = 0
    ready: asyncio.Event = field(default_factory=asyncio.Event)

    async def follow(self) -> None:
        """Watch on after what was seen, to the end of the job or of the connection."""
        self.ready.clear()
        stream = self._all() if self.of_all else self._one()
        async with contextlib.aclosing(stream):
            async for sequence in stream:
                self.seen.append(sequence)
                self.told()

    async def _one(self) -> AsyncIterator[int]:
        after = self.seen[-1] if self.seen else 0
        async for message in self.stub.Watch(pb.WatchRequest(id=self.job_id, after_sequence=after)):
            self.ready.set()
            if message.WhichOneof("message") == "event":
                yield message.event.sequence

    async def _all(self) -> AsyncIterator[int]:
        async for message in self.stub.WatchJobs(pb.WatchJobsRequest(after_cursor=self.cursor)):
            self.ready.set()
            self.cursor = message.cursor
            if message.WhichOneof("message") == "change":
                yield message.change.event.sequence
                if message.change.event.WhichOneof("kind") in {"job_succeeded", "job_failed", "job_cancelled"}:
                    return


class Crowd:
    """All watchers, and how far they are."""

    def __init__(self, stubs: list[Any], job_id: str) -> None:
        """Spread the watchers over the connections."""
        self._news = asyncio.Event()
        self.watchers = [
            Watcher(stubs[number % len(stubs)], job_id, number % OF_ALL_JOBS == 0, self._news.set)
            for number in range(CROWD)
        ]
        self._calls: list[asyncio.Task[None]] = []

    async def come(self) -> None:
        """Have all watch at once, and wait until each is served."""
        self._calls = [asyncio.create_task(watcher.follow()) for watcher in self.watchers]
        await asyncio.gather(*(watcher.ready.wait() for watcher in self.watchers))

    async def leave(self) -> None:
        """Cut all off at once."""
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)

    async def heard(self, sequence: int) -> None:
        """Wait until all have heard the event of this number."""
        while any(not watcher.seen or watcher.seen[-1] < sequence for watcher in self.watchers):
            self._news.clear()
            await self._news.wait()

    async def end(self) -> None:
        """Wait until every watch has ended by itself."""
        await asyncio.gather(*self._calls)


@contextlib.asynccontextmanager
async def connections() -> AsyncIterator[list[Any]]:
    """Give stubs, each on a connection of its own."""
    async with contextlib.AsyncExitStack() as stack:
        options = [("grpc.use_local_subchannel_pool", 1)]
        channels = [grpc.aio.insecure_channel("unix:jobd.sock", options) for _ in range(CONNECTIONS)]
        yield [pb_grpc.JobServiceStub(await stack.enter_async_context(channel)) for channel in channels]


def test_two_thousand_watchers_hear_everything(serve, many_files):
    """Every one of 2,000 watchers hears every event once and in order, although all are cut off and return at once."""

    async def work(client) -> None:
        job = await client.submit()
        async with connections() as stubs:
            crowd = Crowd(stubs, job.id)
            await crowd.come()
            await client.happen(job.id, *client.running)
            await crowd.heard(client.office.store.get(job.id).sequence)
            await crowd.leave()
            await client.happen(job.id, *client.done[:4])
            await crowd.come()
            await client.happen(job.id, *client.done[4:])
            await crowd.end()
        everything = [*range(1, client.office.store.get(job.id).sequence + 1)]
        assert [watcher.seen for watcher in crowd.watchers if watcher.seen != everything] == []

    serve(work)


def resident() -> int:
    """Give how many bytes of memory this process, server and clients at once, holds now, without what is free in it."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_a_watcher_that_stops_reading_disturbs_nobody(serve):
    """While one of two watchers reads nothing, the other hears 40 MB of events, of which few wait in memory."""

    async def work(client) -> None:
        job = await client.submit()
        await client.happen(job.id, *client.running)
        stuck = [
            aiter(client.jobs.Watch(pb.WatchRequest(id=job.id))),
            aiter(client.jobs.WatchJobs(pb.WatchJobsRequest(after_cursor=0))),
        ]
        for call in stuck:
            await anext(call)
        reading = client.jobs.Watch(pb.WatchRequest(id=job.id))
        held, heard = [], 0
        for _ in range(40):
            progress = [
                events.EntryProgress(step="one", entry="copy", status=f"{number}{'x' * 10_000}")
                for number in range(100)
            ]
            await client.happen(job.id, *progress)
            last = client.office.store.get(job.id).sequence
            while heard < last:
                message = await reading.read()
                if message.WhichOneof("message") == "event":
                    assert message.event.sequence == heard + 1
                    heard += 1
            held.append(resident())
        assert heard > 4000
        # By then all buffers are full that are bounded; the 30 MB that follow would be kept for each of the two.
        assert max(held) - held[10] < 25 << 20
        reading.cancel()
        await client.happen(job.id, *client.done)
        last = client.office.store.get(job.id).sequence
        assert [m.event.sequence async for m in stuck[0] if m.WhichOneof("message") == "event"] == [*range(1, last + 1)]
        found = []
        while len(found) < last:
            message = await anext(stuck[1])
            found += [message.change.event.sequence] if message.WhichOneof("message") == "change" else []
        assert found == [*range(1, last + 1)]

    serve(work)


async def read_some(client, job_id: str, after: int, most: int, told: list[int]) -> bool:
    """Watch on after an event and read at most so many; tell whether the job has ended."""
    call = client.jobs.Watch(pb.WatchRequest(id=job_id, after_sequence=after))
    expected = after
    while True:
        message = await call.read()
        if message is grpc.aio.EOF:
            return True
        if message.WhichOneof("message") == "event":
            expected += 1
            assert message.event.sequence == expected
            if expected > (told[-1] if told else 0):
                told.append(expected)
        if expected - after >= most:
            call.cancel()
            return False


def test_a_watch_resumed_a_thousand_times_is_the_history(serve):
    """Broken off 1,000 times at random places while the job runs, a watch has told each event once, in order."""
    chance = random.Random(20)

    async def work(client) -> None:
        job = await client.submit()
        await client.happen(job.id, *client.running)
        told: list[int] = []
        ended = False

        async def live() -> None:
            for number in range(250):
                progress = events.EntryProgress(step="one", entry="copy", percent=number / 4)
                await client.happen(job.id, *[progress] * 4)
            await client.happen(job.id, *client.done)

        living = asyncio.create_task(live())
        resumed = 0
        while not ended:
            after = told[-1] if told else 0
            resumed += 1
            # Now and then from anywhere: what was told before is told again exactly, and leads on without a gap.
            again = chance.randrange(after + 1) if chance.random() < 0.1 else after
            most = 1 << 30 if resumed > 1000 else after - again + chance.randrange(3)
            ended = await read_some(client, job.id, again, most, told)
        await living
        stored = client.office.store.events_after(job.id, 0, limit=10_000)
        assert resumed > 1000
        assert told == [record.sequence for record in stored] == [*range(1, len(stored) + 1)]

    serve(work)
