"""The daemon's parts put together as it does, but with a nursery that only notes what it is asked for."""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import structlog

from jobd import journal
from jobd.bells import Bells
from jobd.call_limits import CallLimits
from jobd.catalog import Catalog
from jobd.events import JobEvent, Occurrence
from jobd.ingest import Ingest
from jobd.jobs import Job
from jobd.journal import Journal
from jobd.launcher import Launcher
from jobd.layout import StateDirectory
from jobd.messages import FlowRunMade, Fork
from jobd.plan import Capacity
from jobd.prefect_status import PrefectStatus
from jobd.preparation import Source, Submission
from jobd.roots import Caller
from jobd.rpc.watch import Watcher
from jobd.runner_lines import RunnerLines
from jobd.scheduler import Scheduler
from jobd.store import Store
from jobd.submission import Submissions
from jobd.supervisor import Supervisor
from jobd.uploads import Uploads

MANIFEST = """\
name: copy
description: Copies its input
entrypoint: main.py
inputs: [{param_name: input, type: text}]
outputs: [{param_name: output, type: text}]
"""

DOCUMENT = b"""\
name: example
version: 1.0
input_artifacts: [{param_name: input, type: text}]
steps:
  - name: one
    entries:
      - module: copy
        input_artifacts: [{name: in.txt, param_name: input, type: text}]
        output_artifacts: [{name: mid.txt, param_name: output, type: text}]
  - name: two
    entries:
      - module: copy
        input_artifacts: [{name: mid.txt, param_name: input, type: text}]
        output_artifacts: [{name: out.txt, param_name: output, type: text, public: true}]
"""


@pytest.fixture
def document() -> bytes:
    """Give the job file that an office's submit uses: two steps, one entry each."""
    return DOCUMENT


class Prefect:
    """A Prefect server that is always there."""

    api_url = "http://127.0.0.1:1/api"
    ui_url = "http://127.0.0.1:1"
    auth, key = "jobd:secret", ""
    status = PrefectStatus(ready=True, reason="")

    async def run(self) -> None:
        """Need no watching."""

    async def wait_ready(self) -> None:
        """Be ready."""


@dataclass
class Nursery:
    """Notes which runners it was asked to fork."""

    forks: "asyncio.Queue[str]" = field(default_factory=asyncio.Queue)
    ready: bool = True

    async def wait_ready(self) -> None:
        """Be ready."""

    async def fork(self, wish: Fork) -> None:
        """Note the wish."""
        self.forks.put_nowait(wish.job_id)

    async def tell(self, made: FlowRunMade) -> None:
        """Take it for said."""


@dataclass
class Office:
    """The parts of one daemon."""

    state: StateDirectory
    store: Store
    bells: Bells
    catalog: Catalog
    uploads: Uploads
    ingest: Ingest
    scheduler: Scheduler
    supervisor: Supervisor
    submissions: Submissions
    watcher: Watcher
    nursery: Nursery
    input: Path

    async def submit(self, document: bytes = DOCUMENT, request_id: str = "") -> Job:
        """Have a job accepted and taken on."""
        sources = {"input": Source(path=str(self.input))}
        job, existed = await self.submissions.submit(
            Submission(
                document=document, inputs=sources, request_id=request_id, labels={}, caller=Caller(same_user=True)
            )
        )
        if not existed:
            await self.supervisor._launcher.queue(job)  # what `take_on` has done in the background
        return job

    async def launched(self) -> str:
        """Wait until the nursery is asked for a runner, and give its job."""
        return await asyncio.wait_for(self.nursery.forks.get(), 20)

    async def until(self, job_id: str, condition: Callable[[Job], object]) -> Job:
        """Wait until a condition holds of a job."""
        async with asyncio.timeout(20):
            while True:
                bell = self.bells.next(job_id)
                job = self.store.get(job_id)
                if condition(job):
                    self.bells.drop(job_id, bell)
                    return job
                await bell

    async def settle(self) -> None:
        """Wait until the supervisor has nothing under way."""
        while tasks := set(self.supervisor._tasks):
            await asyncio.wait_for(asyncio.gather(*tasks), 20)

    def write(self, job_id: str, *happened: JobEvent) -> None:
        """Write into a job's journal as its runner does, without ringing."""
        path = self.state.job(job_id).journal
        with Journal(path, end=journal.read_all(path).offset) as lines:
            lines.append([Occurrence(time=5.0, event=event) for event in happened], durable=True)

    @contextlib.contextmanager
    def runner(self, job_id: str):
        """Hold the lock of a job's runner within the block, as one that lives does."""
        fd = os.open(self.state.job(job_id).runner_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
        try:
            yield
        finally:
            os.close(fd)


@pytest.fixture
def opened(state: StateDirectory, tmp_path: Path) -> Callable[..., contextlib.AbstractAsyncContextManager[Office]]:
    """Give a way to open an office in the state directory; opened again, it is the next daemon's."""
    folder = tmp_path / "catalog/copy"
    folder.mkdir(parents=True)
    (folder / "manifest.yaml").write_text(MANIFEST)
    (folder / "main.py").write_text("")
    given = tmp_path / "given.txt"
    given.write_text("given")

    @contextlib.asynccontextmanager
    async def open_office(cpus: float = 2, limits: CallLimits | None = None) -> AsyncIterator[Office]:
        log = structlog.get_logger()
        bells = Bells()
        store = Store(state.database, changed=bells.ring_from_thread)
        catalog, uploads = Catalog((tmp_path / "catalog",)), Uploads(state.uploads)
        ingest, scheduler = Ingest(state, store, log), Scheduler(Capacity(cpus=cpus))
        launcher = Launcher(
            state=state,
            store=store,
            scheduler=scheduler,
            prefect=Prefect(),
            prefect_grace=1.0,
            cpus=cpus,
            log=log,
        )
        supervisor = Supervisor(
            state=state, store=store, ingest=ingest, scheduler=scheduler, launcher=launcher, log=log
        )
        lines = RunnerLines(state, scheduler, connected=supervisor.connected, hung_up=supervisor.hung_up, log=log)
        supervisor.lines, launcher.nursery = lines, Nursery()
        submissions = Submissions(
            state=state, store=store, catalog=catalog, uploads=uploads, capacity=Capacity(cpus=cpus), limits=limits
        )
        watcher = Watcher(store, bells, dashboard_url="http://127.0.0.1:1")
        await lines.open()
        try:
            yield Office(
                state, store, bells, catalog, uploads, ingest, scheduler, supervisor, submissions, watcher,
                launcher.nursery, given,
            )  # fmt: skip
        finally:
            await lines.close()
            await asyncio.to_thread(store.close)
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    return open_office


@pytest.fixture
def office(opened) -> Callable[[Callable[[Office], Awaitable[None]]], None]:
    """Give a function that runs a test's coroutine in a new office."""

    def run(work: Callable[[Office], Awaitable[None]]) -> None:
        async def begin() -> None:
            async with opened() as made:
                await work(made)

        asyncio.run(begin())

    return run
