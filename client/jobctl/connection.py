"""The way to one daemon: its channel, its services, and its errors as this package's own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import grpc
from jobapi.v1 import artifact_service_pb2_grpc, job_service_pb2_grpc, module_service_pb2_grpc

from jobctl.address import Endpoint
from jobctl.errors import JobctlError
from jobctl.patience import Outage, Patience
from jobctl.reader import Call, Reader
from jobctl.statuses import translate

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")
_CALL_SECONDS = 10.0
_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),  # the plan of a job with 10,000 entries
)


class Connection:
    """A channel to a daemon; its calls raise subclasses of `jobctl.errors.JobctlError`, and nothing else."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Hold a channel; the connection is made with the first call."""
        self.address = endpoint.address
        self.metadata = (("authorization", f"Bearer {endpoint.token}"),) if endpoint.token else ()
        # A proxy from the environment is for the outside, and cannot reach this machine's own ports.
        options = [*_OPTIONS, ("grpc.enable_http_proxy", 0 if endpoint.address.is_local else 1)]
        self._channel = grpc.insecure_channel(str(endpoint.address), options)
        self.jobs = job_service_pb2_grpc.JobServiceStub(self._channel)
        self.artifacts = artifact_service_pb2_grpc.ArtifactServiceStub(self._channel)
        self.modules = module_service_pb2_grpc.ModuleServiceStub(self._channel)
        self.server = job_service_pb2_grpc.ServerServiceStub(self._channel)

    def close(self) -> None:
        """Close the channel; calls that still run end."""
        self._channel.close()

    def ask(
        self,
        method: "grpc.UnaryUnaryMultiCallable[_Request, _Response]",
        request: _Request,
        *,
        seconds: float = _CALL_SECONDS,
    ) -> _Response:
        """Make one call, which may take `seconds`."""
        with self._translated():
            return method(request, timeout=seconds, metadata=self.metadata)

    def insist(
        self,
        method: "grpc.UnaryUnaryMultiCallable[_Request, _Response]",
        request: _Request,
        *,
        patience: Patience,
        seconds: float = _CALL_SECONDS,
    ) -> _Response:
        """Make a call that is safe to repeat, again and again while the daemon is away and the patience lasts."""
        outage = Outage(patience)
        while True:
            try:
                return self.ask(method, request, seconds=seconds)
            except JobctlError as error:
                if error.code != "UNAVAILABLE":
                    raise
                outage.wait(error)

    def stream(self, opening: "Callable[[], Call[_Response]]") -> Iterator[_Response]:
        """Read a stream; it ends with the reader."""
        with self._translated(), Reader(opening()) as reader:
            yield from reader.read()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            raise translate(error, self.address) from error
