"""A runner may die at any moment: whatever it had written by then, another brings the job to the same end."""

from typing import Any

import pytest

from jobd import events, journal, launcher
from jobd.containment import NOTHING_ASKED
from jobd.events import JobEvent, Record
from jobd.history import apply, replay
from jobd.jobs import Job, new_job
from jobd.journal import Journal
from jobd.messages import Assignment
from jobd.plain import run_plainly
from jobd.plan import Plan
from jobd.states import JobState

pytestmark = pytest.mark.timeout(120)

COPY = 'output.write_text("".join(path.read_text() for path in paths.get("input", [])) + "+")'


def fold(plan: Plan, happened: list[JobEvent]) -> Job:
    """Give the job that a history makes."""
    records = [Record(sequence=n, time=float(n), event=event) for n, event in enumerate(happened, 1)]
    return replay(new_job("abc123", plan, submitted=0.0), records)


def recover(bench: Any, plan: Plan, before: list[JobEvent]) -> tuple[list[JobEvent], Job]:
    """Let the runner of a history be dead, and another go on; gives the whole history and the job."""
    before = [*before, events.JobRecovering(reason="its runner died")]
    job = fold(plan, before)
    assignment = launcher._assignment(job, 2.0, "launch", NOTHING_ASKED)
    for name in bench.artifacts() - set(assignment.present):
        (bench.directory.artifacts / name).unlink()
    for name in set(assignment.present) - bench.artifacts():
        (bench.directory.artifacts / name).write_text(name)
    bench.directory.journal.unlink(missing_ok=True)
    run_plainly(bench.make(plan, assignment))
    after = [*before, *bench.events()]
    return after, fold(plan, after)


def history(bench: Any, plan: Plan) -> list[JobEvent]:
    """Run the job once without a fault, and give its history with its submission."""
    job = bench.run(plan)
    submitted = [events.ArtifactPublished(name=name, size_bytes=1) for name in bench.inputs(plan)]
    assert job.terminal
    return [events.JobSubmitted(), *submitted, *bench.events()]


@pytest.fixture
def good_plan(modules) -> Plan:
    """Give a plan that succeeds."""
    return modules.plan(
        modules.entry(COPY, step="one", name="a", inputs=["in"], outputs=["mid"]),
        modules.entry(COPY, step="two", name="b", inputs=["mid"], outputs=["out"]),
        inputs=["in"],
        public=["out"],
    )


@pytest.fixture
def bad_plan(modules) -> Plan:
    """Give a plan whose first step has an entry that fails."""
    return modules.plan(
        modules.entry(COPY, step="one", name="good", inputs=["in"], outputs=["mid"]),
        modules.entry("sys.exit(3)", step="one", name="bad"),
        modules.entry(COPY, step="two", name="b", inputs=["mid"], outputs=["out"]),
        inputs=["in"],
        public=["out"],
    )


def test_wherever_a_runner_dies_the_job_succeeds(bench, good_plan: Plan):
    """From every place in the history of a job that succeeds, a second runner ends it with success, legally."""
    whole = history(bench, good_plan)
    for place in range(2, len(whole)):
        after, job = recover(bench, good_plan, whole[:place])
        assert job.state is JobState.SUCCEEDED, whole[:place][-1]
        assert bench.artifacts() == {"out"}
        done = [event.entry for event in after if event.kind == "entry_succeeded"]
        assert sorted(done) == ["a", "b"]


def test_wherever_a_runner_dies_a_failed_job_is_failed(bench, bad_plan: Plan):
    """From every place in the history of a job that fails, a second runner ends it as failed, legally."""
    whole = history(bench, bad_plan)
    wrong: list[str] = []
    for place in range(2, len(whole)):
        try:
            _after, job = recover(bench, bad_plan, whole[:place])
        except Exception as error:  # noqa: BLE001 - every place is looked at, and all that are wrong are told
            wrong.append(f"after {whole[place - 1].kind} {getattr(whole[place - 1], 'entry', '')}: {error}")
        else:
            if job.state is not JobState.FAILED or job.failure is None:
                wrong.append(f"after {whole[place - 1].kind}: {job.state}")
    assert wrong == []


def test_a_torn_journal_is_gone_on_with(bench, good_plan: Plan):
    """A second runner cuts off the line that the first could not finish, and the history is whole and legal."""
    history(bench, good_plan)
    data = bench.directory.journal.read_bytes()
    lines = data.splitlines(keepends=True)
    torn = b"".join(lines[:4]) + lines[4][:-9]
    bench.directory.journal.write_bytes(torn)
    kept = bench.events()
    assert len(kept) == 4
    with Journal(bench.directory.journal, end=journal.read_all(bench.directory.journal).offset) as end:
        end.append(journal.read(bench.directory.journal, limit=1).occurrences, durable=True)
    assert len(bench.events()) > 4
    assert bench.directory.journal.stat().st_size > len(b"".join(lines[:4]))


def test_an_assignment_tells_all_that_a_runner_needs(bench, good_plan: Plan):
    """What is finished, how often each entry was tried and what is on disk is read off the job."""
    whole = history(bench, good_plan)
    place = next(n for n, event in enumerate(whole) if event.kind == "entry_started" and event.entry == "b") + 1
    job = fold(good_plan, whole[:place])
    assignment = launcher._assignment(job, 2.0, "launch", NOTHING_ASKED)
    assert assignment == Assignment(
        job_id="abc123",
        launch="launch",
        cpus=2.0,
        started=job.started,
        finished=(("one", "a"),),
        attempts=(("one", "a", 1), ("two", "b", 1)),
        present=("mid",),
    )


def test_a_recovered_job_cannot_go_back_to_an_ended_entry(good_plan: Plan):
    """What had ended stays ended after a recovery too, so that a fault is seen and does not spread."""
    at = {"step": "one", "entry": "a"}
    happened: list[JobEvent] = [
        events.JobSubmitted(),
        events.JobStarted(flow_run_id=""),
        events.EntryWaiting(**at),
        events.EntryStarted(**at, attempt=1, pid=1),
        events.EntrySucceeded(**at, attempt=1),
        events.JobRecovering(reason="it died"),
    ]
    job = fold(good_plan, happened)
    with pytest.raises(Exception, match="succeeded cannot become waiting"):
        apply(job, Record(sequence=7, time=7.0, event=events.EntryWaiting(**at)))
