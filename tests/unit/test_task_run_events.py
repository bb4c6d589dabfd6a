"""The events of a task run, as text: within Prefect's bounds, and in order whatever the clock does."""

import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from jobd import task_run_events
from jobd.task_run_events import FlowRunName, TaskRunEvents

BEGIN = datetime(2026, 1, 1, 12, tzinfo=UTC)
FLOW_RUN = FlowRunName(
    id=uuid4(), name="film-1", flow_id=uuid4(), flow_name="film", tags=("jobd", "a", "a"), run_count=1
)
LARGEST = 1_500_000
"""Bytes of an event that Prefect's server takes, as shipped."""


class Clock(datetime):
    """A clock that tells what it is set to."""

    told = BEGIN

    @classmethod
    def now(cls, tz=None):
        """Tell the time."""
        assert tz is UTC
        return cls.told


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """A clock that stands."""
    monkeypatch.setattr(task_run_events, "datetime", Clock)
    monkeypatch.setattr(Clock, "told", BEGIN)
    return Clock


def make_run(**rest):
    """Make a task run that nobody has heard of."""
    told = {"run_id": uuid4(), "name": "step/entry", "task_key": "key", "flow_run": FLOW_RUN, "inputs": {}} | rest
    return TaskRunEvents(**told)


def enter(run, kind, message="", **rest):
    """Have it come into a state; give what is told."""
    event = run.enter(uuid4(), kind.upper(), kind, message, **rest)
    content = json.loads(event.model_dump_json())
    assert (content["id"], content["event"]) == (str(event.id), event.event)
    return content


def test_time_that_passes_is_told(clock):
    """Start, end and the seconds between them must be those of the states."""
    run = make_run()
    enter(run, "Pending")
    clock.told += timedelta(seconds=2)
    assert enter(run, "Running")["payload"]["task_run"]["start_time"] == "2026-01-01T12:00:02+00:00"
    clock.told += timedelta(seconds=1.5)
    done = enter(run, "Completed", final=True)["payload"]["task_run"]
    assert (done["end_time"], done["total_run_time"]) == ("2026-01-01T12:00:03.500000+00:00", 1.5)
    assert done["expected_start_time"] == "2026-01-01T12:00:00+00:00"


def test_states_stay_in_order_when_the_clock_is_set_back(clock):
    """Prefect keeps the state with the latest time: a terminal one must not lose against the one before it."""
    run = make_run()
    times = []
    for kind in ("Pending", "Running", "Completed"):
        times.append(enter(run, kind)["occurred"])
        clock.told -= timedelta(hours=1)
    assert sorted(set(times)) == times


def test_every_run_belongs_to_its_flow_run_its_flow_and_its_tags_once():
    """The dashboard finds task runs by these."""
    related = enter(make_run(), "Pending")["related"]
    assert [item["prefect.resource.role"] for item in related] == ["flow-run", "flow", "tag", "tag"]
    assert len({item["prefect.resource.id"] for item in related}) == 4


def test_nothing_makes_an_event_larger_than_the_server_takes():
    """A task run with a long reason that uses the artifacts of very many others must still be told of."""
    run = make_run(inputs={"upstream": [uuid4() for _ in range(50_000)]})
    text = run.enter(uuid4(), "FAILED", "Failed", "\u00fc" * 1_000_000, final=True).model_dump_json()
    assert len(text.encode()) < LARGEST


def test_what_is_no_text_does_not_keep_an_event_from_being_told():
    """Half a surrogate pair, as file names that are no UTF-8 have, cannot be sent."""
    content = enter(make_run(name="a\udcff"), "Failed", "b\udcff")
    assert content["payload"]["task_run"]["name"] == "a?"
    assert content["resource"]["prefect.state-message"] == "b?"
