"""Everything a client can do, described once for the blocking one and for the one of asyncio.

What stands here are their signatures and their docstrings too: see `Client` and `AsyncClient`.
"""

import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from jobapi.v1 import job_pb2, job_service_pb2, module_service_pb2

from jobctl.address import Address
from jobctl.download import Download
from jobctl.errors import JobctlError, PathNotAllowedError
from jobctl.event_stream import EventStream
from jobctl.insistence import insist
from jobctl.job_file import read_content
from jobctl.job_pages import JobPages
from jobctl.jobs_stream import JobsStream
from jobctl.log_stream import LogStream
from jobctl.patience import Patience
from jobctl.talk import Source, Talk, ask, work
from jobctl.units import to_timestamp
from jobctl.upload import Upload

_CHECK_SECONDS = 60.0  # a job file of the largest size takes the daemon seconds to check
_COPY_SECONDS = 600.0  # inputs by path are copied before Submit answers
_BRIEFLY = Patience(outage=10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operations:
    """Describes calls; who performs them is the client's business."""

    address: Address
    """Where the daemon is."""
    patience: Patience
    """How long a daemon that went away is waited for."""

    def info(self) -> Talk[job_service_pb2.GetServerInfoResponse]:
        """Tell the daemon's version, limits and dashboard."""
        return (yield from ask(lambda to: to.server.GetServerInfo, job_service_pb2.GetServerInfoRequest()))

    def open_dashboard(self, job_id: str = "") -> Talk[str]:
        """Give an address that opens the dashboard, at a job or at its first page, and lets the browser in.

        Whoever has it may see and change everything there. Empty where the dashboard does not know the job yet.
        """
        request = job_service_pb2.OpenDashboardRequest(job_id=job_id)
        return (yield from ask(lambda to: to.server.OpenDashboard, request)).url

    def validate(self, job: bytes | Path) -> Talk[job_service_pb2.ValidateResponse]:
        """Check a job file, given as its content or its path; the answer holds every violation, or the plan."""
        request = job_service_pb2.ValidateRequest(job_yaml=(yield from work(partial(read_content, job))))
        return (yield from ask(lambda to: to.jobs.Validate, request, seconds=_CHECK_SECONDS))

    def submit(
        self,
        job: bytes | Path,
        *,
        inputs: Mapping[str, str | os.PathLike[str]] | Sequence[job_service_pb2.JobInput] = (),
        request_id: str | None = None,
        priority: int | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Talk[job_service_pb2.SubmitResponse]:
        """Submit a job file, given as its content or its path, with its input files by parameter or name.

        The same request_id gives the same job. A daemon that is away is asked again for ten seconds. Files that the
        daemon does not take by path are sent.
        """
        request = job_service_pb2.SubmitRequest(
            job_yaml=(yield from work(partial(read_content, job))),
            request_id=request_id or str(uuid.uuid4()),
            priority=priority,
            labels=labels,
        )
        if not isinstance(inputs, Mapping):
            return (yield from self._submit(request, inputs))
        try:
            return (yield from self._submit(request, (yield from self._make_inputs(inputs, upload=False))))
        except PathNotAllowedError:
            return (yield from self._submit(request, (yield from self._make_inputs(inputs, upload=True))))

    def _submit(
        self, request: job_service_pb2.SubmitRequest, inputs: Sequence[job_service_pb2.JobInput]
    ) -> Talk[job_service_pb2.SubmitResponse]:
        del request.inputs[:]
        request.inputs.extend(inputs)
        call = partial(ask, lambda to: to.jobs.Submit, request, seconds=_COPY_SECONDS)
        return (yield from insist(call, _BRIEFLY))

    def _make_inputs(
        self, inputs: Mapping[str, str | os.PathLike[str]], *, upload: bool
    ) -> Talk[list[job_service_pb2.JobInput]]:
        made = []
        for param, path in inputs.items():
            made.append((yield from self.make_input(param, Path(path), upload=upload)))
        return made

    def make_input(
        self,
        param: str,
        path: Path,
        *,
        upload: bool = False,
        on_bytes: Callable[[int], None] = lambda _count: None,
        on_existing: Callable[[], None] = lambda: None,
    ) -> Talk[job_service_pb2.JobInput]:
        """Describe an input to submit: by path to a daemon on this machine, else, or with `upload`, by its bytes.

        A path that is no UTF-8 cannot be told.
        """
        text = os.fsencode(path.absolute()).decode(errors="replace")
        if self.address.is_local and not upload and text == str(path.absolute()):
            return job_service_pb2.JobInput(param_name=param, path=text)
        return job_service_pb2.JobInput(
            param_name=param, upload_id=(yield from self.upload(path, on_bytes, on_existing))
        )

    def retry(self, job_id: str, *, request_id: str | None = None) -> Talk[job_service_pb2.RetryResponse]:
        """Make a new job that goes on where one that failed or was cancelled stopped; repeated as `submit` is."""
        request = job_service_pb2.RetryRequest(id=job_id, request_id=request_id or str(uuid.uuid4()))
        call = partial(ask, lambda to: to.jobs.Retry, request, seconds=_COPY_SECONDS)
        return (yield from insist(call, _BRIEFLY))

    def watch(
        self,
        job_id: str,
        *,
        after: int = 0,
        timeout: float | None = None,
        resuming: bool = False,
        on_outage: Callable[[JobctlError], None] = lambda _error: None,
    ) -> Source[job_pb2.Job | job_pb2.Event]:
        """Follow a job to its end, across interruptions: see `EventStream`."""
        return EventStream(
            address=self.address,
            job_id=job_id,
            sequence=after,
            timeout=timeout,
            resuming=resuming,
            patience=self.patience,
            on_outage=on_outage,
        )

    def watch_jobs(
        self,
        *,
        after: int | None = None,
        states: Sequence[job_pb2.JobState.ValueType] = (),
        name: str = "",
        labels: Sequence[job_service_pb2.LabelSelector] = (),
        owner: str = "",
        on_outage: Callable[[JobctlError], None] = lambda _error: None,
    ) -> Source[job_service_pb2.WatchJobsResponse]:
        """Follow all jobs, or those chosen, from now on or after a cursor, across interruptions: see `JobsStream`."""
        request = job_service_pb2.WatchJobsRequest(
            after_cursor=after, states=states, name=name, labels=labels, owner=owner
        )
        return JobsStream(address=self.address, request=request, patience=self.patience, on_outage=on_outage)

    def wait(self, job_id: str, *, timeout: float | None = None) -> Talk[job_pb2.Job]:
        """Wait until a job has ended, across interruptions, and give it; `TimedOutError` after `timeout` seconds."""
        job = yield from self.get(job_id)
        events = self.watch(job.id, after=job.last_sequence, timeout=timeout, resuming=True)
        while (yield from events.next()) is not None:
            pass
        call = partial(ask, lambda to: to.jobs.Get, job_service_pb2.GetRequest(id=job.id))
        return (yield from insist(call, self.patience)).job

    def cancel(self, job_id: str, reason: str = "") -> Talk[job_pb2.Job]:
        """Ask for a job's end; give the job as it is then, which may be CANCELLING still."""
        request = job_service_pb2.CancelRequest(id=job_id, reason=reason)
        return (yield from ask(lambda to: to.jobs.Cancel, request)).job

    def delete(self, job_id: str) -> Talk[str]:
        """Remove a job with its artifacts, logs and history, and give its id; `JobNotEndedError` while it runs."""
        request = job_service_pb2.DeleteRequest(id=job_id)
        return (yield from ask(lambda to: to.jobs.Delete, request, seconds=_COPY_SECONDS)).id

    def get(self, job_id: str) -> Talk[job_pb2.Job]:
        """Give everything known of a job."""
        return (yield from ask(lambda to: to.jobs.Get, job_service_pb2.GetRequest(id=job_id))).job

    def explain(self, job_id: str, *, step: str = "", entry: str = "") -> Talk[job_service_pb2.ExplainResponse]:
        """Say why a job, its entries and artifacts are as they are; or only a step, or an entry of it."""
        request = job_service_pb2.ExplainRequest(id=job_id, step=step, entry=entry)
        return (yield from ask(lambda to: to.jobs.Explain, request))

    def list_jobs(
        self,
        *,
        states: Sequence[job_pb2.JobState.ValueType] = (),
        name: str = "",
        labels: Sequence[job_service_pb2.LabelSelector] = (),
        owner: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> Source[job_pb2.Job]:
        """Give jobs, newest first, without steps and artifacts; all of them, or `limit`.

        What is given of the rest must all hold: `since` and `until` bound, as aware times, when they were submitted.
        """
        request = job_service_pb2.ListRequest(
            states=states,
            name=name,
            labels=labels,
            owner=owner,
            submitted_after=to_timestamp(since),
            submitted_before=to_timestamp(until),
        )
        return JobPages(request, limit)

    def logs(
        self,
        job_id: str,
        *,
        step: str = "",
        entry: str = "",
        attempt: int = 0,
        all_attempts: bool = False,
        follow: bool = False,
        tail: int | None = None,
    ) -> Source[job_service_pb2.LogsResponse]:
        """Give the logs of a job's entries, each byte once, across interruptions; `follow` goes on to their end.

        Those of several entries come as they were written, at the ends of lines. With `tail` it begins with so many of
        the last lines of each entry; `all_attempts` tells those that failed as well.
        """
        request = job_service_pb2.LogsRequest(
            id=job_id, step=step, entry=entry, attempt=attempt, all_attempts=all_attempts, follow=follow
        )
        return LogStream(request=request, patience=self.patience, tail=tail)

    def upload(
        self,
        path: Path,
        on_bytes: Callable[[int], None] = lambda _count: None,
        on_existing: Callable[[], None] = lambda: None,
    ) -> Talk[str]:
        """Send a file or folder for a later submit, across interruptions; give the upload's id.

        Nothing is sent, and `on_existing` called, when the daemon still has it from before.
        """
        upload = Upload(path=path, patience=self.patience, on_bytes=on_bytes, on_existing=on_existing)
        return (yield from upload.run())

    def download(
        self,
        job_id: str,
        name: str,
        target: Path,
        *,
        force: bool = False,
        resume: bool = False,
        on_bytes: Callable[[int], None] = lambda _count: None,
    ) -> Talk[Path]:
        """Fetch an artifact into the file or folder `target`, which is there only when it is whole.

        With `force` an existing one is replaced. With `resume` what has arrived stays in a folder `TARGET.part` when
        the download is interrupted, and a later one of the same artifact goes on from there. `on_bytes` is told of the
        length of each piece, and first of what was there; negative when the artifact has changed meanwhile.
        """
        download = Download(
            job_id=job_id,
            name=name,
            target=target,
            force=force,
            resume=resume,
            patience=self.patience,
            on_bytes=on_bytes,
        )
        return (yield from download.run())

    def modules(self, name: str = "") -> Talk[module_service_pb2.ListModulesResponse]:
        """Tell which modules the daemon can run, or about one of them."""
        request = module_service_pb2.ListModulesRequest(name=name)
        return (yield from ask(lambda to: to.modules.ListModules, request))
