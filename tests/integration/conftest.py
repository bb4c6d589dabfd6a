"""Jobs of small modules that a test writes, run by the real parts of a runner against the real parts of a daemon."""

import asyncio
import ctypes
import hashlib
import os
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
import structlog

from jobd import events, journal, procfs
from jobd.artifacts import ArtifactStore
from jobd.events import Failure, JobEvent, Record
from jobd.fair_share import Lease
from jobd.history import replay
from jobd.job_run import JobRun
from jobd.jobs import Job, new_job
from jobd.journal import Journal
from jobd.layout import JobDirectory, StateDirectory
from jobd.link import Link
from jobd.messages import Assignment
from jobd.plain import run_plainly
from jobd.plan import Binding, Capacity, Plan, PlanArtifact, PlanEntry, PlanInput, PlanStep
from jobd.process import reap_orphans
from jobd.runner_lines import RunnerLines
from jobd.scheduler import Scheduler

T = TypeVar("T")

JOB_ID = "abc123"

PRELUDE = """\
import os, pathlib, signal, subprocess, sys, time
paths, flag = {}, None
for word in sys.argv[1:]:
    if word.startswith("--"):
        flag = word[2:]
        paths.setdefault(flag, [])
    else:
        paths[flag].append(pathlib.Path(word))
output = paths.get("output", [None])[0]

def tell(gate, text=""):
    with open(gate, "w") as file:
        file.write(text)
"""
"""What every test module begins with: its paths by parameter, and a way to tell the test that it got somewhere."""


@pytest.fixture
def no_process_left() -> Iterator[None]:
    """Adopt orphans as a runner does, and fail if the test leaves a child, a zombie or a module's process behind."""
    prctl = ctypes.CDLL(None).prctl
    before = set(procfs.orphans())
    procfs.become_subreaper()
    try:
        yield
        mark = f"JOBD_JOB_ID={JOB_ID}".encode()
        alive = procfs.end_all(lambda: procfs.find(session=None, mark=mark), grace=0)
        left = set(procfs.orphans()) - before
        for pid in left:
            os.waitpid(pid, os.WNOHANG)
        assert alive == []
        assert left == set()
    finally:
        prctl(36, 0, 0, 0, 0)


@pytest.fixture
def adopting() -> Iterator[None]:
    """Adopt orphans as a runner does, and fail if the test leaves one behind."""
    before = set(procfs.orphans())
    procfs.become_subreaper()
    yield
    ctypes.CDLL(None).prctl(36, 0, 0, 0, 0)
    left = set(procfs.orphans()) - before
    for stray in filter(None, map(procfs.process, left)):
        procfs.end_all(lambda stray=stray: [now] if (now := procfs.process(stray.pid)) else [], grace=0)
    reap_orphans(list(left))
    assert left == set()


@dataclass
class Gates:
    """Named pipes on which a module and a test wait for each other."""

    folder: Path

    def path(self, name: str) -> Path:
        """Give the path of a gate, made at first use."""
        path = self.folder / name
        if not path.exists():
            os.mkfifo(path)
        return path

    def wait(self, name: str) -> str:
        """Wait until a module tells something at a gate, and give it."""
        return self.path(name).read_text()

    def open(self, name: str) -> None:
        """Let a module go on that waits at a gate."""
        self.path(name).write_text("go")


@pytest.fixture
def gates(tmp_path: Path) -> Gates:
    """Give gates, none open."""
    (tmp_path / "gates").mkdir()
    return Gates(tmp_path / "gates")


@dataclass
class Modules:
    """Writes modules and describes their entries and plans."""

    folder: Path

    def entry(self, script: str, *, step: str = "step", name: str = "entry", **rest: Any) -> PlanEntry:
        """Describe an entry that runs a script; `inputs` and `outputs` are artifacts of the parameters of that name."""
        folder = self.folder / hashlib.sha256(script.encode()).hexdigest()[:12]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "main.py").write_text(PRELUDE + script)
        bindings = {}
        for kind, param in (("inputs", "input"), ("outputs", "output")):
            names = tuple(rest.pop(kind, ()))
            bindings[kind] = (Binding(param_name=param, artifacts=names),) if names else ()
        rest = {"grace": 5.0} | rest
        return PlanEntry(
            step=step, name=name, module=name, folder=str(folder), entrypoint="main.py", **bindings, **rest
        )

    def plan(self, *entries: PlanEntry, inputs: Iterable[str] = (), public: Iterable[str] = (), **rest: Any) -> Plan:
        """Make a plan of entries in the order of their steps."""
        steps: dict[str, list[PlanEntry]] = {}
        for entry in entries:
            steps.setdefault(entry.step, []).append(entry)
        makers = dict.fromkeys(inputs, ("", "")) | {
            name: (entry.step, entry.name) for entry in entries for item in entry.outputs for name in item.artifacts
        }
        takers = [((e.step, e.name), name) for e in entries for item in e.inputs for name in item.artifacts]
        artifacts = tuple(
            PlanArtifact(
                name=name,
                type="file",
                public=name in public,
                step=maker[0],
                entry=maker[1],
                consumers=tuple(taker for taker, taken in takers if taken == name),
            )
            for name, maker in makers.items()
        )
        return Plan(
            name="example",
            inputs=tuple(PlanInput(param_name=name, type="file", artifact_names=(name,)) for name in inputs),
            artifacts=artifacts,
            steps=tuple(PlanStep(name=name, entries=tuple(items)) for name, items in steps.items()),
            **rest,
        )


@pytest.fixture
def modules(tmp_path: Path) -> Modules:
    """Give a writer of modules."""
    return Modules(tmp_path / "modules")


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    """Give a state directory with its folders."""
    made = StateDirectory(tmp_path / "state")
    made.make()
    return made


@pytest.fixture
def directory(state: StateDirectory) -> JobDirectory:
    """Give the folder of the job, as the supervisor leaves it to a runner."""
    made = state.job(JOB_ID)
    for folder in (made.artifacts, made.work, made.logs):
        folder.mkdir(parents=True)
    return made


class Daemon:
    """The part of a daemon that runners talk to, in a thread of its own; it can be closed and opened again."""

    def __init__(self, state: StateDirectory, cpus: float) -> None:
        """Prepare a daemon that is not there yet."""
        self._state = state
        self._cpus = cpus
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._news = threading.Condition()
        self.heard: list[tuple[str, ...]] = []
        self.scheduler: Scheduler
        self.lines: RunnerLines

    def open(self, *, known: bool = True) -> None:
        """Begin to serve with nothing leased, as a daemon that has just started."""

        async def begin() -> None:
            self.scheduler = Scheduler(Capacity(cpus=self._cpus))
            self.scheduler.granted = self._granted
            if known:
                self.scheduler.know(JOB_ID, priority=0, number=1)
            self.lines = RunnerLines(
                self._state,
                self.scheduler,
                connected=lambda job_id: self._hear("connected", job_id),
                hung_up=lambda job_id: self._hear("hung up", job_id),
                log=structlog.get_logger(),
            )
            await self.lines.open()

        self.run(begin())

    def close(self) -> None:
        """Stop to serve, hanging up on every runner."""
        self.run(self.lines.close())

    def end(self) -> None:
        """End the thread."""
        self.run(self._drain())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something in the daemon's thread and give what it gives."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def do(self, work: Callable[..., T], *arguments: object, **named: object) -> T:
        """Call something in the daemon's thread and give what it gives."""

        async def call() -> T:
            return work(*arguments, **named)

        return self.run(call())

    def wait_heard(self, *news: str, times: int = 1) -> None:
        """Wait until this was heard so often."""
        with self._news:
            assert self._news.wait_for(lambda: self.heard.count(news) >= times, 30), (news, self.heard)

    def _granted(self, job_id: str, key: str | None, lease: Lease) -> None:
        assert key is not None
        self.lines.grant(job_id, key, lease.gpus)
        self._hear("granted", key)

    def _hear(self, *news: str) -> None:
        with self._news:
            self.heard.append(news)
            self._news.notify_all()

    async def _drain(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def daemon(state: StateDirectory) -> Iterator[Daemon]:
    """Give a daemon with two cpus that is not open yet."""
    made = Daemon(state, cpus=2)
    yield made
    if hasattr(made, "lines"):
        made.close()
    made.end()


@dataclass
class Bench:
    """Runs one job with the real journal, link and processes, and tells what became of it."""

    state: StateDirectory
    directory: JobDirectory
    daemon: Daemon
    links: list[Link] = field(default_factory=list)
    rings: int = 0

    def make(self, plan: Plan, assignment: Assignment | None = None, past: Iterable[JobEvent] = ()) -> JobRun:
        """Make a runner's work on the job, from its beginning or from where an assignment says."""
        link = Link(self.state.run / "runners.sock", JOB_ID)
        self.links.append(link)
        end = journal.read_all(self.directory.journal).offset
        return JobRun(
            plan=plan,
            assignment=assignment or Assignment(job_id=JOB_ID, cpus=2, present=self.inputs(plan)),
            directory=self.directory,
            journal=Journal(self.directory.journal, end=end),
            link=link,
            ring=self._ring,
            past=past,
        )

    def run(self, plan: Plan, assignment: Assignment | None = None) -> Job:
        """Run the job to its end with the plain engine, and give it."""
        if assignment is None:
            for name in self.inputs(plan):
                (self.directory.artifacts / name).write_text(name)
        run_plainly(self.make(plan, assignment))
        return self.job(plan)

    def events(self) -> list[JobEvent]:
        """Give everything that the journal tells."""
        return [occurrence.event for occurrence in journal.read_all(self.directory.journal).occurrences]

    def kinds(self, *left_out: str) -> list[str]:
        """Give the kinds of the journal's events."""
        return [event.kind for event in self.events() if event.kind not in left_out]

    def job(self, plan: Plan) -> Job:
        """Give the job as the daemon would have it: the submission, then the journal."""
        submitted = [events.ArtifactPublished(name=name, size_bytes=len(name)) for name in self.inputs(plan)]
        happened = [events.JobSubmitted(), *submitted, *self.events()]
        records = [Record(sequence=n, time=float(n), event=event) for n, event in enumerate(happened, 1)]
        return replay(new_job(JOB_ID, plan, submitted=0.0), records)

    def artifacts(self) -> set[str]:
        """Name what is on disk."""
        return {path.name for path in self.directory.artifacts.iterdir()}

    def failure(self, plan: Plan) -> Failure:
        """Give why the job failed."""
        failure = self.job(plan).failure
        assert failure is not None
        return failure

    @staticmethod
    def inputs(plan: Plan) -> tuple[str, ...]:
        """Name the job's inputs."""
        return tuple(name for item in plan.inputs for name in item.artifact_names)

    def store(self) -> ArtifactStore:
        """Give the job's artifacts."""
        return ArtifactStore(self.directory.artifacts)

    def _ring(self) -> None:
        self.rings += 1


@pytest.fixture
def bench(state: StateDirectory, directory: JobDirectory, daemon: Daemon, no_process_left: None) -> Iterator[Bench]:
    """Give a bench whose daemon is open."""
    daemon.open()
    made = Bench(state, directory, daemon)
    yield made
    for link in made.links:
        link.close()
