"""Jobs on their way through the supervisor: launched, cancelled, recovered, taken back; never run twice."""

import asyncio
import os
import signal
import socket
import subprocess
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from jobd import daemon, events, procfs, runner
from jobd import supervisor as supervisor_module
from jobd.errors import DiskFullError
from jobd.events import FailureKind, JobEvent
from jobd.fair_share import Lease
from jobd.messages import Assignment
from jobd.plan import Capacity, Resources
from jobd.room import Room
from jobd.states import EntryState, JobState
from jobd.supervisor import MAX_RECOVERIES

pytestmark = pytest.mark.timeout(60)

RUNNING: tuple[JobEvent, ...] = (
    events.JobStarted(flow_run_id="run-1"),
    events.StepStarted(step="one"),
    events.EntryWaiting(step="one", entry="copy"),
    events.EntryStarted(step="one", entry="copy", attempt=1, pid=1),
)
DONE: tuple[JobEvent, ...] = (
    *RUNNING,
    events.ArtifactPublished(name="mid.txt", size_bytes=5),
    events.EntrySucceeded(step="one", entry="copy", attempt=1),
    events.EntryWaiting(step="two", entry="copy"),
    events.EntryStarted(step="two", entry="copy", attempt=1, pid=2),
    events.ArtifactPublished(name="out.txt", size_bytes=5),
    events.EntrySucceeded(step="two", entry="copy", attempt=1),
    events.JobSucceeded(),
)


def test_a_job_is_given_a_runner_with_all_it_needs(office):
    """When the nursery is asked for a runner, the plan, the assignment and the input are on disk."""

    async def work(office) -> None:
        job = await office.submit()
        assert await office.launched() == job.id
        directory = office.state.job(job.id)
        assignment = Assignment.model_validate_json(directory.assignment.read_bytes())
        assert (assignment.job_id, assignment.present, assignment.finished) == (job.id, ("in.txt",), ())
        assert directory.plan.exists()
        assert (directory.artifacts / "in.txt").read_text() == "given"

    office(work)


def test_more_jobs_than_cpus_wait_in_the_queue(office):
    """Only as many jobs get a runner as there is room for; the others are rows that say what they wait for."""

    async def work(office) -> None:
        jobs = [await office.submit() for _ in range(5)]
        assert [await office.launched(), await office.launched()] == [jobs[0].id, jobs[1].id]
        await office.settle()
        assert office.nursery.forks.empty()
        assert "capacity" in office.store.get(jobs[4].id).reason
        office.write(jobs[0].id, *DONE)
        office.supervisor.runner_ended(jobs[0].id, runner.EXIT_DONE)
        assert await office.launched() == jobs[2].id

    office(work)


def test_a_start_that_breaks_down_is_tried_again(office, monkeypatch: pytest.MonkeyPatch):
    """Whatever goes wrong in a start, the job is no row for ever: it gets a runner later, and others meanwhile."""

    async def work(office) -> None:
        monkeypatch.setattr(supervisor_module, "_RETRY_SECONDS", 0.0)
        write, failures = office.supervisor._launcher._write_assignment, [KeyError("first"), KeyError("second")]

        def fail(*arguments: object) -> None:
            if failures:
                raise failures.pop()
            write(*arguments)

        monkeypatch.setattr(office.supervisor._launcher, "_write_assignment", fail)
        job = await office.submit()
        assert await office.launched() == job.id
        assert (failures, office.scheduler.used().cpus) == ([], 1)
        other = await office.submit()
        assert await office.launched() == other.id

    office(work)


def test_many_that_start_at_once_are_started_a_few_at_a_time(office, monkeypatch: pytest.MonkeyPatch):
    """However much room there is, no more than eight jobs are on their way to a runner at a time; all get one."""

    async def work(office) -> None:
        launch, most, now = office.supervisor._launcher.launch, 0, 0

        async def count(job_id: str) -> None:
            nonlocal most, now
            now += 1
            most = max(most, now)
            await launch(job_id)
            now -= 1

        monkeypatch.setattr(office.supervisor._launcher, "launch", count)
        office.scheduler.hold_back("all are to start at once")
        office.scheduler._room = Room.of(Capacity(cpus=100))
        jobs = {(await office.submit()).id for _ in range(20)}
        office.scheduler.resume("all are to start at once")
        assert {await office.launched() for _ in jobs} == jobs
        assert 1 < most <= 8

    office(work)


def test_a_job_that_has_ended_is_let_go(office):
    """The last words of a runner are taken in, and nothing of the job but its results and logs is left."""

    async def work(office) -> None:
        job = await office.submit()
        await office.launched()
        office.write(job.id, *DONE)
        office.supervisor.runner_ended(job.id, runner.EXIT_DONE)
        ended = await office.until(job.id, lambda job: job.terminal)
        await office.settle()
        assert ended.state is JobState.SUCCEEDED
        assert not office.state.job(job.id).work.exists()
        assert office.scheduler.used().cpus == 0

    office(work)


def test_a_queued_job_is_cancelled_at_once(office):
    """A job without a runner ends as cancelled, gives its place in the queue to the next, and is never launched."""

    async def work(office) -> None:
        jobs = [await office.submit() for _ in range(4)]
        await office.launched(), await office.launched()
        cancelled = await office.supervisor.cancel(jobs[2].id, "asked")
        assert (cancelled.state, cancelled.reason) == (JobState.CANCELLED, "asked")
        again = await office.supervisor.cancel(jobs[2].id, "asked again")
        assert (again.state, again.reason, again.sequence) == (JobState.CANCELLED, "asked", cancelled.sequence)
        office.write(jobs[0].id, *DONE)
        office.supervisor.runner_ended(jobs[0].id, runner.EXIT_DONE)
        assert await office.launched() == jobs[3].id

    office(work)


def test_a_job_cancelled_while_it_is_launched_gets_no_runner(office, monkeypatch: pytest.MonkeyPatch):
    """A cancel that comes while the assignment is being written ends the job, and no runner is forked for it."""

    async def work(office) -> None:
        begun, go = threading.Event(), threading.Event()
        write = office.supervisor._launcher._write_assignment

        def slow(job, name) -> None:
            begun.set()
            assert go.wait(20)
            write(job, name)

        monkeypatch.setattr(office.supervisor._launcher, "_write_assignment", slow)
        job = await office.submit()
        assert await asyncio.to_thread(begun.wait, 20)
        cancelled = await office.supervisor.cancel(job.id, "asked")
        go.set()
        await office.settle()
        if not office.nursery.forks.empty():
            assert cancelled.state is JobState.CANCELLING, "a runner was forked for a job that had ended"
        else:
            assert office.store.get(job.id).state is JobState.CANCELLED

    office(work)


def test_a_cancel_of_a_running_job_waits_for_its_runner(office):
    """A job with a runner is cancelling until the runner says that nothing of it lives."""

    async def work(office) -> None:
        job = await office.submit()
        await office.launched()
        with office.runner(job.id):
            office.write(job.id, *RUNNING)
            await office.ingest.take(job.id)
            assert (await office.supervisor.cancel(job.id, "asked")).state is JobState.CANCELLING
            told = events.EntryCancelled(step="one", entry="copy", reason="asked")
            rest = events.EntrySkipped(step="two", entry="copy", reason="asked")
            office.write(job.id, told, rest, events.JobCancelled(reason="asked"))
        office.supervisor.runner_ended(job.id, runner.EXIT_DONE)
        ended = await office.until(job.id, lambda job: job.terminal)
        assert (ended.state, ended.reason) == (JobState.CANCELLED, "asked")

    office(work)


def test_a_runner_that_dies_while_cancelling_ends_the_job(office):
    """When nothing is left that could say so, the daemon writes the cancelled job's end itself."""

    async def work(office) -> None:
        job = await office.submit()
        await office.launched()
        office.write(job.id, *RUNNING)
        await office.ingest.take(job.id)
        await office.supervisor.cancel(job.id, "asked")
        office.supervisor.runner_ended(job.id, -signal.SIGKILL)
        ended = await office.until(job.id, lambda job: job.terminal)
        assert (ended.state, ended.entry("one", "copy").state) == (JobState.CANCELLED, EntryState.CANCELLED)

    office(work)


def test_a_dead_runner_is_followed_by_another(office):
    """What the dead one wrote counts, what it had not finished is pending again, and the next one is told."""

    async def work(office) -> None:
        job = await office.submit()
        await office.launched()
        office.write(job.id, *RUNNING)
        office.supervisor.runner_ended(job.id, -signal.SIGKILL)
        assert await office.launched() == job.id
        job = office.store.get(job.id)
        assert (job.recoveries, job.entry("one", "copy").state) == (1, EntryState.PENDING)
        assignment = Assignment.model_validate_json(office.state.job(job.id).assignment.read_bytes())
        assert assignment.attempts == (("one", "copy", 1),)
        told = [record.event for record in office.store.events_after(job.id, 0)]
        assert any(event.kind == "job_recovering" and "SIGKILL" in event.reason for event in told)

    office(work)


def test_a_job_that_kills_every_runner_fails(office):
    """After so many recoveries the job has failed through no fault of a module, and nothing of it is leased."""

    async def work(office) -> None:
        job = await office.submit()
        for _ in range(MAX_RECOVERIES + 1):
            assert await office.launched() == job.id
            office.supervisor.runner_ended(job.id, 70)
        ended = await office.until(job.id, lambda job: job.terminal)
        await office.settle()
        assert (ended.state, ended.failure.kind) == (JobState.FAILED, FailureKind.SYSTEM)
        assert office.nursery.forks.empty()
        assert office.scheduler.used().cpus == 0

    office(work)


def refuse_once(office, monkeypatch: pytest.MonkeyPatch, event: type[JobEvent]) -> list[str]:
    """Have the store refuse the first decision that an event of a kind comes of; gives the job it was about, then."""
    decide, refused = office.supervisor._decide, []

    async def refuse(job_id: str, decision: Any) -> Any:
        job = office.store.get(job_id)
        if not refused and any(isinstance(item.event, event) for item in decision(job)):
            refused.append(job_id)
            raise DiskFullError("the store cannot be written")
        return await decide(job_id, decision)

    monkeypatch.setattr(office.supervisor, "_decide", refuse)
    return refused


def test_a_cancel_that_cannot_be_written_down_changes_nothing(office, monkeypatch: pytest.MonkeyPatch):
    """Who asked is told so; the job starts in its turn, and what is set aside for it is lost to nobody."""

    async def work(office) -> None:
        monkeypatch.setattr(supervisor_module, "_RETRY_SECONDS", 0.01)
        jobs = [await office.submit() for _ in range(4)]
        assert {await office.launched(), await office.launched()} == {jobs[0].id, jobs[1].id}
        refused = refuse_once(office, monkeypatch, events.JobCancelling)
        with pytest.raises(DiskFullError):
            await office.supervisor.cancel(jobs[2].id, "asked")
        assert refused == [jobs[2].id]
        for done in jobs[:2]:
            office.write(done.id, *DONE)
            office.supervisor.runner_ended(done.id, runner.EXIT_DONE)
        assert {await office.launched(), await office.launched()} == {jobs[2].id, jobs[3].id}
        assert not office.store.get(jobs[2].id).terminal

    office(work)


@pytest.mark.parametrize("late", [False, True], ids=["in time", "late"])
def test_a_refused_cancel_leaves_a_start_that_is_under_way(office, monkeypatch: pytest.MonkeyPatch, late: bool):
    """A job on its way to a runner gets one, and what that asks for, whether or not it takes longer than a retry."""

    async def work(office) -> None:
        monkeypatch.setattr(supervisor_module, "_RETRY_SECONDS", 0.01 if late else 30.0)
        begun, go, launcher = threading.Event(), threading.Event(), office.supervisor._launcher
        write, written = launcher._write_assignment, []

        def write_slowly(job: Any, name: str) -> None:
            written.append(name)
            begun.set()
            assert go.wait(20)
            write(job, name)

        monkeypatch.setattr(launcher, "_write_assignment", write_slowly)
        job = await office.submit()
        assert await asyncio.to_thread(begun.wait, 20)
        refuse_once(office, monkeypatch, events.JobCancelling)
        with pytest.raises(DiskFullError):
            await office.supervisor.cancel(job.id, "asked")
        if late:
            await asyncio.sleep(0.1)  # in which a job that is not looked after would be queued anew
        go.set()
        assert await office.launched() == job.id
        await office.settle()
        assert (len(written), office.nursery.forks.qsize()) == (1, 0)
        granted = []
        office.scheduler.granted = lambda *grant: granted.append(grant[:2])
        office.scheduler.restate(job.id, {})
        office.scheduler.want(job.id, "one/copy", Resources(cpus=1))
        assert granted == [(job.id, "one/copy")]

    office(work)


def test_a_death_that_cannot_be_written_down_is_seen_again(office, monkeypatch: pytest.MonkeyPatch):
    """A job whose runner dies while the store refuses is given another when the store takes changes again."""

    async def work(office) -> None:
        monkeypatch.setattr(supervisor_module, "_LOOK_SECONDS", 0.01)
        job = await office.submit()
        await office.launched()
        office.write(job.id, *RUNNING)
        refused = refuse_once(office, monkeypatch, events.JobRecovering)
        office.supervisor.runner_ended(job.id, -9)
        await office.settle()
        assert refused == [job.id]
        watching = asyncio.create_task(office.supervisor.watch())
        assert await office.launched() == job.id
        watching.cancel()
        assert office.store.get(job.id).recoveries == 1

    office(work)


def test_no_second_runner_while_the_first_may_live(office):
    """While the lock is held, neither a lost line nor word of an end makes another runner."""

    async def work(office) -> None:
        job = await office.submit()
        await office.launched()
        with office.runner(job.id):
            office.supervisor.hung_up(job.id)
            office.supervisor.runner_ended(job.id, -signal.SIGKILL)
            await office.settle()
            assert office.nursery.forks.empty()
            assert office.store.get(job.id).recoveries == 0

    office(work)


@pytest.mark.usefixtures("no_process_left")
def test_what_a_dead_runner_left_running_is_killed_first(office):
    """A module's process that outlived its runner is dead before another runner is asked for."""

    async def work(office) -> None:
        job = await office.submit()
        await office.launched()
        env = {"JOBD_JOB_ID": job.id, "PATH": os.environ["PATH"]}
        child = subprocess.Popen(["sleep", "1000"], env=env, start_new_session=True)  # noqa: ASYNC220 - quick
        try:
            office.supervisor.runner_ended(job.id, -signal.SIGKILL)
            await office.launched()
            assert procfs.process(child.pid) is None
        finally:
            child.kill()
            child.wait()

    office(work)


def test_what_a_living_runner_holds_is_not_given_to_others(opened):
    """A new daemon grants nothing before the runners of the old one have told what they hold."""

    async def work() -> None:
        async with opened(cpus=1) as office:
            running = await office.submit()
            assert await office.launched() == running.id
            waiting = await office.submit()
        with office.runner(running.id):
            async with opened(cpus=1) as office:
                await office.supervisor.take_back()
                await asyncio.sleep(0)
                assert office.nursery.forks.empty()
                assert office.scheduler.used().cpus == 0, "it was granted to another"
                office.scheduler.restate(running.id, {"one/copy": Lease(Resources(cpus=1))})
                office.supervisor.connected(running.id)
                await office.settle()
                assert office.nursery.forks.empty()
                assert office.store.get(waiting.id).state is JobState.QUEUED
                office.scheduler.release(running.id, "one/copy")
                assert await office.launched() == waiting.id

    asyncio.run(work())


def test_a_runner_that_was_only_just_born_is_heard(opened, monkeypatch):
    """One that takes its lock after the new daemon has looked says once what it wants, and gets it."""

    async def work() -> None:
        async with opened(cpus=1) as office:
            job = await office.submit()
            assert await office.launched() == job.id
        with office.runner(job.id):
            async with opened(cpus=1) as office:
                monkeypatch.setattr(runner, "is_locked", lambda _path: False)
                await office.supervisor.take_back()
                office.scheduler.restate(job.id, {})
                office.scheduler.want(job.id, "one/copy", Resources(cpus=1))
                await office.settle()
                assert office.scheduler.used().cpus == 1

    asyncio.run(work())


def test_runners_are_heard_once_their_jobs_are_known():
    """A runner says once what it holds and wants; a daemon that does not know its job yet would lose that."""
    order = []

    def step(name: str) -> Any:
        async def take() -> None:
            order.append(name)

        return take

    ear, _mouth = socket.socketpair()
    lines = SimpleNamespace(open=step("lines open"), close=step("lines close"))
    supervisor = SimpleNamespace(lines=lines, take_back=step("jobs known"), close=step("close"))
    machinery = SimpleNamespace(supervisor=supervisor, ingest=SimpleNamespace(listen=lambda: ear))
    base = SimpleNamespace(api=SimpleNamespace(close=step("api")), store=None, telemetry=None)
    front = SimpleNamespace(submissions=SimpleNamespace(remove_strays=lambda: 0))

    async def work() -> None:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(daemon, "_close_behind", lambda *_: None)
            async with daemon._taking_back(base, machinery, front):
                assert order == ["jobs known", "lines open"]

    asyncio.run(work())


def test_jobs_are_taken_back_after_a_restart(opened):
    """The next daemon launches what was queued, recovers what had a runner that is gone, and ends what was ending."""

    async def work() -> None:
        async with opened() as office:
            dead, cancelling = await office.submit(), await office.submit()
            assert {await office.launched(), await office.launched()} == {dead.id, cancelling.id}
            queued = await office.submit()
            office.write(dead.id, *RUNNING)
            office.write(cancelling.id, *RUNNING)
            await office.ingest.take(cancelling.id)
            await office.supervisor.cancel(cancelling.id, "asked")
        async with opened() as office:
            await office.supervisor.take_back()
            assert {await office.launched(), await office.launched()} == {dead.id, queued.id}
            assert office.store.get(dead.id).recoveries == 1
            ended = await office.until(cancelling.id, lambda job: job.terminal)
            assert ended.state is JobState.CANCELLED

    asyncio.run(work())


def test_what_a_runner_finished_without_a_daemon_counts(opened):
    """A job that ran to its end while no daemon served is simply found to have succeeded."""

    async def work() -> None:
        async with opened() as office:
            job = await office.submit()
            await office.launched()
        office.write(job.id, *DONE)
        async with opened() as office:
            await office.supervisor.take_back()
            ended = await office.until(job.id, lambda job: job.terminal)
            assert (ended.state, ended.recoveries) == (JobState.SUCCEEDED, 0)
            await office.settle()
            assert office.nursery.forks.empty()

    asyncio.run(work())
