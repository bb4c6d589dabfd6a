"""Lists by every filter: what they find, in pages that stay right, from indexes alone."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.dialects import sqlite

from jobd import changes, events, listing
from jobd.events import Occurrence
from jobd.job_filter import JobFilter, LabelSelector
from jobd.jobs import new_job
from jobd.plan import Plan, PlanEntry, PlanStep
from jobd.states import JobState
from jobd.store import Acceptance, Store

TEAMS = ("news", "sport", "")


def fill(path: Path) -> Store:
    """Make a store of thirty jobs: accepted at 0, 1, 2 …, of three teams, two names, every fifth cancelled."""
    entry = PlanEntry(step="one", name="copy", module="copy", folder="/m", entrypoint="main.py")
    plan = Plan(name="cut", steps=(PlanStep(name="one", entries=(entry,)),), artifacts=())
    made = Store(path)
    for number in range(30):
        labels = {"number": str(number)} | ({"team": TEAMS[number % 3]} if number < 27 else {})
        named = plan.model_copy(update={"name": f"cut{number % 2}", "labels": labels})
        owner = "ann" if number < 3 else "bob"
        acceptance = Acceptance(
            job=new_job(f"job{number:02}", named, submitted=float(number)),
            plan=named,
            document=b"x" * 20_000,
            request_id="",
            request_digest="",
            first=(Occurrence(time=float(number), event=events.JobSubmitted(owner=owner)),),
        )
        made.accept(acceptance).result(30)
        if number % 5 == 0:
            ends = (events.JobCancelling(reason=""), events.JobCancelled(reason=""))
            happened = [Occurrence(time=100.0, event=event) for event in ends]
            made.decide(f"job{number:02}", lambda _job, happened=happened: happened).result(30)
    return made


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give where the store is that all tests read."""
    return tmp_path_factory.mktemp("listing") / "jobd.db"


@pytest.fixture(scope="module")
def store(database: Path) -> Iterator[Store]:
    """Give the store that all tests read."""
    made = fill(database)
    yield made
    made.close()


def team(value: str | None) -> LabelSelector:
    """Ask for a team; None for any."""
    return LabelSelector(key="team", value=value)


FILTERS: list[tuple[dict[str, Any], Any]] = [
    ({}, lambda _n: True),
    ({"states": frozenset({JobState.CANCELLED})}, lambda n: n % 5 == 0),
    ({"states": frozenset({JobState.CANCELLED, JobState.QUEUED})}, lambda _n: True),
    ({"states": frozenset({JobState.RUNNING})}, lambda _n: False),
    ({"name": "cut1"}, lambda n: n % 2 == 1),
    ({"name": "cut"}, lambda _n: False),
    ({"name_prefix": "cut"}, lambda _n: True),
    ({"name_prefix": "cut1"}, lambda n: n % 2 == 1),
    ({"name_prefix": "c_t"}, lambda _n: False),
    ({"owner": "ann"}, lambda n: n < 3),
    ({"submitted_after": 10.0}, lambda n: n >= 10),
    ({"submitted_before": 10.0}, lambda n: n < 10),
    ({"submitted_after": 5.5, "submitted_before": 7.5}, lambda n: n in (6, 7)),
    ({"labels": (team("news"),)}, lambda n: n < 27 and n % 3 == 0),
    ({"labels": (team(""),)}, lambda n: n < 27 and n % 3 == 2),
    ({"labels": (team(None),)}, lambda n: n < 27),
    ({"labels": (team("sport"), LabelSelector(key="number", value="4"))}, lambda n: n == 4),
    (
        {"labels": (team("news"),), "name": "cut0", "states": frozenset({JobState.QUEUED}), "owner": "bob"},
        lambda n: n in (6, 12, 18, 24),
    ),
]


@pytest.mark.parametrize(("wanted", "expected"), FILTERS)
@pytest.mark.parametrize("size", [1, 4, 50])
def test_pages_hold_what_the_filter_means(store: Store, wanted: dict[str, Any], expected, size: int):
    """Whatever is asked for and however the pages are cut, each job that fits comes once, newest first."""
    found: list[str] = []
    before = None
    while True:
        page = store.page(size=size, before=before, wanted=JobFilter(**wanted))
        assert len(page.jobs) <= size
        found += [job.id for job in page.jobs]
        if (before := page.before) is None:
            break
    assert found == [f"job{number:02}" for number in reversed(range(30)) if expected(number)]


@pytest.mark.parametrize("wanted", [wanted for wanted, _expected in FILTERS])
@pytest.mark.usefixtures("store")
def test_lists_read_no_rows_to_find_jobs(database: Path, wanted: dict[str, Any]):
    """A list finds its jobs in indexes: no scan of a table, whose rows hold job files; only labels look rows up."""
    connection = sqlite3.connect(database)
    for query in listing.number_queries(JobFilter(**wanted), before=20):
        text = str(query.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}))
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}")]
        read = [line for line in plan if line.startswith(("SCAN", "SEARCH")) and "COVERING INDEX" not in line]
        assert [line for line in read if "INTEGER PRIMARY KEY" not in line or not wanted.get("labels")] == []
    connection.close()


def test_changes_are_read_in_order_without_sorting(store: Store, database: Path):
    """Going on after a cursor reads as many rows as it gives, however long the history before and after it is."""
    connection = sqlite3.connect(database)
    text = str(changes._after(5, 10).compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}))
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}")]
    connection.close()
    assert not any("TEMP B-TREE" in line or line.startswith("SCAN") for line in plan), plan
    told = store.changes_after(5, limit=10)
    assert [change.position for change in told] == [*range(6, 16)]


def test_places_only_grow_whatever_is_removed(tmp_path: Path):
    """The place of a removal lies after all that was, and is never given again."""
    store = fill(tmp_path / "jobd.db")
    before = store.cursors().newest
    store.delete("job00").result(30)
    store.delete("job05").result(30)
    told = store.changes_after(before)
    assert [(change.position, change.job.id) for change in told] == [(before + 1, "job00"), (before + 2, "job05")]
    store.decide("job01", lambda _job: [Occurrence(time=1.0, event=events.JobWaiting(reason="x"))]).result(30)
    assert store.changes_after(before)[-1].position == before + 3 == store.cursors().newest
    assert [change.job.id for change in store.changes_after(0) if change.job.id in ("job00", "job05")] == [
        "job00",
        "job05",
    ]
    store.close()
