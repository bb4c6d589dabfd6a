"""The gRPC server: its addresses, its options, its services."""

from collections.abc import Sequence

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from jobapi.v1 import (
    artifact_service_pb2,
    artifact_service_pb2_grpc,
    job_service_pb2,
    job_service_pb2_grpc,
    module_service_pb2,
    module_service_pb2_grpc,
)
from structlog.typing import FilteringBoundLogger

from jobd.audit import AuditLog
from jobd.errors import ConfigError
from jobd.rpc.artifact_service import ArtifactService
from jobd.rpc.interceptor import CallInterceptor
from jobd.rpc.job_service import JobService
from jobd.rpc.module_service import ModuleService
from jobd.rpc.server_service import MAX_MESSAGE_BYTES, ServerService

_OPTIONS = (
    # A second daemon must not share the port in silence.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),
    # By default calls beyond a thousand that come at once, as after a restart, are dropped at random.
    ("grpc.server.max_pending_requests", 20_000),
    ("grpc.server.max_pending_requests_hard_limit", 30_000),
)

_SERVICES = tuple(
    descriptor.full_name
    for module in (job_service_pb2, artifact_service_pb2, module_service_pb2)
    for descriptor in module.DESCRIPTOR.services_by_name.values()
)


class RpcServer:
    """The server of one daemon."""

    def __init__(
        self,
        *,
        jobs: JobService,
        artifacts: ArtifactService,
        modules: ModuleService,
        server: ServerService,
        token: str,
        audit: AuditLog,
        log: FilteringBoundLogger,
    ) -> None:
        """Put the services together; nothing is served before `start`."""
        self._server = grpc.aio.server(
            options=_OPTIONS, interceptors=[CallInterceptor(token=token, audit=audit, log=log)]
        )
        self._health = health.aio.HealthServicer()
        job_service_pb2_grpc.add_JobServiceServicer_to_server(jobs, self._server)
        job_service_pb2_grpc.add_ServerServiceServicer_to_server(server, self._server)
        artifact_service_pb2_grpc.add_ArtifactServiceServicer_to_server(artifacts, self._server)
        module_service_pb2_grpc.add_ModuleServiceServicer_to_server(modules, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection((*_SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)

    async def start(self, addresses: Sequence[str]) -> list[str]:
        """Serve, and give the addresses with the ports that were chosen for 0; ConfigError when one cannot be bound."""
        served = []
        for address in addresses:
            try:
                port = self._server.add_insecure_port(address)
                served.append(f"{address.removesuffix('0')}{port}" if address.endswith(":0") else address)
            except RuntimeError as error:
                raise ConfigError(
                    f"{address} cannot be served: {error}", hint="free it, or choose another with --listen"
                ) from error
        await self._server.start()
        await self._set_health(health_pb2.HealthCheckResponse.SERVING)
        return served

    async def stop(self, grace: float) -> None:
        """Refuse new calls, give those that run `grace` seconds to end, and stop."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace)

    async def _set_health(self, status: "health_pb2.HealthCheckResponse.ServingStatus") -> None:
        for name in ("", *_SERVICES):
            await self._health.set(name, status)
