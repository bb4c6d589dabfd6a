"""An engine that breaks down, hangs or comes too late: its job runs on plainly, every entry once, within bounds."""

import threading
from typing import Any

import pytest

from jobd import engine as engine_module
from jobd import job_run
from jobd.engine import run_to_end
from jobd.job_run import JobRun, TooLateError
from jobd.plain import run_plainly
from jobd.states import JobState

pytestmark = pytest.mark.timeout(60)

NEVER = 3600.0


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for no bound by chance: each test shortens the one that it is about."""
    monkeypatch.setattr(engine_module, "BEGIN_SECONDS", NEVER)
    monkeypatch.setattr(engine_module, "END_SECONDS", NEVER)


@pytest.fixture
def plan(modules) -> Any:
    """Give a job of two steps."""
    write = 'output.write_text("made")'
    return modules.plan(
        modules.entry(write, step="one", name="a", outputs=["x"]),
        modules.entry(write, step="two", name="b", inputs=["x"], outputs=["y"]),
    )


def begun_by(bench) -> list[str]:
    """Give the flow run of every begin that the journal tells of."""
    return [event.flow_run_id for event in bench.events() if event.kind == "job_started"]


def test_an_engine_that_breaks_down_at_once_is_not_waited_for(bench, plan):
    """The job goes on without it, although it had an hour to begin."""

    def broken(_run: JobRun) -> None:
        raise ConnectionError("no engine today")

    assert run_to_end(bench.make(plan), broken) is JobState.SUCCEEDED
    assert begun_by(bench) == [""]
    assert bench.kinds().count("entry_succeeded") == 2


def test_an_engine_that_ends_its_thread_is_not_waited_for(bench, plan):
    """What Prefect breaks off with is no Exception to Python."""

    def broken(_run: JobRun) -> None:
        raise SystemExit

    assert run_to_end(bench.make(plan), broken) is JobState.SUCCEEDED


def test_a_cancel_waits_for_no_engine(bench, plan, monkeypatch: pytest.MonkeyPatch):
    """A job whose engine hangs before it has begun is cancelled without it."""
    monkeypatch.setattr(job_run, "_CANCEL_SECONDS", 0.05)
    over = threading.Event()

    def hanging(_run: JobRun) -> None:
        over.wait()

    run = bench.make(plan)
    bench.daemon.wait_heard("connected", "abc123")
    bench.daemon.do(bench.daemon.lines.cancel, "abc123", "asked")
    try:
        assert run_to_end(run, hanging) is JobState.CANCELLED
    finally:
        over.set()


def test_an_engine_that_breaks_down_on_its_way_leaves_the_rest(bench, plan):
    """What it has done stays done, and the job stays the one that it began."""

    def broken(run: JobRun) -> None:
        run.begin("run-1")
        step = plan.steps[0]
        run.run_entry(step.entries[0], show=lambda _line: None)
        raise ConnectionError("no engine any more")

    assert run_to_end(bench.make(plan), broken) is JobState.SUCCEEDED
    assert begun_by(bench) == ["run-1"]
    assert [event.entry for event in bench.events() if event.kind == "entry_succeeded"] == ["a", "b"]


def test_an_engine_that_begins_too_late_is_refused(bench, plan, monkeypatch: pytest.MonkeyPatch):
    """It has lost the job, which has run without it; nothing runs twice."""
    monkeypatch.setattr(engine_module, "BEGIN_SECONDS", 0.05)
    ended, refused = threading.Event(), threading.Event()

    def late(run: JobRun) -> None:
        ended.wait()
        try:
            run.begin("run-1")
        except TooLateError:
            refused.set()
            raise

    assert run_to_end(bench.make(plan), late) is JobState.SUCCEEDED
    ended.set()
    assert refused.wait(10)
    assert begun_by(bench) == [""]
    assert bench.kinds().count("entry_started") == 2


def test_an_engine_that_begins_as_its_time_is_up_has_the_job_alone(bench, plan, monkeypatch: pytest.MonkeyPatch):
    """Whoever begins has the job: the other neither begins nor runs an entry."""
    run = bench.make(plan)
    time_up, begun = threading.Event(), threading.Event()

    def time_is_up(_seconds: float) -> bool:
        time_up.set()
        begun.wait()
        return False

    def punctual(run: JobRun) -> None:
        time_up.wait()
        run.begin("run-1")
        begun.set()
        run_plainly(run)

    monkeypatch.setattr(run, "wait_begun", time_is_up)
    assert run_to_end(run, punctual) is JobState.SUCCEEDED
    assert begun_by(bench) == ["run-1"]
    assert bench.kinds().count("entry_started") == 2
    assert bench.kinds().count("job_succeeded") == 1


def test_an_engine_that_does_not_return_holds_its_runner_for_a_bounded_time(
    bench, plan, monkeypatch: pytest.MonkeyPatch
):
    """The job has ended; what the engine still does is waited for, and not for ever."""
    monkeypatch.setattr(engine_module, "END_SECONDS", 0.05)
    over = threading.Event()

    def hanging(run: JobRun) -> None:
        run_plainly(run)
        over.wait()

    try:
        assert run_to_end(bench.make(plan), hanging) is JobState.SUCCEEDED
        assert bench.kinds()[-1] == "job_succeeded"
    finally:
        over.set()
