"""The Python client of jobd: synchronous, typed, and the one that jobctl itself uses."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import grpc
from jobapi.v1 import (
    artifact_service_pb2,
    artifact_service_pb2_grpc,
    job_pb2,
    job_service_pb2,
    job_service_pb2_grpc,
    module_service_pb2,
    module_service_pb2_grpc,
)

from jobctl.address import Endpoint, resolve_endpoint
from jobctl.download import Download
from jobctl.errors import JobctlError
from jobctl.event_stream import EventStream
from jobctl.log_stream import LogStream
from jobctl.patience import Outage, Patience
from jobctl.statuses import translate
from jobctl.upload import Upload

_Request = TypeVar("_Request")
_T = TypeVar("_T")
_CALL_SECONDS = 10.0
_CHECK_SECONDS = 60.0  # a job file of the largest size takes the daemon seconds to check
_COPY_SECONDS = 600.0  # inputs by path are copied before Submit answers
_SUBMIT_PATIENCE = Patience(outage=10.0)
_PAGE = 200
_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),  # the plan of a job with 10,000 entries
)


class Client:
    """A connection to one daemon. Every method raises subclasses of `jobctl.errors.JobctlError`, and nothing else.

    Ids may be given as an unambiguous beginning or as `@latest`.
    """

    def __init__(self, endpoint: Endpoint, *, patience: Patience | None = None) -> None:
        """Hold a channel; the connection is made with the first call."""
        self.address = endpoint.address
        self._patience = patience or Patience()
        self._metadata = (("authorization", f"Bearer {endpoint.token}"),) if endpoint.token else ()
        # A proxy from the environment is for the outside, and cannot reach this machine's own ports.
        options = [*_OPTIONS, ("grpc.enable_http_proxy", 0 if endpoint.address.is_local else 1)]
        self._channel = grpc.insecure_channel(str(endpoint.address), options)
        self._jobs = job_service_pb2_grpc.JobServiceStub(self._channel)
        self._artifacts = artifact_service_pb2_grpc.ArtifactServiceStub(self._channel)
        self._modules = module_service_pb2_grpc.ModuleServiceStub(self._channel)
        self._server = job_service_pb2_grpc.ServerServiceStub(self._channel)

    @classmethod
    def connect(cls, address: str | None = None, token_file: str | None = None) -> Self:
        """Find the daemon as `jobctl` does, by arguments, environment and what a running daemon wrote down."""
        return cls(resolve_endpoint(address, token_file))

    def close(self) -> None:
        """Close the connection; calls that still run end."""
        self._channel.close()

    def __enter__(self) -> Self:
        """Give the client itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the connection."""
        self.close()

    def info(self) -> job_service_pb2.GetServerInfoResponse:
        """Tell the daemon's version, limits and dashboard."""
        return self._ask(self._server.GetServerInfo, job_service_pb2.GetServerInfoRequest())

    def validate(self, job_yaml: bytes) -> job_service_pb2.ValidateResponse:
        """Check a job file; the answer holds every violation, or the plan."""
        request = job_service_pb2.ValidateRequest(job_yaml=job_yaml)
        return self._ask(self._jobs.Validate, request, _CHECK_SECONDS)

    def submit(
        self,
        job_yaml: bytes,
        *,
        request_id: str,
        inputs: Sequence[job_service_pb2.JobInput] = (),
        priority: int | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> job_service_pb2.SubmitResponse:
        """Submit a job. A daemon that is away is asked again for ten seconds: `request_id` makes that safe."""
        request = job_service_pb2.SubmitRequest(
            job_yaml=job_yaml, inputs=inputs, request_id=request_id, priority=priority, labels=labels
        )
        outage = Outage(_SUBMIT_PATIENCE)
        while True:
            try:
                return self._ask(self._jobs.Submit, request, _COPY_SECONDS)
            except JobctlError as error:
                if error.code != "UNAVAILABLE":
                    raise
                outage.wait(error)

    def watch(
        self,
        job_id: str,
        *,
        after: int = 0,
        timeout: float | None = None,
        resuming: bool = False,
        on_outage: Callable[[JobctlError], None] = lambda _error: None,
    ) -> Iterator[job_pb2.Job | job_pb2.Event]:
        """Follow a job to its end, across interruptions: see `EventStream`."""
        call = partial(self._jobs.Watch, metadata=self._metadata)
        stream = EventStream(
            call=call,
            address=self.address,
            job_id=job_id,
            sequence=after,
            timeout=timeout,
            resuming=resuming,
            patience=self._patience,
            on_outage=on_outage,
        )
        return iter(stream)

    def cancel(self, job_id: str, reason: str = "") -> job_pb2.Job:
        """Ask for a job's end; give the job as it is then, which may be CANCELLING still."""
        return self._ask(self._jobs.Cancel, job_service_pb2.CancelRequest(id=job_id, reason=reason)).job

    def get(self, job_id: str) -> job_pb2.Job:
        """Give everything known of a job."""
        return self._ask(self._jobs.Get, job_service_pb2.GetRequest(id=job_id)).job

    def list_jobs(
        self, *, states: Sequence[job_pb2.JobState.ValueType] = (), name: str = "", limit: int | None = None
    ) -> Iterator[job_pb2.Job]:
        """Give jobs, newest first, without steps and artifacts; all of them, or `limit`."""
        token, left = "", limit
        while left is None or left > 0:
            request = job_service_pb2.ListRequest(
                page_size=_PAGE if left is None else min(left, _PAGE), page_token=token, states=states, name=name
            )
            answer = self._ask(self._jobs.List, request)
            yield from answer.jobs if left is None else answer.jobs[:left]
            left = None if left is None else left - len(answer.jobs)
            token = answer.next_page_token
            if not token:
                return

    def logs(
        self, job_id: str, *, step: str = "", entry: str = "", attempt: int = 0, follow: bool = False
    ) -> Iterator[job_service_pb2.LogsResponse]:
        """Give the logs of a job's entries, each byte once, across interruptions; `follow` goes on to their end."""
        request = job_service_pb2.LogsRequest(id=job_id, step=step, entry=entry, attempt=attempt, follow=follow)
        probe = partial(self.get, job_id)
        return iter(LogStream(open_stream=self._open_logs, request=request, probe=probe, patience=self._patience))

    def upload(self, path: Path, on_bytes: Callable[[int], None] = lambda _count: None) -> str:
        """Send a file or folder for a later submit; give the upload's id."""
        return Upload(path, on_bytes).run(self._artifacts, self.address, self._metadata)

    def download(
        self,
        job_id: str,
        name: str,
        target: Path,
        *,
        force: bool = False,
        on_bytes: Callable[[int], None] = lambda _count: None,
    ) -> Path:
        """Fetch an artifact into the file or folder `target`: see `Download`."""
        opening = partial(self._open_download, job_id, name)
        download = Download(open_stream=opening, target=target, force=force, patience=self._patience, on_bytes=on_bytes)
        return download.run()

    def modules(self, name: str = "") -> module_service_pb2.ListModulesResponse:
        """Tell which modules the daemon can run, or about one of them."""
        return self._ask(self._modules.ListModules, module_service_pb2.ListModulesRequest(name=name))

    def _ask(
        self, method: "grpc.UnaryUnaryMultiCallable[_Request, _T]", request: _Request, seconds: float = _CALL_SECONDS
    ) -> _T:
        with self._translated():
            return method(request, timeout=seconds, metadata=self._metadata)

    def _open_logs(self, request: job_service_pb2.LogsRequest) -> Iterator[job_service_pb2.LogsResponse]:
        call = self._jobs.Logs(request, metadata=self._metadata)
        try:
            with self._translated():
                yield from call
        finally:
            call.cancel()

    def _open_download(self, job_id: str, name: str, offset: int) -> Iterator[artifact_service_pb2.DownloadResponse]:
        request = artifact_service_pb2.DownloadRequest(job_id=job_id, name=name, offset=offset)
        call = self._artifacts.Download(request, metadata=self._metadata)
        try:
            with self._translated():
                yield from call
        finally:
            call.cancel()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            raise translate(error, self.address) from error
