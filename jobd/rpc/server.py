"""The gRPC server: its addresses, its options, its services."""

from collections.abc import Sequence

import grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health import SERVICE_NAME as HEALTH_SERVICE
from grpc_reflection.v1alpha import reflection
from jobapi.v1 import artifact_service_pb2_grpc, job_service_pb2_grpc, module_service_pb2_grpc
from structlog.typing import FilteringBoundLogger

from jobd.audit import AuditLog
from jobd.call_limits import MAX_MESSAGE_BYTES, CallLimits
from jobd.doors import Doors
from jobd.errors import ConfigError
from jobd.rpc.artifact_service import ArtifactService
from jobd.rpc.gate import Gate
from jobd.rpc.health import SERVICES, Health
from jobd.rpc.interceptor import CallInterceptor
from jobd.rpc.job_service import JobService
from jobd.rpc.module_service import ModuleService
from jobd.rpc.reading import ReadingInterceptor
from jobd.rpc.server_service import ServerService
from jobd.rpc.telemetry import TelemetryInterceptor
from jobd.telemetry import Telemetry
from jobd.tls import TlsKeeper, TlsMaterial

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

_LAST_SECONDS = 0.5
"""What is left for the watches of probes, which nobody ends, and for what gRPC has not sent yet."""


class RpcServer:
    """The server of one daemon."""

    def __init__(
        self,
        *,
        jobs: JobService,
        artifacts: ArtifactService,
        modules: ModuleService,
        server: ServerService,
        doors: Doors,
        limits: CallLimits,
        tls: TlsKeeper | None = None,
        audit: AuditLog,
        health: Health,
        telemetry: Telemetry,
        log: FilteringBoundLogger,
    ) -> None:
        """Put the services together; nothing is served before `start`. With `tls`, TCP is served in no other way."""
        self._tls = tls
        self._gate = Gate()
        self._health = health
        self._log = log
        self._server = grpc.aio.server(
            options=_OPTIONS,
            interceptors=[
                ReadingInterceptor(),
                TelemetryInterceptor(telemetry, self._gate),
                CallInterceptor(doors=doors, limits=limits, audit=audit, log=log),
            ],
        )
        job_service_pb2_grpc.add_JobServiceServicer_to_server(jobs, self._server)
        job_service_pb2_grpc.add_ServerServiceServicer_to_server(server, self._server)
        artifact_service_pb2_grpc.add_ArtifactServiceServicer_to_server(artifacts, self._server)
        module_service_pb2_grpc.add_ModuleServiceServicer_to_server(modules, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(health.servicer, self._server)
        reflection.enable_server_reflection((*SERVICES, HEALTH_SERVICE, reflection.SERVICE_NAME), self._server)

    async def start(self, addresses: Sequence[str]) -> list[str]:
        """Serve, and give the addresses with the ports that were chosen for 0; ConfigError when one cannot be bound."""
        served = []
        for address in addresses:
            try:
                port = self._add_port(address)
                served.append(f"{address.removesuffix('0')}{port}" if address.endswith(":0") else address)
            except RuntimeError as error:
                raise ConfigError(
                    f"{address} cannot be served: {error}", hint="free it, or choose another with --listen"
                ) from error
        await self._server.start()
        await self._health.look()
        return served

    def _add_port(self, address: str) -> int:
        if self._tls is None or address.startswith("unix:"):
            return self._server.add_insecure_port(address)
        return self._server.add_secure_port(address, _credentials(self._tls))

    async def stop(self, grace: float) -> None:
        """Refuse new calls with a status that says to come again, give those that run `grace` seconds, and stop."""
        await self._health.drain()
        cut = await self._gate.close(grace)
        if cut:
            self._log.warning("calls_cut_off", count=cut, after_seconds=grace)
        await self._server.stop(_LAST_SECONDS)


def _credentials(tls: TlsKeeper) -> grpc.ServerCredentials:
    """Give credentials that look for new files at every handshake, in whatever thread of gRPC's that is."""
    given = tls.material()

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        nonlocal given
        material = tls.material()
        if material is given:
            return None
        given = material
        return _configuration(material)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(given),
        fetch,  # type: ignore[arg-type]  # the stubs do not know that None means "as before"
        require_client_authentication=tls.asks_clients,
    )


def _configuration(material: TlsMaterial) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(material.key, material.certificate)], root_certificates=material.client_authority
    )
