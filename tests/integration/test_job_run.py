"""One runner's work on a job of real processes: order, artifacts, failures, retries, cancels and recovery."""

import errno
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobd import attempt_run, events, job_run, journal
from jobd.artifacts import ArtifactStore
from jobd.events import EntryRetrying, Failure, FailureKind, JobEvent
from jobd.jobs import Job
from jobd.messages import Assignment
from jobd.plain import run_plainly
from jobd.plan import Resources
from jobd.states import ArtifactState, EntryState, JobState

pytestmark = pytest.mark.timeout(60)

COPY = 'output.write_text("".join(path.read_text() for path in paths.get("input", [])) + "+")'


def fails_until(attempt: int) -> str:
    """Give a script that succeeds from an attempt on."""
    return f'{COPY}\nsys.exit(int(os.environ["JOBD_ATTEMPT"]) < {attempt} and 3)'


@pytest.fixture
def diamond(modules) -> Any:
    """Give a plan: `cut` makes two files in parallel, `join` makes one public file of both."""
    return modules.plan(
        modules.entry(COPY, step="cut", name="left", inputs=["in"], outputs=["left"]),
        modules.entry(COPY, step="cut", name="right", inputs=["in"], outputs=["right"]),
        modules.entry(COPY, step="join", name="all", inputs=["left", "right"], outputs=["out"]),
        inputs=["in"],
        public=["out"],
    )


@pytest.fixture
def delays(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Make every wait before a retry short, and keep after how many failures each was asked for."""
    asked: list[int] = []

    def short(failures: int) -> float:
        asked.append(failures)
        return 0.01

    monkeypatch.setattr(job_run, "delay_before", short)
    return asked


def states(job: Job) -> dict[str, str]:
    """Give the state of each entry."""
    return {entry.name: entry.state.value for entry in job.entries}


def test_a_job_runs_its_steps_in_order(bench, diamond):
    """Every entry succeeds, the result is made of both parts, and a step begins after the one before it."""
    job = bench.run(diamond)
    assert job.state is JobState.SUCCEEDED
    assert (bench.directory.artifacts / "out").read_text() == "in+in++"
    kinds = bench.kinds("entry_progress")
    assert kinds[:4] == ["job_started", "step_started", "entry_waiting", "entry_waiting"]
    second = kinds.index("step_started", 2)
    assert kinds[second - 1] == "step_succeeded" or kinds[second - 2] == "step_succeeded"
    assert kinds[:second].count("entry_succeeded") == 2
    assert (kinds.count("step_succeeded"), kinds[-1]) == (2, "job_succeeded")
    assert bench.rings > 5


def test_only_public_artifacts_stay(bench, diamond):
    """What is not public is removed, and the job tells why; what is public stays."""
    job = bench.run(diamond)
    assert bench.artifacts() == {"out"}
    removed = {artifact.name: artifact.reason for artifact in job.artifacts if artifact.state is ArtifactState.REMOVED}
    assert removed == dict.fromkeys(("in", "left", "right"), "its last consumer has succeeded")
    assert job.artifact("out").state is ArtifactState.PRESENT


def test_an_artifact_goes_with_its_last_consumer_and_not_before(bench, modules):
    """A file that a later step uses again is there for it, and is gone before the job's end."""
    plan = modules.plan(
        modules.entry(COPY, step="one", name="a", inputs=["in"], outputs=["mid"]),
        modules.entry(COPY, step="two", name="b", inputs=["mid"], outputs=["x"]),
        modules.entry(COPY, step="three", name="c", inputs=["mid", "x"], outputs=["out"]),
        inputs=["in"],
        public=["out", "x"],
    )
    assert bench.run(plan).state is JobState.SUCCEEDED
    order = [
        event.name if event.kind == "artifact_removed" else event.entry
        for event in bench.events()
        if event.kind in {"artifact_removed", "entry_succeeded"}
    ]
    assert order == ["a", "in", "b", "c", "mid"]


def test_what_nobody_uses_goes_at_the_end(bench, modules):
    """An output without a consumer that is not public is removed when the job has succeeded."""
    job = bench.run(modules.plan(modules.entry(COPY, outputs=["unused"])))
    assert bench.artifacts() == set()
    assert job.artifact("unused").reason == "the job has succeeded and it is not public"


def test_a_public_input_stays(bench, modules):
    """An input that is public is still there after its last use."""
    bench.run(modules.plan(modules.entry(COPY, inputs=["in"], outputs=["out"]), inputs=["in"], public=["in"]))
    assert bench.artifacts() == {"in"}


def test_a_failure_skips_the_rest_and_keeps_what_was_made(bench, modules):
    """The running sibling finishes, what has not begun is skipped, intermediates stay, and the job tells who failed."""
    plan = modules.plan(
        modules.entry(COPY, step="one", name="a", inputs=["in"], outputs=["mid"]),
        modules.entry('print("why"); sys.exit(3)', step="two", name="bad", inputs=["mid"]),
        modules.entry(COPY, step="two", name="good", inputs=["mid"], outputs=["good"]),
        modules.entry(COPY, step="three", name="last", inputs=["good"], outputs=["out"]),
        inputs=["in"],
        public=["out"],
    )
    job = bench.run(plan)
    assert (job.state, job.ended_entry_count) == (JobState.FAILED, 4)
    found = states(job)
    assert found.pop("good") in {"succeeded", "skipped"}
    assert found == {"a": "succeeded", "bad": "failed", "last": "skipped"}
    failure = bench.failure(plan)
    assert (failure.step, failure.entry, failure.exit_code, failure.log_tail) == ("two", "bad", 3, ("why",))
    assert "mid" in bench.artifacts()
    assert "out" not in bench.artifacts()
    assert "two/bad failed" in job.entry("three", "last").reason


def test_a_running_sibling_of_a_failure_finishes(bench, modules, gates):
    """An entry that runs when another fails is not ended, and its output is kept."""
    up, go = str(gates.path("up")), str(gates.path("go"))
    plan = modules.plan(
        modules.entry(f"open({up!r}).read(); sys.exit(1)", name="bad"),
        modules.entry(f"tell({up!r}); open({go!r}).read(); {COPY}", name="slow", outputs=["made"]),
    )

    def let_go() -> None:
        while "entry_failed" not in bench.kinds():
            assert thread.is_alive()
        gates.open("go")

    thread = threading.Thread(target=let_go)
    thread.start()
    job = bench.run(plan)
    thread.join()
    assert (states(job), job.state) == ({"bad": "failed", "slow": "succeeded"}, JobState.FAILED)
    assert bench.artifacts() == {"made"}


def test_a_start_that_fails_is_tried_again(bench, modules, delays, monkeypatch: pytest.MonkeyPatch):
    """An attempt whose process could not even be started is an attempt like any other."""
    start, refusals = attempt_run._start, [OSError(errno.EAGAIN, "no process to be had")]

    def refuse(*arguments: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return start(*arguments)

    monkeypatch.setattr(attempt_run, "_start", refuse)
    job = bench.run(modules.plan(modules.entry(COPY, outputs=["out"], retries=1)))
    assert (job.state, delays) == (JobState.SUCCEEDED, [1])
    assert [(event.attempt, event.failure.kind) for event in bench.events() if isinstance(event, EntryRetrying)] == [
        (1, FailureKind.SPAWN)
    ]


def test_a_full_disk_keeps_no_timeout_waiting(bench, modules, gates, monkeypatch: pytest.MonkeyPatch):
    """While one entry's end waits for room to be written down, another that talks all the time is ended in its time."""
    up, go = str(gates.path("up")), str(gates.path("go"))
    ended = str(gates.path("ended"))
    chatty = f"""
def end(*_):
    tell({ended!r})
    sys.exit(1)
signal.signal(signal.SIGTERM, end)
tell({up!r})
for number in itertools.cycle(range(100)):
    print(f"openjd_progress: {{number}}", flush=True)
    time.sleep(0.01)
"""
    plan = modules.plan(
        modules.entry(f"open({go!r}).read(); {COPY}", name="quick", outputs=["made"]),
        modules.entry("import itertools" + chatty, name="chatty", timeout=1.0),
    )
    full, waiting, room = threading.Event(), threading.Event(), threading.Event()
    write = journal.Journal._write

    def write_if_room(lines: journal.Journal, data: bytes) -> bytes:
        return data if full.is_set() else write(lines, data)

    def wait_for_room(_seconds: float) -> None:
        waiting.set()
        room.wait()

    monkeypatch.setattr(journal.Journal, "_write", write_if_room)
    monkeypatch.setattr(journal, "sleep", wait_for_room)
    run = bench.make(plan)
    thread = threading.Thread(target=run_plainly, args=(run,))
    thread.start()
    gates.wait("up")
    full.set()
    gates.open("go")
    assert waiting.wait(30)
    gates.wait("ended")
    assert thread.is_alive()
    full.clear()
    room.set()
    thread.join()
    job = bench.job(plan)
    assert (states(job), job.state) == ({"quick": "succeeded", "chatty": "failed"}, JobState.FAILED)
    assert bench.failure(plan).kind is FailureKind.TIMEOUT


def test_capacity_is_asked_for_ahead_only_where_there_is_a_thread(bench, modules, monkeypatch: pytest.MonkeyPatch):
    """What an entry without a thread is granted cannot be given back, and those with one may wait for it for ever."""
    large = [modules.entry("", name=f"large{number}", resources=Resources(cpus=9)) for number in range(12)]
    small = [modules.entry("", name=f"small{number}", resources=Resources(cpus=2)) for number in range(8)]
    plan = modules.plan(*large, *small)
    run = bench.make(plan, Assignment(job_id="abc123", cpus=16))
    wanted: list[str] = []
    monkeypatch.setattr(bench.links[0], "want", lambda key, _resources: wanted.append(key))

    def look(step: Any) -> None:
        raise LookupError(step.threads(16))

    with pytest.raises(LookupError, match="12"):
        run.drive(look)
    assert wanted == [f"step/large{number}" for number in range(12)]


def test_failures_under_an_earlier_runner_count(bench, modules, delays):
    """Whatever became of the runners, an entry fails no more often than it may."""
    plan = modules.plan(modules.entry("sys.exit(3)", retries=2))
    failure = Failure(kind=FailureKind.EXIT_CODE, message="before")
    before = [EntryRetrying(step="step", entry="entry", attempt=n, failure=failure, delay_seconds=1) for n in (1, 2)]
    run = bench.make(plan, Assignment(job_id="abc123", cpus=2, attempts=(("step", "entry", 2),)), before)
    run_plainly(run)
    assert (run.verdict, delays) == (JobState.FAILED, [])
    assert [event.attempt for event in bench.events() if event.kind == "entry_started"] == [3]


def test_a_step_is_told_to_have_succeeded_once(bench, diamond):
    """Neither an engine that takes over nor a runner that comes later tells it again."""
    run = bench.make(diamond)
    (bench.directory.artifacts / "in").write_text("in")

    def break_down(step: Any) -> None:
        if step.name == "join":
            raise LookupError
        for entry in step.entries:
            run.run_entry(entry, show=lambda _line: None)

    with pytest.raises(LookupError):
        run.drive(break_down)
    run_plainly(run)
    assert [event.step for event in bench.events() if event.kind == "step_succeeded"] == ["cut", "join"]
    everything = tuple((entry.step, entry.name) for step in diamond.steps for entry in step.entries)
    later = bench.make(
        diamond,
        Assignment(job_id="abc123", cpus=2, finished=everything, present=("out",)),
        [events.StepSucceeded(step="cut")],
    )
    run_plainly(later)
    assert [event.step for event in bench.events() if event.kind == "step_succeeded"] == ["cut", "join", "join"]


def test_what_cannot_be_removed_fails_nothing(bench, diamond, monkeypatch: pytest.MonkeyPatch):
    """An artifact that stays in spite of all stays in the record as well, and the others go."""
    remove = ArtifactStore.remove

    def refuse(store: ArtifactStore, name: str) -> None:
        if name == "left":
            raise PermissionError(errno.EACCES, "not yours")
        remove(store, name)

    monkeypatch.setattr(ArtifactStore, "remove", refuse)
    job = bench.run(diamond)
    assert job.state is JobState.SUCCEEDED
    assert bench.artifacts() == {"left", "out"}
    assert {artifact.name for artifact in job.artifacts if artifact.state is ArtifactState.PRESENT} == {"left", "out"}


def test_entries_that_wait_are_skipped_after_a_failure(bench, modules):
    """With room for two, of eight entries that fail at once at most the first ones run."""
    entries = [modules.entry("sys.exit(1)", name=f"e{number}") for number in range(8)]
    job = bench.run(modules.plan(*entries))
    found = list(states(job).values())
    assert 1 <= found.count("failed") <= 4
    assert found.count("failed") + found.count("skipped") == 8


def test_no_more_run_at_once_than_there_is_capacity(bench, modules, tmp_path: Path):
    """With two cpus, ten entries of one cpu each never overlap more than two at a time."""
    script = f"""
folder = pathlib.Path({str(tmp_path)!r}) / "running"
folder.mkdir(exist_ok=True)
own = folder / os.environ["JOBD_ENTRY"]
own.touch()
count = len(os.listdir(folder))
own.unlink()
assert count <= 2, count
"""
    entries = [modules.entry(script, name=f"e{number}") for number in range(10)]
    assert bench.run(modules.plan(*entries)).state is JobState.SUCCEEDED


def test_a_retry_that_succeeds_is_success(bench, modules, delays: list[int]):
    """An entry that may try three times more succeeds with its third attempt; each failure and wait is told."""
    job = bench.run(modules.plan(modules.entry(fails_until(3), outputs=["out"], retries=3), public=["out"]))
    assert (job.state, job.entries[0].attempt) == (JobState.SUCCEEDED, 3)
    retries = [event for event in bench.events() if isinstance(event, EntryRetrying)]
    assert [(event.attempt, event.failure.exit_code, event.delay_seconds) for event in retries] == [
        (1, 3, 0.01),
        (2, 3, 0.01),
    ]
    assert delays == [1, 2]
    assert sorted(path.name for path in bench.directory.logs.rglob("*.log")) == ["1.log", "2.log", "3.log"]


def test_retries_come_to_an_end(bench, modules, delays: list[int]):
    """After its last attempt an entry has failed with that attempt's reason."""
    job = bench.run(modules.plan(modules.entry("sys.exit(int(os.environ['JOBD_ATTEMPT']))", retries=2)))
    assert (job.state, job.entries[0].attempt, job.failure.exit_code) == (JobState.FAILED, 3, 3)
    assert delays == [1, 2]


def test_a_job_that_runs_too_long_has_failed(bench, modules):
    """The timeout of a job ends what runs, skips the rest, and is told as the reason."""
    plan = modules.plan(
        modules.entry("signal.pause()", step="one", name="a"), modules.entry("", step="two", name="b"), timeout=0.5
    )
    job = bench.run(plan)
    assert (job.state, job.failure.kind) == (JobState.FAILED, FailureKind.TIMEOUT)
    assert job.entry("two", "b").state is EntryState.SKIPPED
    assert job.entry("one", "a").state in {EntryState.CANCELLED, EntryState.FAILED}


def cancel_when(bench, happens: Callable[[list[JobEvent]], bool]) -> threading.Thread:
    """Have the daemon cancel the job as soon as the journal holds something."""

    def watch() -> None:
        while not happens(bench.events()):
            assert thread.is_alive()
        bench.daemon.do(bench.daemon.lines.cancel, "abc123", "asked")

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def has(kind: str, entry: str = "") -> Callable[[list[JobEvent]], bool]:
    """Tell whether an event of a kind, of an entry if one is named, has happened."""
    return lambda seen: any(
        event.kind == kind and (not entry or getattr(event, "entry", None) == entry) for event in seen
    )


@pytest.mark.parametrize(
    ("script", "retries", "moment"),
    [("signal.pause()", 0, has("entry_started", "a")), ("sys.exit(1)", 5, has("entry_retrying"))],
    ids=["running", "between attempts"],
)
def test_a_cancel_ends_the_job(bench, modules, script: str, retries: int, moment: Callable):
    """Wherever a job stands, a cancel ends what runs or waits, skips the rest, and keeps what was made."""
    plan = modules.plan(
        modules.entry(script, step="one", name="a", inputs=["in"], retries=retries),
        modules.entry(COPY, step="two", name="b", outputs=["out"]),
        inputs=["in"],
        public=["out"],
    )
    thread = cancel_when(bench, moment)
    run = bench.make(plan)
    (bench.directory.artifacts / "in").write_text("in")
    run_plainly(run)
    thread.join()
    assert run.verdict is JobState.CANCELLED
    assert bench.kinds()[-1] == "job_cancelled"
    ended = {
        e.entry: e.kind.removeprefix("entry_") for e in bench.events() if e.kind in {"entry_cancelled", "entry_skipped"}
    }
    assert ended == {"a": "cancelled", "b": "skipped"}
    assert bench.artifacts() == {"in"}


def test_a_cancel_reaches_what_waits_for_capacity(bench, modules):
    """Of four entries with room for two, those that run are cancelled and those that wait are skipped."""
    entries = [modules.entry("signal.pause()", name=f"e{number}") for number in range(4)]
    plan = modules.plan(*entries)
    thread = cancel_when(bench, lambda seen: sum(event.kind == "entry_started" for event in seen) == 2)
    run_plainly(bench.make(plan))
    thread.join()
    kinds = bench.kinds()
    assert (kinds.count("entry_cancelled"), kinds.count("entry_skipped"), kinds[-1]) == (2, 2, "job_cancelled")


def test_a_cancel_before_the_first_entry_runs_nothing(bench, modules):
    """A job that is cancelled before its runner has begun starts no process."""
    run = bench.make(modules.plan(modules.entry("signal.pause()")))
    bench.daemon.wait_heard("connected", "abc123")
    bench.daemon.do(bench.daemon.lines.cancel, "abc123", "asked")
    assert bench.links[0].wait_cancelled(10)
    run_plainly(run)
    assert bench.kinds("job_started", "step_started", "entry_waiting") == ["entry_skipped", "job_cancelled"]


def test_a_runner_goes_on_where_another_stopped(bench, diamond):
    """With one entry done and its output there, only the others run, and attempts are counted on."""
    (bench.directory.artifacts / "in").write_text("in")
    (bench.directory.artifacts / "left").write_text("from before")
    assignment = Assignment(
        job_id="abc123",
        cpus=2,
        finished=(("cut", "left"),),
        attempts=(("cut", "left", 1), ("cut", "right", 1)),
        present=("in", "left"),
    )
    run_plainly(bench.make(diamond, assignment))
    started = [(event.entry, event.attempt) for event in bench.events() if event.kind == "entry_started"]
    assert started == [("right", 2), ("all", 1)]
    assert (bench.directory.artifacts / "out").read_text() == "from beforein++"
    assert bench.artifacts() == {"out"}


def test_a_runner_with_nothing_left_to_do_ends_the_job(bench, diamond):
    """When a runner died after its last entry, the next one removes what is left over and writes the end."""
    for name in ("in", "left", "out"):
        (bench.directory.artifacts / name).write_text(name)
    everything = tuple((entry.step, entry.name) for step in diamond.steps for entry in step.entries)
    run = bench.make(diamond, Assignment(job_id="abc123", cpus=2, finished=everything, present=("in", "left", "out")))
    run_plainly(run)
    assert run.verdict is JobState.SUCCEEDED
    assert "entry_started" not in bench.kinds()
    assert bench.artifacts() == {"out"}


def test_a_second_engine_changes_nothing_of_what_has_ended(bench, diamond):
    """An engine that is put to a job that has its verdict adds nothing to the journal."""
    (bench.directory.artifacts / "in").write_text("in")
    run = bench.make(diamond)
    run_plainly(run)
    before = bench.events()
    run_plainly(run)
    assert [event for event in bench.events() if event not in before] == []
    assert bench.kinds().count("job_succeeded") == 1


def test_another_engine_takes_over_from_a_broken_one(bench, diamond):
    """An engine that breaks down after an entry leaves a job that another brings to its end, each entry run once."""
    (bench.directory.artifacts / "in").write_text("in")
    run = bench.make(diamond)

    def broken(step: Any) -> None:
        run.run_entry(step.entries[0], show=lambda _line: None)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run.drive(broken)
    run_plainly(run)
    assert run.verdict is JobState.SUCCEEDED
    assert bench.kinds().count("entry_started") == 3
    assert bench.job(diamond).state is JobState.SUCCEEDED
