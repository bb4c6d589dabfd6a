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
from jobd.call_limits import CallLimits
from jobd.doors import CertificateRoles, Doors
from jobd.reserve import Reserve
from jobd.rpc.artifact_service import ArtifactService
from jobd.rpc.health import Health
from jobd.rpc.job_service import JobService
from jobd.rpc.module_service import ModuleService
from jobd.rpc.server import RpcServer
from jobd.rpc.server_service import ServerService
from jobd.telemetry import Telemetry
from jobd.tls import TlsFiles, TlsKeeper
from jobd.tokens import TokenBook

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
    book: TokenBook
    tcp: str
    jobs: Any
    artifacts: Any
    modules: Any
    health: Any
    server: RpcServer
    judge: Health
    telemetry: Telemetry
    document: bytes

    running = RUNNING
    done = DONE
    token = TOKEN

    async def submit(self, **rest: Any) -> job_pb2.Job:
        """Submit the example, and wait until it has been queued, for which Submit itself does not wait."""
        job = (await self.jobs.Submit(self.request(**rest))).job
        await self.office.settle()
        return job

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
    async def serving(
        limits: CallLimits, certificates: CertificateRoles, files: TlsFiles | None
    ) -> AsyncIterator[Client]:
        async with opened(limits=limits) as office:
            book = TokenBook(office.state.tokens)
            tls = TlsKeeper(files, structlog.get_logger()) if files else None
            prefect = office.supervisor._launcher._prefect
            health = Health(store=office.store, reserve=Reserve(office.state.root, 0), log=structlog.get_logger())
            telemetry = Telemetry(structlog.get_logger(), metrics="127.0.0.1:0")
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
                server=ServerService(prefect=prefect, cpus=2, store=office.store, limits=limits),
                doors=Doors(token=TOKEN, book=book, certificates=certificates, log=structlog.get_logger()),
                limits=limits,
                tls=tls,
                audit=AuditLog(office.state.audit, log=structlog.get_logger()),
                health=health,
                telemetry=telemetry,
                log=structlog.get_logger(),
            )
            monkeypatch.chdir(tmp_path)
            _socket, tcp = await server.start(["unix:jobd.sock", "127.0.0.1:0"])
            try:
                async with grpc.aio.insecure_channel("unix:jobd.sock") as channel:
                    yield Client(
                        office=office,
                        book=book,
                        tcp=tcp,
                        jobs=job_service_pb2_grpc.JobServiceStub(channel),
                        artifacts=artifact_service_pb2_grpc.ArtifactServiceStub(channel),
                        modules=module_service_pb2_grpc.ModuleServiceStub(channel),
                        health=health_pb2_grpc.HealthStub(channel),
                        server=server,
                        judge=health,
                        telemetry=telemetry,
                        document=document,
                    )
            finally:
                # A server that is left to a closed loop would keep the calls of later tests waiting.
                office.watcher.drain()
                await server.stop(0)

    async def begin(work: Callable, *options: Any) -> None:
        async with serving(*options) as client:
            await work(client)

    def run(
        work: Callable,
        *,
        limits: CallLimits = CallLimits(),  # noqa: B008 - it cannot be changed
        certificates: CertificateRoles = CertificateRoles(),  # noqa: B008 - it cannot be changed
        tls: TlsFiles | None = None,
    ) -> None:
        asyncio.run(begin(work, limits, certificates, tls))

    return run
