"""A daemon that ends: what runs may finish, what comes is told to come again, and probes are told first."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from grpc_status import rpc_status
from jobapi.v1 import artifact_service_pb2 as artifact_pb
from jobapi.v1 import job_service_pb2 as pb

pytestmark = pytest.mark.timeout(120)

NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def until(condition: Callable[[], Any]) -> None:
    """Wait until something holds."""
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to hold within half a minute")


@contextlib.asynccontextmanager
async def a_call_that_waits(client: Any) -> AsyncIterator[tuple[Any, asyncio.Event]]:
    """Give a Validate that is in the middle of its work, and what lets it go on."""
    inside, goes_on = asyncio.Event(), asyncio.Event()
    plan = client.office.submissions.plan

    async def wait_and_plan(document: bytes) -> Any:
        inside.set()
        await goes_on.wait()
        return await plan(document)

    client.office.submissions.plan = wait_and_plan
    call = client.jobs.Validate(pb.ValidateRequest(job_yaml=client.document))
    await inside.wait()
    yield call, goes_on


async def refusal(call: Any) -> tuple[grpc.StatusCode, str, int]:
    """Give the code, the reason and the seconds to wait of a call that is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    status = rpc_status.from_call(caught.value)
    assert status is not None
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(retry)
    return caught.value.code(), info.reason, retry.retry_delay.seconds


def test_a_call_that_runs_is_finished_and_a_new_one_refused(serve):
    """The one gets its answer; the other is told when to come again, by a reason that a program can read."""

    async def work(client) -> None:
        async with a_call_that_waits(client) as (call, goes_on):
            end = asyncio.create_task(client.server.stop(60))
            await until(lambda: client.server._gate._closed)
            told = await refusal(client.jobs.List(pb.ListRequest()))
            assert told == (grpc.StatusCode.UNAVAILABLE, "DRAINING", 1)
            told = await refusal(client.artifacts.Upload(iter([artifact_pb.UploadRequest(data=b"late")])))
            assert told == (grpc.StatusCode.UNAVAILABLE, "DRAINING", 1)
            assert not end.done()
            goes_on.set()
            assert (await call).plan.name == "example"
            await end
        assert client.telemetry.metrics.registry.get_sample_value(
            "jobd_rpcs_total", {"service": "jobapi.v1.JobService", "method": "List", "code": "UNAVAILABLE"}
        )

    serve(work)


def test_probes_hear_of_the_end_before_it_comes(serve):
    """While calls still run, every service is NOT_SERVING already, also for who watches."""

    async def work(client) -> None:
        watch = client.health.Watch(health_pb2.HealthCheckRequest(service="jobapi.v1.JobService"))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        async with a_call_that_waits(client) as (call, goes_on):
            end = asyncio.create_task(client.server.stop(60))
            assert (await watch.read()).status == NOT_SERVING
            for name in ("", "jobapi.v1.ModuleService"):
                assert (await client.health.Check(health_pb2.HealthCheckRequest(service=name))).status == NOT_SERVING
            goes_on.set()
            await call
            await end

    serve(work)


def test_an_upload_that_does_not_end_is_cut_off(serve):
    """After the grace it fails with a code that means to try again, and nothing of it stays."""

    async def work(client) -> None:
        async def endless() -> AsyncIterator[artifact_pb.UploadRequest]:
            yield artifact_pb.UploadRequest(data=b"x" * 1000)
            await asyncio.Event().wait()

        call = client.artifacts.Upload(endless())
        folder = client.office.state.uploads
        await until(lambda: any(folder.iterdir()))
        await client.server.stop(0.1)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        await until(lambda: not any(folder.iterdir()))

    serve(work)


@pytest.mark.parametrize("kind", ["watch", "watch_jobs", "logs"])
def test_streams_end_at_once_and_can_be_resumed(serve, kind: str):
    """A stream that waits for news is told to come again; the end of the daemon waits for none of them."""

    async def work(client) -> None:
        job = await client.submit()
        await client.happen(job.id, *client.running)
        call: Any = {
            "watch": lambda: client.jobs.Watch(pb.WatchRequest(id=job.id)),
            "watch_jobs": lambda: client.jobs.WatchJobs(pb.WatchJobsRequest()),
            "logs": lambda: client.jobs.Logs(pb.LogsRequest(id=job.id, follow=True)),
        }[kind]()
        messages = aiter(call)
        if kind != "logs":
            await anext(messages)
        await until(lambda: client.server._gate._inside)
        client.office.watcher.drain()
        await asyncio.wait_for(client.server.stop(60), 30)
        told = await refusal(client.drained(messages))
        assert told == (grpc.StatusCode.UNAVAILABLE, "DRAINING", 1)

    serve(work)
