"""Who may do what over TCP: tokens and their roles, whose job it is, and what is written down of those turned away."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from jobapi.v1 import artifact_service_pb2 as artifact_pb
from jobapi.v1 import (
    artifact_service_pb2_grpc,
    job_pb2,
    job_service_pb2_grpc,
    module_service_pb2_grpc,
)
from jobapi.v1 import job_service_pb2 as pb
from jobapi.v1 import module_service_pb2 as module_pb

from jobd import events
from jobd.identity import Role

pytestmark = pytest.mark.timeout(300)


@contextlib.asynccontextmanager
async def calling(client: Any, secret: str) -> AsyncIterator[Any]:
    """Give stubs that call over TCP with a token."""

    class WithToken(grpc.aio.UnaryUnaryClientInterceptor):
        async def intercept_unary_unary(self, continuation, details, request):
            return await continuation(details._replace(metadata=metadata), request)

    metadata = (("authorization", f"Bearer {secret}"),)
    async with grpc.aio.insecure_channel(client.tcp, interceptors=[WithToken()]) as channel:
        yield SimpleNamespace(
            jobs=job_service_pb2_grpc.JobServiceStub(channel),
            artifacts=artifact_service_pb2_grpc.ArtifactServiceStub(channel),
            modules=module_service_pb2_grpc.ModuleServiceStub(channel),
            server=job_service_pb2_grpc.ServerServiceStub(channel),
            reflection=reflection_pb2_grpc.ServerReflectionStub(channel),
            metadata=metadata,
        )


async def submit(client: Any, stubs: Any, **rest: Any) -> job_pb2.Job:
    """Submit the example with an upload, as a caller over TCP has to."""
    upload = await stubs.artifacts.Upload(iter([artifact_pb.UploadRequest(data=b"given")]), metadata=stubs.metadata)
    inputs = [pb.JobInput(param_name="input", upload_id=upload.upload_id)]
    return (await stubs.jobs.Submit(pb.SubmitRequest(job_yaml=client.document, inputs=inputs, **rest))).job


async def cancel(client: Any, stubs: Any, job_id: str) -> None:
    """Cancel a job, and have its runner, if one was asked for, say that it has ended."""
    job = (await stubs.jobs.Cancel(pb.CancelRequest(id=job_id))).job
    if job.state == job_pb2.JOB_STATE_CANCELLING:
        await client.happen(job_id, events.JobCancelled(reason=job.reason))


def audited(client: Any) -> list[dict[str, Any]]:
    """Read the audit log."""
    return [json.loads(line) for line in client.office.state.audit.read_text().splitlines()]


def test_a_reader_may_look_and_not_touch(serve):
    """With the role read everything can be seen, and every change is refused, with the role that it needs."""

    async def work(client) -> None:
        job = await client.submit()
        async with calling(client, client.book.create("viewer", Role.READ)) as viewer:
            assert (await viewer.jobs.Get(pb.GetRequest(id=job.id))).job.owner == "local"
            assert len((await viewer.jobs.List(pb.ListRequest())).jobs) == 1
            assert not (await viewer.jobs.Validate(pb.ValidateRequest(job_yaml=client.document))).violations
            assert (await viewer.modules.ListModules(module_pb.ListModulesRequest())).modules
            download = viewer.artifacts.Download(
                artifact_pb.DownloadRequest(job_id=job.id, name="in.txt"), metadata=viewer.metadata
            )
            assert b"".join([message.data async for message in download]) == b"given"
            for call in (
                viewer.jobs.Submit(client.request()),
                viewer.jobs.Cancel(pb.CancelRequest(id=job.id)),
                viewer.jobs.Retry(pb.RetryRequest(id=job.id)),
                viewer.jobs.Delete(pb.DeleteRequest(id=job.id)),
                viewer.artifacts.Upload(iter([artifact_pb.UploadRequest(data=b"x")]), metadata=viewer.metadata),
            ):
                code, reason, text = await client.refused(call)
                assert (code, reason) == ("PERMISSION_DENIED", "FORBIDDEN")
                assert "viewer has the role read" in text
                assert "needs submit" in text
            code, reason, _ = await client.refused(viewer.server.OpenDashboard(pb.OpenDashboardRequest()))
            assert (code, reason) == ("PERMISSION_DENIED", "FORBIDDEN")
        assert {line["result"] for line in audited(client) if line["who"] == "viewer"} == {"FORBIDDEN"}

    serve(work)


def test_a_job_is_its_submitters(serve):
    """Whoever submits a job owns it: others of the same role may look at it, not end, retry or remove it."""

    async def work(client) -> None:
        async with (
            calling(client, client.book.create("ci", Role.SUBMIT)) as ci,
            calling(client, client.book.create("nightly", Role.SUBMIT)) as nightly,
            calling(client, client.book.create("boss", Role.ADMIN)) as boss,
        ):
            job = await submit(client, ci)
            assert job.owner == "ci"
            others = await client.submit()
            for id_, stubs in ((job.id, nightly), (others.id, ci)):
                assert (await stubs.jobs.Get(pb.GetRequest(id=id_))).job.id == id_
                for call in (
                    stubs.jobs.Cancel(pb.CancelRequest(id=id_)),
                    stubs.jobs.Cancel(pb.CancelRequest(id=id_[:11])),
                    stubs.jobs.Retry(pb.RetryRequest(id=id_)),
                    stubs.jobs.Delete(pb.DeleteRequest(id=id_)),
                ):
                    assert (await client.refused(call))[:2] == ("PERMISSION_DENIED", "NOT_OWNER")
            await cancel(client, ci, job.id)
            again = (await ci.jobs.Retry(pb.RetryRequest(id=job.id))).job
            assert (again.owner, again.retry_of) == ("ci", job.id)
            assert (await nightly.jobs.Get(pb.GetRequest(id=again.id))).job.owner == "ci"
            await cancel(client, boss, again.id)
            await ci.jobs.Delete(pb.DeleteRequest(id=job.id))
            await boss.jobs.Delete(pb.DeleteRequest(id=again.id))
            assert (await client.refused(ci.jobs.Cancel(pb.CancelRequest(id=job.id))))[1] == "JOB_NOT_FOUND"
        whose = [(line["who"], line["method"].rpartition("/")[2], line["result"]) for line in audited(client)]
        assert ("nightly", "Cancel", "NOT_OWNER") in whose
        assert ("ci", "Cancel", "ok") in whose
        assert ("boss", "Delete", "ok") in whose

    serve(work)


def test_the_owner_is_told_in_the_first_event(serve):
    """A watcher learns the owner from the event that made the job, which is what the job is replayed from."""

    async def work(client) -> None:
        async with calling(client, client.book.create("ci", Role.SUBMIT)) as ci:
            job = await submit(client, ci)
            watch = ci.jobs.Watch(pb.WatchRequest(id=job.id), metadata=ci.metadata)
            snapshot, first = await watch.read(), await watch.read()
            assert snapshot.snapshot.owner == "ci"
            assert first.event.job_submitted.owner == "ci"
            watch.cancel()

    serve(work)


def test_a_revoked_token_ends_what_it_opened(serve):
    """From the moment of its revocation a token opens nothing, and a watch that it opened is told nothing more."""

    async def work(client) -> None:
        job = await client.submit()
        async with calling(client, client.book.create("ci", Role.READ)) as ci:
            watch = ci.jobs.Watch(pb.WatchRequest(id=job.id), metadata=ci.metadata)
            while not (await watch.read()).event.HasField("artifact_published"):
                pass
            client.book.revoke("ci")
            assert (await client.refused(ci.jobs.Get(pb.GetRequest(id=job.id))))[1] == "UNAUTHENTICATED"
            await client.happen(job.id, *client.running)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await watch.read()
            assert caught.value.code().name == "UNAUTHENTICATED"

    serve(work)


def test_a_caller_can_ask_who_it_is(serve):
    """The server's information tells the caller's name and role, and every limit."""

    async def work(client) -> None:
        async with calling(client, client.book.create("ci", Role.READ)) as ci:
            info = await ci.server.GetServerInfo(pb.GetServerInfoRequest())
            assert (info.caller, info.role) == ("ci", "read")
            limits = {limit.name: limit.value for limit in info.limits}
            assert limits["message"] == info.max_message_bytes
            assert limits["queued"] == 10_000
        async with calling(client, client.token) as own:
            info = await own.server.GetServerInfo(pb.GetServerInfoRequest())
            assert (info.caller, info.role) == ("local", "admin")

    serve(work)


def test_reflection_needs_a_token(serve):
    """What the daemon can do is told to those who may call it; the health check alone is for everybody."""

    async def ask(stub: Any, metadata: Any) -> list[str]:
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        call = stub.ServerReflectionInfo(iter([request]), metadata=metadata)
        return [service.name async for answer in call for service in answer.list_services_response.service]

    async def work(client) -> None:
        async with calling(client, client.book.create("ci", Role.READ)) as ci:
            assert "jobapi.v1.JobService" in await ask(ci.reflection, ci.metadata)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await ask(ci.reflection, ())
            assert caught.value.code().name == "UNAUTHENTICATED"

    serve(work)


def test_a_flood_of_denied_calls_leaves_few_lines(serve):
    """A thousand calls without a token are all refused, and the audit log holds a few of them and a count."""

    async def work(client) -> None:
        async with grpc.aio.insecure_channel(client.tcp) as channel:
            jobs = job_service_pb2_grpc.JobServiceStub(channel)
            told = await asyncio.gather(*(client.refused(jobs.List(pb.ListRequest())) for _ in range(1000)))
        assert {item[0] for item in told} == {"UNAUTHENTICATED"}
        lines = audited(client)
        assert 1 <= len(lines) <= 30
        assert {line["result"] for line in lines} == {"UNAUTHENTICATED"}
        assert {line["who"] for line in lines} == {""}
        job = await client.submit()
        assert audited(client)[-1]["job"] == job.id

    serve(work)
