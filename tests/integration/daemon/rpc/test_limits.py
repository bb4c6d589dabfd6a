"""The bounds on what callers may have: each is refused with its name and value, and given back in the end."""

import asyncio
import os
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from jobapi.v1 import artifact_service_pb2 as artifact_pb
from jobapi.v1 import job_service_pb2 as pb

from jobd import events
from jobd.call_limits import CallLimits

pytestmark = pytest.mark.timeout(300)


async def limit_of(call: Any) -> tuple[str, str, str, bool]:
    """Make a call that a limit refuses; give its reason, the limit's name and value, and whether to come again."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await (call.read() if hasattr(call, "read") else call)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    details = rpc_status.from_call(caught.value).details
    info = error_details_pb2.ErrorInfo()
    assert details[0].Unpack(info)
    again = any(detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for detail in details)
    return info.reason, info.metadata["limit"], info.metadata["value"], again


def test_open_streams_are_bounded(serve):
    """A watch too many is refused; one that was closed by its client makes room for another."""

    async def work(client) -> None:
        job = await client.submit()
        watches = [client.jobs.Watch(pb.WatchRequest(id=job.id)) for _ in range(2)]
        for watch in watches:
            await watch.read()
        refused = await limit_of(client.jobs.Watch(pb.WatchRequest(id=job.id)))
        assert refused == ("TOO_MANY", "streams_per_caller", "2", True)
        assert (await client.jobs.Get(pb.GetRequest(id=job.id))).job.id == job.id
        watches[0].cancel()
        await until_served(lambda: client.jobs.Watch(pb.WatchRequest(id=job.id)))
        watches[1].cancel()

    serve(work, limits=CallLimits(max_streams=5, max_streams_per_caller=2))


async def until_served(make: Any) -> None:
    """Make a call again and again until it is served: the daemon hears of a client that hung up a little later."""
    async with asyncio.timeout(120):
        while True:
            call = make()
            [told] = await asyncio.gather(call.read(), return_exceptions=True)
            if not isinstance(told, grpc.aio.AioRpcError):
                call.cancel()
                return
            assert told.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def until_count(folder: Path, count: int) -> None:
    """Wait until a folder holds so many things; what the daemon does with a call that was only begun tells nobody."""
    async with asyncio.timeout(120):
        while len(os.listdir(folder)) != count:  # noqa: ASYNC110, PTH208 - nothing else tells of it
            await asyncio.sleep(0.01)


def test_uploads_under_way_are_bounded(serve):
    """Uploads that never end do not take more than their places, leave nothing, and give the places back."""

    async def work(client) -> None:
        def begin() -> Any:
            return client.artifacts.Upload()

        held = [begin() for _ in range(3)]
        for call in held:
            await call.write(artifact_pb.UploadRequest(data=b"x"))
        await until_count(client.office.state.uploads, 3)
        one = artifact_pb.UploadRequest(data=b"x")
        assert await limit_of(client.artifacts.Upload(iter([one]))) == ("TOO_MANY", "uploads_per_caller", "3", True)
        for call in held:
            call.cancel()
        await until_count(client.office.state.uploads, 0)
        answers = [await client.artifacts.Upload(iter([one])) for _ in range(5)]
        assert len({answer.upload_id for answer in answers}) == 5

    serve(work, limits=CallLimits(max_uploads=3, max_uploads_per_caller=3))


def test_the_queue_is_bounded(serve):
    """A job too many is refused with nothing left of it; the same request again gives its job; a place can be freed."""

    async def work(client) -> None:
        jobs = [await client.submit(request_id=name) for name in ("a", "b")]
        folders = {folder.name for folder in client.office.state.jobs.iterdir()}
        assert await limit_of(client.jobs.Submit(client.request())) == ("TOO_MANY", "queued", "2", True)
        assert {folder.name for folder in client.office.state.jobs.iterdir()} == folders
        assert (await client.submit(request_id="a")).id == jobs[0].id
        assert {await client.office.launched(), await client.office.launched()} == {job.id for job in jobs}
        await client.jobs.Cancel(pb.CancelRequest(id=jobs[0].id))
        await client.happen(jobs[0].id, events.JobCancelled(reason="asked"))
        calls = [client.jobs.Retry(pb.RetryRequest(id=jobs[0].id)), client.jobs.Submit(client.request())]
        done = await asyncio.gather(*calls, return_exceptions=True)
        assert [isinstance(item, grpc.aio.AioRpcError) for item in done].count(True) == 1

    serve(work, limits=CallLimits(max_queued=2))


def test_many_submits_at_once_do_not_pass_the_bound(serve):
    """The bound holds also for jobs that are being taken on at the same time."""

    async def work(client) -> None:
        done = await asyncio.gather(*(client.jobs.Submit(client.request()) for _ in range(20)), return_exceptions=True)
        served = [item for item in done if not isinstance(item, grpc.aio.AioRpcError)]
        assert len(served) == 5
        assert len(list(client.office.state.jobs.iterdir())) == 5

    serve(work, limits=CallLimits(max_queued=5))


def test_what_a_request_holds_is_bounded(serve):
    """Long request ids, many labels and long ones are refused by name, and waiting would not help."""

    async def work(client) -> None:
        many = {str(number): "" for number in range(65)}
        for rest, limit in (
            ({"request_id": "x" * 129}, ("request_id", "128")),
            ({"labels": many}, ("labels", "64")),
            ({"labels": {"a": "x" * 256}}, ("label", "255")),
        ):
            refused = await limit_of(client.jobs.Submit(client.request(**rest)))
            assert refused == ("LIMIT_EXCEEDED", *limit, False)
        assert await limit_of(client.jobs.Retry(pb.RetryRequest(id="x", request_id="x" * 129))) == (
            "LIMIT_EXCEEDED", "request_id", "128", False,
        )  # fmt: skip
        assert list(client.office.state.jobs.iterdir()) == []

    serve(work)


def test_a_message_that_is_too_large_says_how_large_it_may_be(serve):
    """gRPC itself refuses it, before it is read, and names the limit."""

    async def work(client) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.jobs.Validate(pb.ValidateRequest(job_yaml=b"x" * (5 << 20)))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert str(4 << 20) in caught.value.details()

    serve(work)


def test_watches_of_health_are_bounded(serve):
    """What needs no token cannot be used to take the daemon's memory."""

    async def work(client) -> None:
        async with grpc.aio.insecure_channel(client.tcp) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            calls = [health.Watch(health_pb2.HealthCheckRequest()) for _ in range(110)]
            firsts = await asyncio.gather(*(call.read() for call in calls), return_exceptions=True)
            refused = [item for item in firsts if isinstance(item, grpc.aio.AioRpcError)]
            assert {item.code().name for item in refused} == {"RESOURCE_EXHAUSTED"}
            assert len(refused) == 10
            for call in calls:
                call.cancel()

    serve(work)
