"""The services on a real server and real sockets, and a client of all of them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2_grpc
from grpc_status import rpc_status
from jobapi.v1 import (
    artifact_service_pb2_grpc,
    job_pb2,
    job_service_pb2_grpc,
    module_service_pb2_grpc,
)
from jobapi.v1 import (
    job_service_pb2 as pb,
)

from jobd import events
from jobd.audit import AuditLog
from jobd.rpc.artifact_service import ArtifactService
from jobd.rpc.job_service import JobService
from jobd.rpc.module_service import ModuleService
from jobd.rpc.server import RpcServer
from jobd.rpc.server_service import ServerService

TOKEN = "the-token"
ONE = {"step": "one", "entry": "copy"}
RUNNING = (
    events.JobStarted(flow_run_id="run-1"),
    events.EntryWaiting(**ONE),
    events.EntryStarted(**ONE, attempt=1, pid=1),
)
DONE = (
    events.ArtifactPublished(name="mid.txt", size_bytes=5),
    events.EntrySucceeded(**ONE, attempt=1),
    events.ArtifactRemoved(name="in.txt", reason="its last consumer has succeeded"),
    events.EntryWaiting(step="two", entry="copy"),
    events.EntryStarted(step="two", entry="copy", attempt=1, pid=2),
    events.ArtifactPublished(name="out.txt", size_bytes=10),
    events.EntrySucceeded(step="two", entry="copy", attempt=1),
    events.JobSucceeded(),
)


@dataclass
class Client:
    """Stubs of every service, and the office behind them."""

    office: Any
    tcp: str
    jobs: Any
    artifacts: Any
    modules: Any
    health: Any
    document: bytes

    running = RUNNING
    done = DONE
    token = TOKEN

    async def submit(self, **rest: Any) -> job_pb2.Job:
        """Submit the example."""
        return (await self.jobs.Submit(self.request(**rest))).job

    def request(self, **rest: Any) -> pb.SubmitRequest:
        """Make the request that submits the example."""
        inputs = [pb.JobInput(param_name="input", path=str(self.office.input))]
        return pb.SubmitRequest(**({"job_yaml": self.document, "inputs": inputs} | rest))

    async def happen(self, job_id: str, *happened: Any) -> None:
        """Let a job's runner write something down, and have it taken in."""
        self.office.write(job_id, *happened)
        await self.office.ingest.take(job_id)

    @staticmethod
    async def drained(call: Any) -> None:
        """Bring a call to its end, a stream as well."""
        if hasattr(call, "__aiter__"):
            async for _message in call:
                pass
        else:
            await call

    @staticmethod
    async def refused(call: Any) -> tuple[str, str, str]:
        """Make a call that is to fail; give its code, its reason and its text."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await Client.drained(call)
        error = caught.value
        reason = ""
        status = rpc_status.from_call(error)
        if status is not None:
            info = error_details_pb2.ErrorInfo()
            assert status.details[0].Unpack(info)
            reason = info.reason
        return error.code().name, reason, error.details()


@pytest.fixture
def serve(opened, document: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Give a function that runs a test's coroutine with a client on the unix socket of a real server."""

    @contextlib.asynccontextmanager
    async def serving() -> AsyncIterator[Client]:
        async with opened() as office:
            prefect = office.supervisor._launcher._prefect
            server = RpcServer(
                jobs=JobService(
                    store=office.store,
                    submissions=office.submissions,
                    supervisor=office.supervisor,
                    watcher=office.watcher,
                    state=office.state,
                    dashboard_url=prefect.ui_url,
                ),
                artifacts=ArtifactService(store=office.store, state=office.state, uploads=office.uploads),
                modules=ModuleService(office.catalog),
                server=ServerService(prefect=prefect, cpus=2, count=office.store.count),
                token=TOKEN,
                audit=AuditLog(office.state.audit, log=structlog.get_logger()),
                log=structlog.get_logger(),
            )
            monkeypatch.chdir(tmp_path)
            port = server._server.add_insecure_port("127.0.0.1:0")
            await server.start(["unix:jobd.sock"])
            async with grpc.aio.insecure_channel("unix:jobd.sock") as channel:
                yield Client(
                    office=office,
                    tcp=f"127.0.0.1:{port}",
                    jobs=job_service_pb2_grpc.JobServiceStub(channel),
                    artifacts=artifact_service_pb2_grpc.ArtifactServiceStub(channel),
                    modules=module_service_pb2_grpc.ModuleServiceStub(channel),
                    health=health_pb2_grpc.HealthStub(channel),
                    document=document,
                )
            office.watcher.drain()
            await server.stop(0)

    async def begin(work: Callable) -> None:
        async with serving() as client:
            await work(client)

    return lambda work: asyncio.run(begin(work))
