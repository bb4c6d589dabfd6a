"""How long an entry will still take, estimated from how far it has come."""

from datetime import UTC, datetime, timedelta

import pytest
from jobapi.v1 import job_pb2
from jobctl.frame import Frame
from jobctl.job_view import JobView
from jobctl.pace import Pace

BEGIN = datetime(2026, 1, 31, tzinfo=UTC)


def make_event(sequence, seconds, **kind):
    """Make an event some seconds after the beginning."""
    event = job_pb2.Event(sequence=sequence, **kind)
    event.time.FromDatetime(BEGIN + timedelta(seconds=seconds))
    return event


def start(sequence, seconds, attempt=1):
    """Begin an attempt of the entry."""
    return make_event(sequence, seconds, entry_started=job_pb2.EntryStarted(step="s", entry="e", attempt=attempt))


def progress(sequence, seconds, percent):
    """Report progress of the entry."""
    return make_event(sequence, seconds, entry_progress=job_pb2.EntryProgress(step="s", entry="e", percent=percent))


def view_of(*events, last_sequence=0):
    """Fold events over a running job."""
    job = job_pb2.Job(id="j1", name="demo", state="JOB_STATE_RUNNING", last_sequence=last_sequence)
    job.steps.add(name="s").entries.add(
        name="e", module="m", state="ENTRY_STATE_RUNNING", attempt=1, progress_percent=25
    )
    view = JobView()
    view.reset(job)
    for event in events:
        view.apply(event)
    return view


@pytest.mark.parametrize(
    ("spent", "percent", "since", "left"),
    [
        (10, 25, 0, 30.0),
        (10, 25, 4, 26.0),
        (10, 25, 40, None),
        (0.5, 25, 0, None),
        (10, 0, 0, None),
        (10, 0.5, 0, None),
        (10, 100, 0, None),
        (-5, 25, 0, None),
    ],
)
def test_the_rest_is_estimated_at_a_steady_pace(spent, percent, since, left):
    """Between reports it counts down; too early, too late, or with a clock that is behind, nothing is said."""
    pace = Pace(start=BEGIN, time=BEGIN + timedelta(seconds=spent), percent=percent)

    assert left == pace.left(BEGIN + timedelta(seconds=spent + since))


def test_a_new_attempt_begins_anew():
    """The time that a failed attempt took is not counted."""
    view = view_of(start(1, 0), progress(2, 100, 50.0), start(3, 200, attempt=2))
    now = BEGIN + timedelta(seconds=210)
    assert None is view.paces.left("s", "e", now)

    view.apply(progress(4, 210, 50.0))
    assert view.paces.left("s", "e", now) == 10.0


def test_events_that_the_snapshot_reflects_tell_the_pace_all_the_same():
    """Who joins in the middle and is told the history knows when the attempt began; who is not told says nothing."""
    now = BEGIN + timedelta(seconds=10)
    told = view_of(start(1, 0), progress(2, 10, 50.0), last_sequence=2)
    untold = view_of(progress(2, 10, 50.0), last_sequence=1)

    assert (told.paces.left("s", "e", now), untold.paces.left("s", "e", now)) == (10.0, None)


def test_the_picture_has_the_time_left():
    """A running entry with progress shows how long it will take; one without does not."""
    now = BEGIN + timedelta(seconds=60)
    view = view_of(start(1, 0), progress(2, 60, 25.0))
    text = "\n".join(line.plain for line in Frame(job=view.job, paces=view.paces, now=now).draw())
    assert "25 %  3:00 left" in text
    assert "left" not in "\n".join(line.plain for line in Frame(job=view.job, now=now).draw())
