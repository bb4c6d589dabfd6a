"""Long seeded random lives of a job: whatever legally happens, the counters are right and a replay is equal."""

import random
from collections.abc import Sequence

import pytest

from jobd import events
from jobd.errors import IllegalTransitionError
from jobd.events import Failure, FailureKind, JobEvent, Record
from jobd.history import apply, replay
from jobd.jobs import Job
from jobd.rows import to_record
from jobd.states import TERMINAL_ENTRY_STATES, EntryState

FAILURE = Failure(kind=FailureKind.SIGNAL, message="it was ended by SIGSEGV", signal=11, log_tail=("a", "b"))

ENDS = {"job_succeeded", "job_failed", "job_cancelled"}
RARE = {*ENDS, "job_recovering", "job_cancelling", "entry_skipped", "entry_failed", "entry_cancelled"}
"""What would end the walks early if it came as often as the rest."""


def candidates(chance: random.Random, job: Job) -> Sequence[JobEvent]:
    """Make one event of every kind, about an entry and an artifact taken at random."""
    entry = chance.choice(job.entries)
    at = {"step": entry.step, "entry": entry.name}
    name = chance.choice(job.artifacts).name
    return (
        events.JobSubmitted(),
        events.JobWaiting(reason="busy"),
        events.JobStarted(flow_run_id=str(chance.random())),
        events.JobRecovering(reason="it died"),
        events.JobCancelling(reason="asked"),
        events.JobSucceeded(),
        events.JobFailed(failure=FAILURE),
        events.JobCancelled(reason="asked"),
        events.StepStarted(step=entry.step),
        events.StepSucceeded(step=entry.step),
        events.EntryWaiting(**at),
        events.EntryStarted(**at, attempt=entry.attempt + 1, pid=chance.randrange(1, 99999)),
        events.EntryProgress(**at, percent=chance.uniform(0, 100), status=None),
        events.EntryRetrying(**at, attempt=max(1, entry.attempt), failure=FAILURE, delay_seconds=chance.random()),
        events.EntrySucceeded(**at, attempt=max(1, entry.attempt)),
        events.EntryFailed(**at, attempt=max(1, entry.attempt), failure=FAILURE),
        events.EntryCancelled(**at, reason="asked"),
        events.EntrySkipped(**at, reason="the job ended"),
        events.EntryReused(**at, job_id="old123"),
        events.ArtifactPublished(name=name, size_bytes=chance.randrange(1 << 40), folder=chance.random() < 0.5),
        events.ArtifactRemoved(name=name, reason="used up"),
    )


def live_through(chance: random.Random, job: Job) -> tuple[Job, list[Record]]:
    """Let up to 300 events happen, those that end things rarely; give the job and its history."""
    history: list[Record] = []
    for number in range(1, 301):
        event = chance.choice(candidates(chance, job))
        if event.kind in RARE and chance.random() < 0.9:
            continue
        record = Record(sequence=job.sequence + 1, time=1000.0 + number, event=event)
        try:
            job = apply(job, record)
        except IllegalTransitionError:
            continue
        history.append(record)
    return job, history


@pytest.mark.parametrize("seed", range(30))
def test_a_random_life_is_its_replay(job: Job, seed: int):
    """After any legal history the replay is equal, ended entries are counted right, and sequences have no gap."""
    lived, history = live_through(random.Random(seed), job)
    assert lived == replay(job, history)
    assert [*range(1, lived.sequence + 1)] == [record.sequence for record in history]
    assert sum(entry.state in TERMINAL_ENTRY_STATES for entry in lived.entries) == lived.ended_entry_count
    assert all((entry.ended is not None) == (entry.state in TERMINAL_ENTRY_STATES) for entry in lived.entries)
    assert all(entry.attempt > 0 for entry in lived.entries if entry.state is EntryState.RUNNING)
    assert lived.terminal == (lived.ended is not None)


@pytest.mark.parametrize("seed", range(5))
def test_a_random_life_survives_storage(job: Job, seed: int):
    """Events written as rows and read back give the same job."""
    lived, history = live_through(random.Random(seed), job)
    stored = [
        to_record({"sequence": record.sequence, "time": record.time, "event": record.event.model_dump_json()})
        for record in history
    ]
    assert history == stored
    assert lived == replay(job, stored)


@pytest.mark.size
def test_the_walks_see_every_kind_of_event(job: Job):
    """The random lives together hold every kind of event, or they would prove less than they say."""
    seen = {record.event.kind for seed in range(60) for record in live_through(random.Random(seed), job)[1]}
    assert {kind.model_fields["kind"].default for kind in events.JobEvent.__args__} == seen
