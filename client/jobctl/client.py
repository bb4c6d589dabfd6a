"""The Python client of jobd: synchronous, typed, and the one that jobctl itself uses."""

import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from jobapi.v1 import artifact_service_pb2, job_pb2, job_service_pb2, module_service_pb2

from jobctl.address import Endpoint, resolve_endpoint
from jobctl.connection import Connection
from jobctl.download import Download
from jobctl.errors import JobctlError
from jobctl.event_stream import EventStream
from jobctl.job_file import read_content
from jobctl.log_stream import LogStream
from jobctl.patience import Patience
from jobctl.upload import Upload

_CHECK_SECONDS = 60.0  # a job file of the largest size takes the daemon seconds to check
_COPY_SECONDS = 600.0  # inputs by path are copied before Submit answers
_BRIEFLY = Patience(outage=10.0)
_PAGE = 200


class Client:
    """A connection to one daemon. Every method raises subclasses of `jobctl.errors.JobctlError`, and nothing else.

    Ids may be given as an unambiguous beginning or as `@latest`. Jobs, events and answers are the messages of
    `jobapi.v1`.
    """

    def __init__(self, endpoint: Endpoint, *, patience: Patience | None = None) -> None:
        """Hold a channel; the connection is made with the first call."""
        self.address = endpoint.address
        self._connection = Connection(endpoint)
        self._patience = patience or Patience()

    @classmethod
    def connect(cls, address: str | None = None, token_file: str | None = None) -> Self:
        """Find the daemon as `jobctl` does, by arguments, environment and what a running daemon wrote down."""
        return cls(resolve_endpoint(address, token_file))

    def close(self) -> None:
        """Close the connection; calls that still run end."""
        self._connection.close()

    def __enter__(self) -> Self:
        """Give the client itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the connection."""
        self.close()

    def info(self) -> job_service_pb2.GetServerInfoResponse:
        """Tell the daemon's version, limits and dashboard."""
        return self._connection.ask(self._connection.server.GetServerInfo, job_service_pb2.GetServerInfoRequest())

    def validate(self, job: bytes | Path) -> job_service_pb2.ValidateResponse:
        """Check a job file, given as its content or its path; the answer holds every violation, or the plan."""
        request = job_service_pb2.ValidateRequest(job_yaml=read_content(job))
        return self._connection.ask(self._connection.jobs.Validate, request, seconds=_CHECK_SECONDS)

    def submit(
        self,
        job: bytes | Path,
        *,
        inputs: Mapping[str, str | os.PathLike[str]] | Sequence[job_service_pb2.JobInput] = (),
        request_id: str | None = None,
        priority: int | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> job_service_pb2.SubmitResponse:
        """Submit a job file, given as its content or its path, with its input files by parameter or name.

        The same request_id gives the same job. A daemon that is away is asked again for ten seconds.
        """
        content = read_content(job)
        if isinstance(inputs, Mapping):
            inputs = [self.make_input(param, Path(path)) for param, path in inputs.items()]
        request = job_service_pb2.SubmitRequest(
            job_yaml=content,
            inputs=inputs,
            request_id=request_id or str(uuid.uuid4()),
            priority=priority,
            labels=labels,
        )
        submit = self._connection.jobs.Submit
        return self._connection.insist(submit, request, patience=_BRIEFLY, seconds=_COPY_SECONDS)

    def make_input(
        self, param: str, path: Path, *, upload: bool = False, on_bytes: Callable[[int], None] = lambda _count: None
    ) -> job_service_pb2.JobInput:
        """Describe an input to submit: by path to a daemon on this machine, else, or with `upload`, by its bytes."""
        if self.address.is_local and not upload:
            return job_service_pb2.JobInput(param_name=param, path=str(path.absolute()))
        return job_service_pb2.JobInput(param_name=param, upload_id=self.upload(path, on_bytes))

    def retry(self, job_id: str, *, request_id: str | None = None) -> job_service_pb2.RetryResponse:
        """Make a new job that goes on where one that failed or was cancelled stopped; repeated as `submit` is."""
        request = job_service_pb2.RetryRequest(id=job_id, request_id=request_id or str(uuid.uuid4()))
        retry = self._connection.jobs.Retry
        return self._connection.insist(retry, request, patience=_BRIEFLY, seconds=_COPY_SECONDS)

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
        call = partial(self._connection.jobs.Watch, metadata=self._connection.metadata)
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

    def wait(self, job_id: str, *, timeout: float | None = None) -> job_pb2.Job:
        """Wait until a job has ended, across interruptions, and give it; `TimedOutError` after `timeout` seconds."""
        job = self.get(job_id)
        for _ in self.watch(job.id, after=job.last_sequence, timeout=timeout, resuming=True):
            pass
        request = job_service_pb2.GetRequest(id=job.id)
        return self._connection.insist(self._connection.jobs.Get, request, patience=self._patience).job

    def cancel(self, job_id: str, reason: str = "") -> job_pb2.Job:
        """Ask for a job's end; give the job as it is then, which may be CANCELLING still."""
        request = job_service_pb2.CancelRequest(id=job_id, reason=reason)
        return self._connection.ask(self._connection.jobs.Cancel, request).job

    def delete(self, job_id: str) -> str:
        """Remove a job with its artifacts, logs and history, and give its id; `JobNotEndedError` while it runs."""
        request = job_service_pb2.DeleteRequest(id=job_id)
        return self._connection.ask(self._connection.jobs.Delete, request, seconds=_COPY_SECONDS).id

    def get(self, job_id: str) -> job_pb2.Job:
        """Give everything known of a job."""
        return self._connection.ask(self._connection.jobs.Get, job_service_pb2.GetRequest(id=job_id)).job

    def explain(self, job_id: str, *, step: str = "", entry: str = "") -> job_service_pb2.ExplainResponse:
        """Say why a job, its entries and artifacts are as they are; or only a step, or an entry of it."""
        request = job_service_pb2.ExplainRequest(id=job_id, step=step, entry=entry)
        return self._connection.ask(self._connection.jobs.Explain, request)

    def list_jobs(
        self, *, states: Sequence[job_pb2.JobState.ValueType] = (), name: str = "", limit: int | None = None
    ) -> Iterator[job_pb2.Job]:
        """Give jobs, newest first, without steps and artifacts; all of them, or `limit`."""
        token, left = "", limit
        while left is None or left > 0:
            request = job_service_pb2.ListRequest(
                page_size=_PAGE if left is None else min(left, _PAGE), page_token=token, states=states, name=name
            )
            answer = self._connection.ask(self._connection.jobs.List, request)
            yield from answer.jobs if left is None else answer.jobs[:left]
            left = None if left is None else left - len(answer.jobs)
            token = answer.next_page_token
            if not token:
                return

    def logs(
        self,
        job_id: str,
        *,
        step: str = "",
        entry: str = "",
        attempt: int = 0,
        follow: bool = False,
        tail: int | None = None,
    ) -> Iterator[job_service_pb2.LogsResponse]:
        """Give the logs of a job's entries, each byte once, across interruptions; `follow` goes on to their end.

        With `tail` it begins with so many of the last lines of each entry.
        """
        request = job_service_pb2.LogsRequest(id=job_id, step=step, entry=entry, attempt=attempt, follow=follow)
        probe = partial(self.get, job_id)
        stream = LogStream(
            open_stream=self._open_logs, request=request, probe=probe, patience=self._patience, tail=tail
        )
        return iter(stream)

    def upload(self, path: Path, on_bytes: Callable[[int], None] = lambda _count: None) -> str:
        """Send a file or folder for a later submit; give the upload's id."""
        return Upload(path, on_bytes).run(self._connection.artifacts, self.address, self._connection.metadata)

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
        request = module_service_pb2.ListModulesRequest(name=name)
        return self._connection.ask(self._connection.modules.ListModules, request)

    def _open_logs(self, request: job_service_pb2.LogsRequest) -> Iterator[job_service_pb2.LogsResponse]:
        opening = partial(self._connection.jobs.Logs, request, metadata=self._connection.metadata)
        return self._connection.stream(opening)

    def _open_download(self, job_id: str, name: str, offset: int) -> Iterator[artifact_service_pb2.DownloadResponse]:
        request = artifact_service_pb2.DownloadRequest(job_id=job_id, name=name, offset=offset)
        opening = partial(self._connection.artifacts.Download, request, metadata=self._connection.metadata)
        return self._connection.stream(opening)
