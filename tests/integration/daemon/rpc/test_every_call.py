"""What holds for every call: who may call, what an unforeseen fault tells, health and the list of modules."""

import grpc
import pytest
from grpc_health.v1 import health_pb2
from jobapi.v1 import (
    artifact_service_pb2 as artifact_pb,
)
from jobapi.v1 import (
    artifact_service_pb2_grpc,
    job_service_pb2_grpc,
)
from jobapi.v1 import (
    job_service_pb2 as pb,
)
from jobapi.v1 import (
    module_service_pb2 as module_pb,
)

pytestmark = pytest.mark.timeout(60)


def test_modules_are_listed(serve):
    """A module is told with its files; one that is not there is an error."""

    async def work(client) -> None:
        listed = await client.modules.ListModules(module_pb.ListModulesRequest())
        assert [(module.name, module.inputs[0].param_name) for module in listed.modules] == [("copy", "input")]
        told = await client.refused(client.modules.ListModules(module_pb.ListModulesRequest(name="cpoy")))
        assert told[:2] == ("NOT_FOUND", "MODULE_NOT_FOUND")

    serve(work)


def test_over_tcp_the_token_is_needed(serve):
    """Every service refuses a call over TCP that has no token or a wrong one, streams too; with it, it is served."""

    async def work(client) -> None:
        job = await client.submit()
        async with grpc.aio.insecure_channel(client.tcp) as channel:
            jobs = job_service_pb2_grpc.JobServiceStub(channel)
            artifacts = artifact_service_pb2_grpc.ArtifactServiceStub(channel)
            for metadata in ((), (("authorization", "Bearer wrong"),), (("authorization", f"Basic {client.token}"),)):
                for call in (
                    jobs.Get(pb.GetRequest(id=job.id), metadata=metadata),
                    jobs.Watch(pb.WatchRequest(id=job.id), metadata=metadata),
                    artifacts.Upload(iter([artifact_pb.UploadRequest(data=b"x")]), metadata=metadata),
                ):
                    assert (await client.refused(call))[:2] == ("UNAUTHENTICATED", "UNAUTHENTICATED")
            right = (("authorization", f"Bearer {client.token}"),)
            assert (await jobs.Get(pb.GetRequest(id=job.id), metadata=right)).job.id == job.id
        assert list(client.office.state.uploads.iterdir()) == []

    serve(work)


def test_a_fault_of_the_daemon_tells_no_secrets(serve, monkeypatch: pytest.MonkeyPatch):
    """An error that nobody foresaw reaches the client as an incident's number, not as the daemon's inside."""

    async def work(client) -> None:
        def broken(_job_id: str) -> None:
            raise ZeroDivisionError("/secret/path")

        job = await client.submit()
        monkeypatch.setattr(client.office.store, "get", broken)
        code, _reason, text = await client.refused(client.jobs.Get(pb.GetRequest(id=job.id)))
        assert code == "INTERNAL"
        assert "incident" in text
        assert "secret" not in text

    serve(work)


def test_health_is_told(serve):
    """A prober is told that the daemon as a whole and the job service serve."""

    async def work(client) -> None:
        for name in ("", "jobapi.v1.JobService"):
            answer = await client.health.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING

    serve(work)
