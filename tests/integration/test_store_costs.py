"""What an event costs the store, counted: statements and reads do not grow with the job or with its watchers."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import event

from jobd import events
from jobd.events import JobEvent, Occurrence
from jobd.jobs import new_job
from jobd.journal import Chunk
from jobd.store import Acceptance, Store
from jobd.writer import driver


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Give an open store."""
    made = Store(tmp_path / "jobd.db")
    yield made
    made.close()


@pytest.fixture
def accept(store: Store, modules):
    """Give a function that has a running job of so many entries accepted, each of which makes an artifact."""

    def make(job_id: str, count: int) -> None:
        entries = [
            modules.entry("", step="one", name=f"e{number}", outputs=[f"{number}.txt"]) for number in range(count)
        ]
        plan = modules.plan(*entries)
        first = (events.JobSubmitted(), events.JobStarted(flow_run_id="r"))
        waiting = (events.EntryWaiting(step="one", entry=entry.name) for entry in entries)
        acceptance = Acceptance(
            job=new_job(job_id, plan, submitted=1.0),
            plan=plan,
            document=b"name: example",
            request_id="",
            request_digest="d",
            first=tuple(Occurrence(time=1.0, event=each) for each in (*first, *waiting)),
        )
        store.accept(acceptance).result(30)

    return make


def an_entry(number: int) -> tuple[JobEvent, ...]:
    """Give what happens to an entry that succeeds."""
    where = {"step": "one", "entry": f"e{number}"}
    return (
        events.EntryStarted(**where, attempt=1, pid=7),
        events.ArtifactPublished(name=f"{number}.txt", size_bytes=5),
        events.EntrySucceeded(**where, attempt=1),
    )


def take_in(store: Store, job_id: str, *happened: JobEvent) -> None:
    """Take events in as if they stood in a journal, each a byte long."""
    occurrences = tuple(Occurrence(time=2.0, event=each) for each in happened)
    store.take_in(job_id, lambda start: Chunk(occurrences=occurrences, offset=start + len(happened))).result(30)


@contextmanager
def written(store: Store) -> Iterator[list[str]]:
    """Give the list of all statements that the writer executes within the block."""
    statements: list[str] = []

    def trace(to: object) -> None:
        store._writer.submit(lambda connection: driver(connection).set_trace_callback(to)).result(30)

    trace(statements.append)
    yield statements
    trace(None)


def kinds(statements: list[str]) -> list[str]:
    """Name what each statement does, and to which table, without those that frame transactions."""
    words = (re.match(r"\s*(?:(INSERT) INTO|(UPDATE)|(SELECT).*\sFROM) (\w+)", text, re.DOTALL) for text in statements)
    return [" ".join(filter(None, word.groups())) for word in words if word]


@pytest.mark.parametrize("count", [2, 400])
def test_an_entry_costs_the_same_in_a_job_of_any_size(store: Store, accept, count: int):
    """An entry's three events are three rows, and one update each of its entry, its artifact and its job."""
    accept("aaa", count)
    with written(store) as statements:
        take_in(store, "aaa", *an_entry(count - 1))
    assert kinds(statements) == [
        "SELECT jobs",
        *["INSERT events"] * 3,
        "UPDATE entries",
        "UPDATE artifacts",
        "UPDATE jobs",
    ]
    assert sum(text.startswith("COMMIT") for text in statements) <= 2  # the other one is of the tracing itself


def test_a_piece_of_a_journal_updates_its_job_once(store: Store, accept):
    """However many entries are taken in at once, the job's row is read and written once, and each part once."""
    accept("aaa", 50)
    with written(store) as statements:
        take_in(store, "aaa", *(each for number in range(50) for each in an_entry(number)))
    found = kinds(statements)
    assert {kind: found.count(kind) for kind in found} == {
        "SELECT jobs": 1,
        "INSERT events": 150,
        "UPDATE entries": 50,
        "UPDATE artifacts": 50,
        "UPDATE jobs": 1,
    }
    assert store.get("aaa").ended_entry_count == 50


def test_only_what_changed_of_a_job_is_written(store: Store, accept):
    """An entry's end leaves the columns of the job's row alone that indexes hold."""
    accept("aaa", 2)
    with written(store) as statements:
        take_in(store, "aaa", *an_entry(0))
    (update,) = (text for text in statements if text.startswith("UPDATE jobs"))
    assert set(re.findall(r"(\w+)=", update)) == {"journal_offset", "sequence", "ended_entry_count"}


def test_what_is_on_disk_is_what_was_taken_in(store: Store, accept, tmp_path: Path):
    """After updates of single columns the next daemon reads the same jobs, and the same offsets of their journals."""
    for job_id in ("aaa", "bbb"):
        accept(job_id, 3)
        for number in range(3):
            take_in(store, job_id, *an_entry(number))
    take_in(store, "bbb", events.JobSucceeded())
    before = [store.get(job_id) for job_id in ("aaa", "bbb")]
    store.close()
    again = Store(tmp_path / "jobd.db")
    try:
        assert [again.get(job_id) for job_id in ("aaa", "bbb")] == before
        assert [again.journal_offset(job_id) for job_id in ("aaa", "bbb")] == [9, 10]
    finally:
        again.close()


def test_who_follows_a_live_job_reads_nothing_from_disk(store: Store, accept):
    """What has just been committed is in memory, equal to what is on disk, and no question goes to the database."""
    accept("aaa", 3)
    take_in(store, "aaa", *an_entry(0), *an_entry(1))
    asked: list[str] = []
    event.listen(store._reader, "before_cursor_execute", lambda _1, _2, statement, *_: asked.append(statement))
    latest = store.recent_events("aaa", 0)
    assert asked == []
    assert latest == store.events_after("aaa", 0)
    assert len(asked) == 1
    assert [record.sequence for record in store.recent_events("aaa", 7, limit=2) or ()] == [8, 9]


def test_what_was_rolled_back_is_not_told(store: Store, accept):
    """Events that were refused are neither in memory nor counted as a commit."""
    accept("aaa", 2)
    sequence, commits = store.get("aaa").sequence, store.commits
    with pytest.raises(Exception, match="cannot become"):
        take_in(store, "aaa", *an_entry(0), events.EntryWaiting(step="one", entry="e0"))
    assert store.recent_events("aaa", sequence) is None
    assert (store.get("aaa").sequence, store.commits, store.journal_offset("aaa")) == (sequence, commits, 0)
