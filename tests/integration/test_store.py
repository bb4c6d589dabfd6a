"""The store: accepted jobs, gapless histories, journals taken in once, and the same answers after a restart."""

import random
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import event

from jobd import events
from jobd.errors import IllegalTransitionError, InvalidRequestError, JobNotFoundError, RequestIdReusedError
from jobd.events import Failure, FailureKind, JobEvent, Occurrence
from jobd.history import replay
from jobd.job_filter import JobFilter
from jobd.jobs import Job, new_job
from jobd.plan import Plan
from jobd.states import JobState
from jobd.store import Acceptance, Store

FAILURE = Failure(kind=FailureKind.EXIT_CODE, message="it exited with code 3", exit_code=3, log_tail=("é", ""))


def at(time: float, *happened: JobEvent) -> tuple[Occurrence, ...]:
    """Let events happen at a time."""
    return tuple(Occurrence(time=time, event=event) for event in happened)


@dataclass
class Shop:
    """A store that can be closed and opened, and jobs for it."""

    path: Path
    a_plan: Plan
    told: list[dict[str, Job]] = field(default_factory=list)

    def open(self) -> Store:
        """Open the store."""
        self.store = Store(self.path, changed=lambda jobs: self.told.append(dict(jobs)))
        return self.store

    def reopen(self) -> Store:
        """Close the store and open it as the next daemon would."""
        self.store.close()
        return self.open()

    def accept(self, job_id: str, request_id: str = "", digest: str = "d", name: str = "example") -> tuple[Job, bool]:
        """Have a job accepted."""
        plan = self.a_plan.model_copy(update={"name": name})
        acceptance = Acceptance(
            job=new_job(job_id, plan, submitted=1.0),
            plan=plan,
            document=b"name: example",
            request_id=request_id,
            request_digest=digest,
            first=at(1.0, events.JobSubmitted(), events.ArtifactPublished(name="in.txt", size_bytes=3)),
        )
        return self.store.accept(acceptance).result(10)

    def decide(self, job_id: str, *happened: JobEvent) -> Job:
        """Let events happen to a job."""
        return self.store.decide(job_id, lambda _job: at(2.0, *happened)).result(10)

    def history(self, job_id: str) -> Job:
        """Fold a job anew from its recorded events."""
        return replay(new_job(job_id, self.store.plan(job_id), submitted=1.0), self.store.events_after(job_id, 0))


@pytest.fixture
def shop(tmp_path: Path, modules) -> Iterator[Shop]:
    """Give an open store."""
    one = modules.entry("", step="one", name="a", inputs=["in.txt"], outputs=["mid.txt"])
    two = modules.entry("", step="two", name="b", inputs=["mid.txt"], outputs=["out.txt"])
    made = Shop(tmp_path / "jobd.db", modules.plan(one, two, inputs=["in.txt"], public=["out.txt"]))
    made.open()
    yield made
    made.store.close()


RUN: tuple[JobEvent, ...] = (
    events.JobStarted(flow_run_id="run-1"),
    events.StepStarted(step="one"),
    events.EntryWaiting(step="one", entry="a"),
    events.EntryStarted(step="one", entry="a", attempt=1, pid=7),
    events.EntryProgress(step="one", entry="a", percent=50, status="half"),
    events.ArtifactPublished(name="mid.txt", size_bytes=5),
    events.EntrySucceeded(step="one", entry="a", attempt=1),
)
END: tuple[JobEvent, ...] = (
    events.EntryWaiting(step="two", entry="b"),
    events.EntryStarted(step="two", entry="b", attempt=1, pid=8),
    events.EntryFailed(step="two", entry="b", attempt=1, failure=FAILURE),
    events.JobFailed(failure=FAILURE),
)


def test_an_accepted_job_is_on_disk(shop: Shop):
    """When accept is done, another process would find the job with its plan, its first events and its parts."""
    job, existed = shop.accept("aaa")
    assert (existed, job.sequence, job.state) == (False, 2, JobState.QUEUED)
    assert shop.reopen().get("aaa") == job == shop.history("aaa")
    assert shop.store.plan("aaa") == shop.a_plan


def test_a_job_that_ends_and_is_deleted_in_one_commit_is_gone(shop: Shop):
    """Nothing of it stays in memory, where it would run for ever."""
    shop.accept("aaa")
    shop.decide("aaa", *RUN)
    busy = threading.Event()
    shop.store._writer.submit(lambda _connection: busy.wait(10))
    ended = shop.store.decide("aaa", lambda _job: at(3.0, *END))
    deleted = shop.store.delete("aaa")
    busy.set()
    assert ended.result(10).state is JobState.FAILED
    deleted.result(10)
    assert (shop.store.live_job("aaa"), shop.store.count(JobState.RUNNING), shop.store.live()) == (None, 0, ())
    with pytest.raises(JobNotFoundError):
        shop.store.get("aaa")


def test_a_request_id_makes_one_job(shop: Shop):
    """The same request gives the same job again; other content under its id is refused; without an id all are new."""
    first, _ = shop.accept("aaa", request_id="r1")
    assert shop.accept("bbb", request_id="r1") == (first, True)
    assert shop.store.find_request("r1", "d") == first
    with pytest.raises(RequestIdReusedError, match="'r1' was used for job aaa"):
        shop.accept("ccc", request_id="r1", digest="other")
    with pytest.raises(RequestIdReusedError):
        shop.store.find_request("r1", "other")
    assert [shop.accept(job_id)[1] for job_id in ("ddd", "eee")] == [False, False]
    assert [shop.store.exists(job_id) for job_id in ("aaa", "bbb", "ccc", "ddd")] == [True, False, False, True]


def test_a_request_id_that_many_use_at_once_makes_one_job(shop: Shop):
    """Of eight clients that send the same request together, one makes the job and all are told of it."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: shop.accept(f"job{number}", request_id="r1"), range(8)))
    assert sorted(existed for _job, existed in answers) == [False] + [True] * 7
    assert len({job.id for job, _existed in answers}) == 1


def test_a_job_is_the_same_live_stored_and_replayed(shop: Shop):
    """At every point of its life the job in memory, on disk and folded from its events are equal."""
    shop.accept("aaa")
    for happened in (*RUN, *END):
        live = shop.decide("aaa", happened)
        assert live == shop.store.get("aaa") == shop.history("aaa")
    stored = shop.reopen().get("aaa")
    assert stored == live
    assert stored.failure == stored.entry("two", "b").failure == FAILURE


def test_an_ended_job_is_read_from_disk(shop: Shop):
    """A job that has ended is no longer live, and is told in full all the same."""
    shop.accept("aaa")
    ended = shop.decide("aaa", *RUN, *END)
    assert shop.store.live_job("aaa") is None
    assert shop.store.live() == ()
    assert shop.store.get("aaa") == ended
    removed = shop.decide("aaa", events.ArtifactRemoved(name="mid.txt", reason="it grew old"))
    assert shop.store.get("aaa") == removed


def test_live_jobs_come_back_in_the_order_of_acceptance(shop: Shop):
    """A restarted daemon finds the jobs that had not ended, oldest first."""
    for job_id in ("ccc", "aaa", "ddd", "bbb"):
        shop.accept(job_id)
    shop.decide("ddd", *RUN, *END)
    shop.decide("aaa", *RUN)
    before = shop.store.live()
    assert [job.id for job in before] == ["ccc", "aaa", "bbb"]
    assert shop.reopen().live() == before
    assert (shop.store.count(JobState.QUEUED), shop.store.count(JobState.RUNNING)) == (2, 1)


def test_a_decision_sees_the_job_as_it_then_is(shop: Shop):
    """Eight threads that each add to what they see never see the same, and no sequence is missing or double."""
    for job_id in ("aaa", "bbb"):
        shop.accept(job_id)
    seen: list[tuple[str, int]] = []

    def decide(number: int) -> Job:
        def decision(job: Job) -> tuple[Occurrence, ...]:
            seen.append((job.id, job.sequence))
            return at(float(number), events.JobWaiting(reason=str(number)), events.JobWaiting(reason="again"))

        return shop.store.decide(random.Random(number).choice(["aaa", "bbb"]), decision).result(30)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(decide, range(400)))
    assert len(seen) == len(set(seen)) == 400
    assert sum(len(shop.store.events_after(job_id, 0, limit=1000)) for job_id in ("aaa", "bbb")) == 804
    for job_id in ("aaa", "bbb"):
        records = shop.store.events_after(job_id, 0, limit=10_000)
        assert [record.sequence for record in records] == [*range(1, len(records) + 1)]


def test_an_illegal_event_changes_nothing(shop: Shop):
    """When one event of a decision does not fit, none of it is recorded, in memory or on disk."""
    before, _ = shop.accept("aaa")
    with pytest.raises(IllegalTransitionError):
        shop.decide("aaa", events.JobStarted(flow_run_id="x"), events.EntryProgress(step="one", entry="a", percent=1))
    assert shop.store.get("aaa") == before == shop.history("aaa")
    with pytest.raises(JobNotFoundError):
        shop.decide("zzz", events.JobWaiting(reason="x"))


def test_an_illegal_change_takes_no_other_along(shop: Shop):
    """A change that is refused in a shared transaction leaves the others, of the same job too, as they are."""
    shop.accept("aaa")
    begun, go = threading.Event(), threading.Event()

    def hold(_job: Job) -> tuple[Occurrence, ...]:
        begun.set()
        assert go.wait(10)
        return at(1.0, events.JobWaiting(reason="one"))

    held = shop.store.decide("aaa", hold)
    assert begun.wait(10)
    bad = shop.store.decide(
        "aaa", lambda _job: at(1.0, events.JobWaiting(reason="two"), events.JobCancelled(reason=""))
    )
    good = shop.store.decide("aaa", lambda _job: at(1.0, events.JobWaiting(reason="three")))
    go.set()
    assert isinstance(bad.exception(10), IllegalTransitionError)
    assert (held.result(10).sequence, good.result(10).sequence, good.result(10).reason) == (3, 4, "three")
    assert shop.store.get("aaa") == shop.history("aaa")


def test_changes_that_wait_share_commits(shop: Shop):
    """A hundred changes of jobs that queue up behind one need very few commits."""
    shop.accept("aaa")
    begun, go = threading.Event(), threading.Event()
    commits: list[object] = []
    event.listen(shop.store._writer._engine, "commit", commits.append)

    def hold(_job: Job) -> tuple[Occurrence, ...]:
        begun.set()
        assert go.wait(10)
        return ()

    futures = [shop.store.decide("aaa", hold)]
    assert begun.wait(10)
    futures += [shop.store.decide("aaa", lambda _job: at(1.0, events.JobWaiting(reason="x"))) for _ in range(100)]
    go.set()
    assert [future.result(10).sequence for future in futures] == [2, *range(3, 103)]
    assert len(commits) <= 3


def test_those_who_wait_are_told_after_the_commit(shop: Shop):
    """The bell rings for a job when its change can be read, with the job as the change left it."""
    shop.accept("aaa")
    job = shop.decide("aaa", events.JobWaiting(reason="x"))
    assert shop.told[-1] == {"aaa": job}


def test_a_journal_counts_once(shop: Shop):
    """The same lines offered twice, also after a restart, are recorded once; the next lines follow."""
    shop.accept("aaa")
    lines = at(3.0, *RUN)
    assert shop.store.ingest("aaa", lines, start=0, end=700).result(10).sequence == 9
    assert shop.store.ingest("aaa", lines, start=0, end=700).result(10).sequence == 9
    shop.reopen()
    assert shop.store.ingest("aaa", lines, start=0, end=700).result(10).sequence == 9
    assert shop.store.journal_offset("aaa") == 700
    ended = shop.store.ingest("aaa", at(4.0, *END), start=700, end=900).result(10)
    assert (ended.state, ended.sequence) == (JobState.FAILED, 13)
    assert shop.store.journal_offset("aaa") == 900


def test_a_journal_that_does_not_fit_moves_no_offset(shop: Shop):
    """Lines that are refused count as not taken in."""
    shop.accept("aaa")
    with pytest.raises(IllegalTransitionError):
        shop.store.ingest("aaa", at(3.0, *RUN, *RUN), start=0, end=700).result(10)
    assert (shop.store.journal_offset("aaa"), shop.store.get("aaa").sequence) == (0, 2)


def test_events_are_read_from_any_place(shop: Shop):
    """A reader gets at most as many as it asks for, after the place it names, in order."""
    shop.accept("aaa")
    shop.decide("aaa", *RUN)
    everything = shop.store.events_after("aaa", 0)
    assert [record.event for record in everything[2:]] == list(RUN)
    assert shop.store.events_after("aaa", 4, limit=3) == everything[4:7]
    assert shop.store.events_after("aaa", 9) == shop.store.events_after("zzz", 0) == ()


def test_a_beginning_of_an_id_is_enough(shop: Shop):
    """An unambiguous beginning, a whole id and `@latest` mean a job; anything else is an error that says why."""
    for job_id in ("abc", "abcd", "xyz", "x_1"):
        shop.accept(job_id)
    assert [shop.store.resolve(text) for text in ("abc", "abcd", "xy", "x_", "@latest")] == [
        "abc",
        "abcd",
        "xyz",
        "x_1",
        "x_1",
    ]
    for text in ("ab", "x"):
        with pytest.raises(InvalidRequestError, match="several"):
            shop.store.resolve(text)
    for text in ("", "b", "%", "_", "abcde", "a*", "\U0010ffff", "'"):
        with pytest.raises(JobNotFoundError):
            shop.store.resolve(text)


def test_pages_hold_every_job_once(shop: Shop):
    """Walking from page to page sees every job, newest first, also while jobs are added; filters narrow it."""
    for number in range(10):
        shop.accept(f"job{number}", name="odd" if number % 2 else "even")
    shop.decide("job3", *RUN, *END)
    seen: list[str] = []
    before = None
    while True:
        page = shop.store.page(size=4, before=before)
        seen += [job.id for job in page.jobs]
        shop.accept(f"new{len(seen)}")
        if (before := page.before) is None:
            break
    assert seen == [f"job{number}" for number in reversed(range(10))]
    odd = shop.store.page(size=50, before=None, wanted=JobFilter(name="odd", states=frozenset({JobState.QUEUED})))
    assert [job.id for job in odd.jobs] == ["job9", "job7", "job5", "job1"]
    assert odd.before is None
    assert (odd.jobs[0].entry_count, odd.jobs[0].entries) == (2, ())


def test_questions_use_indexes(shop: Shop):
    """No question that a client can ask reads a whole table."""
    for number in range(50):
        shop.accept(f"job{number}")
    asked: list[tuple[str, object]] = []
    event.listen(
        shop.store._reader,
        "before_cursor_execute",
        lambda _conn, _cursor, statement, parameters, _context, _many: asked.append((statement, parameters)),
    )
    shop.store.resolve("job49")
    shop.store.events_after("job4", 1)
    shop.store.page(size=5, before=20)
    shop.store.page(size=5, before=20, wanted=JobFilter(states=frozenset({JobState.RUNNING})))
    shop.store.page(size=5, before=None, wanted=JobFilter(name="example"))
    shop.store.find_request("r1", "d")
    shop.store.journal_offset("job4")
    shop.store.exists("job4")
    shop.store.unrecorded(20)
    connection = sqlite3.connect(shop.path)
    plans = [
        (row[3], statement)
        for statement, parameters in asked
        for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
    ]
    connection.close()
    assert len(asked) >= 9
    scans = [(detail, statement) for detail, statement in plans if detail.startswith("SCAN")]
    # The oldest removal is the first row; the newest place is at the end of a key; without a filter a list is an index.
    allowed = ("ORDER BY jobs.number", "ORDER BY removals.number", "SELECT max(")
    assert [scan for scan in scans if not any(part in scan[1] for part in allowed)] == []
    assert not any("TEMP B-TREE" in detail for detail, statement in plans if "IN (" not in statement)
