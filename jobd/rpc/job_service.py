"""JobService: each call is checked, passed on and converted."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from functools import partial

from jobapi.v1 import job_service_pb2 as pb
from jobapi.v1 import job_service_pb2_grpc as pb_grpc

from jobd.call_limits import check_reason, check_request_id
from jobd.containment import Bounds
from jobd.errors import InvalidJobError, InvalidRequestError
from jobd.explain import explain
from jobd.failpoints import failpoint
from jobd.jobs import Job
from jobd.layout import StateDirectory
from jobd.log_files import select_entries
from jobd.preparation import Source, Submission
from jobd.roots import Caller
from jobd.rpc import convert
from jobd.rpc.caller import caller, check_owner
from jobd.rpc.context import Context, caller_of
from jobd.rpc.follow_logs import check_logs_request, follow_logs
from jobd.rpc.requests import job_filter, read_page_token, write_page_token
from jobd.rpc.watch import Watcher
from jobd.rpc.watch_jobs import JobsWatcher
from jobd.store import Store
from jobd.submission import Submissions
from jobd.supervisor import Supervisor

_PAGE, _MOST_PAGE = 50, 1000


class JobService(pb_grpc.JobServiceServicer):
    """Submitting, watching and ending jobs."""

    def __init__(
        self,
        *,
        store: Store,
        submissions: Submissions,
        supervisor: Supervisor,
        watcher: Watcher,
        state: StateDirectory,
        dashboard_url: str,
        bounds: Bounds | None = None,
    ) -> None:
        """Serve these."""
        self._store = store
        self._submissions = submissions
        self._supervisor = supervisor
        self._watcher = watcher
        self._jobs_watcher = JobsWatcher(store, watcher)
        self._state = state
        self._dashboard_url = dashboard_url
        self._bounds = bounds

    async def Submit(self, request: pb.SubmitRequest, context: Context) -> pb.SubmitResponse:  # noqa: N802
        """Accept a job."""
        submission = _submission(request, caller_of(context), owner=caller().name)
        # A client that hangs up in the middle must not leave half a job.
        work = self._enqueued(self._submissions.submit(submission))
        job, existed = await asyncio.shield(asyncio.create_task(work))
        return pb.SubmitResponse(job=convert.job(job, dashboard_url=self._dashboard_url), existed=existed)

    async def _enqueued(self, taking_on: Awaitable[tuple[Job, bool]]) -> tuple[Job, bool]:
        job, existed = await taking_on
        if not existed:
            self._supervisor.take_on(job)
        failpoint("submit.enqueued")
        return job, existed

    async def Watch(self, request: pb.WatchRequest, _context: Context) -> AsyncIterator[pb.WatchResponse]:  # noqa: N802
        """Follow a job."""
        if request.after_sequence < 0:
            raise InvalidRequestError("after_sequence must not be negative")
        job_id = await self._resolve(request.id)
        async for message in self._watcher.watch(job_id, request.after_sequence):
            yield message

    async def WatchJobs(  # noqa: N802
        self, request: pb.WatchJobsRequest, _context: Context
    ) -> AsyncIterator[pb.WatchJobsResponse]:
        """Follow all jobs."""
        if request.after_cursor < 0:
            raise InvalidRequestError("after_cursor must not be negative")
        after = request.after_cursor if request.HasField("after_cursor") else None
        async for message in self._jobs_watcher.watch(job_filter(request), after):
            yield message

    async def Cancel(self, request: pb.CancelRequest, _context: Context) -> pb.CancelResponse:  # noqa: N802
        """Ask for a job's end."""
        check_reason(request.reason)
        job_id = await self._resolve_own(request.id)
        reason = request.reason or "a client asked for it"
        job = await asyncio.shield(asyncio.create_task(self._supervisor.cancel(job_id, reason)))
        return pb.CancelResponse(job=convert.job(job, dashboard_url=self._dashboard_url))

    async def Get(self, request: pb.GetRequest, _context: Context) -> pb.GetResponse:  # noqa: N802
        """Tell everything known of one job."""
        job_id = await self._resolve(request.id)
        job = await asyncio.to_thread(self._store.get, job_id)
        return pb.GetResponse(job=convert.job(job, dashboard_url=self._dashboard_url))

    async def List(self, request: pb.ListRequest, _context: Context) -> pb.ListResponse:  # noqa: N802
        """List jobs, newest first."""
        if request.page_size < 0:
            raise InvalidRequestError("page_size must not be negative")
        page = await asyncio.to_thread(
            self._store.page,
            size=min(request.page_size or _PAGE, _MOST_PAGE),
            before=read_page_token(request.page_token),
            wanted=job_filter(request),
        )
        jobs = [convert.job(job, dashboard_url=self._dashboard_url) for job in page.jobs]
        return pb.ListResponse(jobs=jobs, next_page_token=write_page_token(page.before), cursor=page.cursor)

    async def Logs(self, request: pb.LogsRequest, _context: Context) -> AsyncIterator[pb.LogsResponse]:  # noqa: N802
        """Stream logs."""
        check_logs_request(request)
        job_id = await self._resolve(request.id)
        job = await asyncio.to_thread(self._store.get, job_id)
        async for piece in follow_logs(self._watcher, self._state.job(job_id), job, request):
            yield piece

    async def Retry(self, request: pb.RetryRequest, _context: Context) -> pb.RetryResponse:  # noqa: N802
        """Go on where an ended job stopped, as a new job."""
        check_request_id(request.request_id)
        job_id = await self._resolve_own(request.id)
        work = self._enqueued(self._submissions.retry(job_id, request.request_id, owner=caller().name))
        job, existed = await asyncio.shield(asyncio.create_task(work))
        return pb.RetryResponse(job=convert.job(job, dashboard_url=self._dashboard_url), existed=existed)

    async def Delete(self, request: pb.DeleteRequest, _context: Context) -> pb.DeleteResponse:  # noqa: N802
        """Remove a job that has ended."""
        job_id = await self._resolve_own(request.id)
        await asyncio.shield(asyncio.create_task(self._submissions.delete(job_id)))
        return pb.DeleteResponse(id=job_id)

    async def Explain(self, request: pb.ExplainRequest, _context: Context) -> pb.ExplainResponse:  # noqa: N802
        """Say why things are as they are."""
        job_id = await self._resolve(request.id)
        job = await asyncio.to_thread(self._store.get, job_id)
        select_entries(job, request.step, request.entry)
        held = await asyncio.to_thread(self._how_held, job_id)
        why = partial(self._supervisor.why_waiting, job_id)
        found = explain(
            job, why, step=request.step, entry=request.entry, how_held=lambda step, entry: held.get((step, entry), "")
        )
        return pb.ExplainResponse(explanations=[pb.Explanation(subject=item.subject, text=item.text) for item in found])

    def _how_held(self, job_id: str) -> dict[tuple[str, str], str]:
        if self._bounds is None:
            return {}
        entries = (entry for step in self._store.plan(job_id).steps for entry in step.entries)
        return {(entry.step, entry.name): self._bounds.describe(entry) for entry in entries}

    async def Validate(self, request: pb.ValidateRequest, _context: Context) -> pb.ValidateResponse:  # noqa: N802
        """Check a job file."""
        try:
            plan = await self._submissions.plan(request.job_yaml)
        except InvalidJobError as error:
            return pb.ValidateResponse(violations=map(convert.violation, error.violations))
        return pb.ValidateResponse(plan=convert.plan(plan))

    async def _resolve(self, text: str) -> str:
        if self._store.live_job(text) is not None:
            return text
        return await asyncio.to_thread(self._store.resolve, text)

    async def _resolve_own(self, text: str) -> str:
        """Give the id that `text` means; NotOwnerError when the caller may only look at that job."""
        job_id = await self._resolve(text)
        check_owner(job_id, await asyncio.to_thread(self._store.owner, job_id))
        return job_id


def _submission(request: pb.SubmitRequest, caller: Caller, *, owner: str) -> Submission:
    check_request_id(request.request_id)
    inputs: dict[str, Source] = {}
    for item in request.inputs:
        if item.param_name in inputs:
            raise InvalidRequestError(f"the input {item.param_name!r} is given twice")
        if item.WhichOneof("source") is None:
            raise InvalidRequestError(f"the input {item.param_name!r} has neither path nor upload_id")
        inputs[item.param_name] = Source(path=item.path, upload_id=item.upload_id)
    return Submission(
        document=request.job_yaml,
        inputs=inputs,
        request_id=request.request_id,
        priority=request.priority if request.HasField("priority") else None,
        labels=dict(request.labels),
        caller=caller,
        owner=owner,
    )
