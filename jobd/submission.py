"""Taking a job on: the plan is checked whole, the inputs are copied, and only then is the job on record."""

import asyncio
import contextlib
import hashlib
import json
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial

from jobd.call_limits import CallLimits
from jobd.catalog import Catalog
from jobd.containment import Provisions
from jobd.failpoints import failpoint
from jobd.jobs import Job
from jobd.layout import StateDirectory
from jobd.plan import Capacity, Plan
from jobd.planner import make_plan
from jobd.preparation import Preparation, Submission
from jobd.queue_places import QueuePlaces
from jobd.removal import delete_job
from jobd.reserve import Reserve
from jobd.roots import Roots
from jobd.store import Acceptance, Store
from jobd.trees import discard
from jobd.uploads import Uploads


class Submissions:
    """The way in."""

    def __init__(
        self,
        *,
        state: StateDirectory,
        store: Store,
        catalog: Catalog,
        uploads: Uploads,
        capacity: Capacity,
        reserve: Reserve | None = None,
        roots: Roots | None = None,
        provisions: Callable[[], Provisions] = Provisions,
        limits: CallLimits | None = None,
    ) -> None:
        """Take jobs into `store` that fit `capacity`, as long as the disk has more free than `reserve`."""
        self._state = state
        self._store = store
        self._catalog = catalog
        self._uploads = uploads
        self._capacity = capacity
        self._reserve = reserve or Reserve(state.root, 0)
        self._provisions = provisions
        self._preparation = Preparation(
            state=state,
            store=store,
            uploads=uploads,
            reserve=self._reserve,
            roots=roots or Roots(kept=(state.root,)),
        )
        self._queue = QueuePlaces(store, most=(limits or CallLimits()).max_queued)

    async def plan(self, document: bytes) -> Plan:
        """Check a job file in full; InvalidJobError holds everything that is wrong with it."""
        return await asyncio.to_thread(self._plan, document)

    async def submit(self, submission: Submission) -> tuple[Job, bool]:
        """Take a job on; when it returns, the job is on disk. The second value tells whether it was there before."""
        if submission.request_id:
            earlier = await asyncio.to_thread(self._find_earlier, submission)
            if earlier is not None:
                return earlier, True
        self._reserve.check()
        with self._queue.take():
            job, existed = await self._accept(partial(self._prepare, submission))
        failpoint("submit.accepted")
        if not existed and any(source.upload_id for source in submission.inputs.values()):
            with contextlib.suppress(OSError):  # only what may go sooner: the job is on record, and has to be taken on
                await asyncio.to_thread(self._release_uploads, submission)
        return job, existed

    def _find_earlier(self, submission: Submission) -> Job | None:
        return self._store.find_request(submission.request_id, self._digest(submission))

    def _prepare(self, submission: Submission) -> Acceptance:
        return self._preparation.prepare(submission, self._plan(submission.document), self._digest(submission))

    async def _accept(self, prepare: Callable[[], Acceptance]) -> tuple[Job, bool]:
        """Put a job on record that `prepare` gets ready; its folder goes when that fails, or it was there before."""
        acceptance, recorded = await asyncio.to_thread(self._hand_over, prepare)
        try:
            job, existed = await asyncio.wrap_future(recorded)
        except BaseException:
            await asyncio.to_thread(self._discard, acceptance)
            raise
        if existed:
            await asyncio.to_thread(self._discard, acceptance)
        return job, existed

    def _hand_over(self, prepare: Callable[[], Acceptance]) -> tuple[Acceptance, "Future[tuple[Job, bool]]"]:
        """Get a job ready and ask the writer to put it on record, without a turn of the event loop in between."""
        acceptance = prepare()
        failpoint("submit.copied")
        try:
            return acceptance, self._store.accept(acceptance)
        except BaseException:
            self._discard(acceptance)
            raise

    def _discard(self, acceptance: Acceptance) -> None:
        discard(self._state.job(acceptance.job.id).root)

    async def retry(self, job_id: str, request_id: str, *, owner: str = "") -> tuple[Job, bool]:
        """Take on a new job, `owner`'s, that goes on where an ended one stopped; the second value says if it existed.

        NotRetriableError or ArtifactGoneError say why that cannot be.
        """
        digest = hashlib.sha256(f"retry {job_id}".encode()).hexdigest()
        earlier = await asyncio.to_thread(self._store.find_request, request_id, digest)
        if earlier is not None:
            return earlier, True
        self._reserve.check()
        with self._queue.take():
            return await self._accept(partial(self._preparation.prepare_retry, job_id, request_id, digest, owner))

    async def delete(self, job_id: str) -> None:
        """Remove a job that has ended, with all that is kept of it; JobNotEndedError when it has not."""
        await asyncio.to_thread(delete_job, self._state, self._store, job_id)

    def remove_strays(self) -> int:
        """Remove the folders of jobs that were never accepted, which a crash in the middle leaves; count them."""
        strays = [folder for folder in self._state.jobs.iterdir() if not self._store.exists(folder.name)]
        for folder in strays:
            discard(folder)
        self._remove_scratch()
        self._uploads.take_back()
        return len(strays)

    def _remove_scratch(self) -> None:
        """Remove what attempts of ended jobs left, whose daemon died before it could."""
        for folder in self._state.jobs.iterdir():
            directory = self._state.job(folder.name)
            if directory.work.exists() and self._store.live_job(folder.name) is None:
                discard(directory.work)

    def _digest(self, submission: Submission) -> str:
        """Tell requests with different content apart."""
        inputs = {
            name: self._uploads.digest(source.upload_id) if source.upload_id else source.path
            for name, source in sorted(submission.inputs.items())
        }
        asked = {
            "document": hashlib.sha256(submission.document).hexdigest(),
            "inputs": inputs,
            "priority": submission.priority,
            "labels": dict(sorted(submission.labels.items())),
        }
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()

    def _plan(self, document: bytes) -> Plan:
        snapshot = self._catalog.scan()
        return make_plan(document, snapshot.modules, self._capacity, snapshot.broken, self._provisions())

    def _release_uploads(self, submission: Submission) -> None:
        for source in submission.inputs.values():
            self._uploads.release(source.upload_id)
