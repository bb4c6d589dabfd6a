"""A second, simpler model of a job's life beside the real one: whatever happens, both must agree at every step.

The model is written from the meaning of the states and knows nothing of the table. Hypothesis looks for a life in which
they do not agree, and shortens it; the same lives are tried each time.
"""

import random
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from jobd import events
from jobd.errors import IllegalTransitionError
from jobd.events import Failure, FailureKind, JobEvent, Occurrence, Record
from jobd.history import apply, replay
from jobd.jobs import Job
from jobd.journal import decode, encode
from jobd.states import ArtifactState, EntryState

FAILURE = Failure(kind=FailureKind.EXIT_CODE, message="it exited with code 1", exit_code=1)
WALKS = 100
STEPS = 120
LIVES = settings(
    max_examples=120,
    stateful_step_count=60,
    derandomize=True,
    database=None,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
PLACES = st.integers(0, 1_000)
ENDS = (events.JobSucceeded, events.JobFailed, events.JobCancelled)


@dataclass(slots=True)
class Model:
    """What a person would note on paper about a job."""

    life: str = "queued"
    entries: dict[tuple[str, str], str] = field(default_factory=dict)
    attempts: dict[tuple[str, str], int] = field(default_factory=dict)
    present: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    recoveries: int = 0

    @property
    def over(self) -> bool:
        """Whether the job has ended."""
        return self.life in {"succeeded", "failed", "cancelled"}

    def allows(self, event: JobEvent) -> bool:
        """Tell whether an event can happen now."""
        if self.over:
            return isinstance(event, events.ArtifactRemoved)
        if isinstance(event, events.EntryEvent):
            return self._allows_entry(event, self.entries[event.step, event.entry])
        match event:
            case events.JobCancelling():
                return self.life in {"queued", "running"}
            case events.JobCancelled():
                return self.life == "cancelling"
            case events.JobSucceeded():
                return self.life in {"running", "cancelling"}
            case _:
                return True

    @staticmethod
    def _allows_entry(event: events.EntryEvent, now: str) -> bool:
        before = {
            events.EntryWaiting: {"pending", "retrying"},
            events.EntryStarted: {"waiting"},
            events.EntryProgress: {"running"},
            # An attempt that could not even begin fails from where it waited.
            events.EntryRetrying: {"running", "waiting"},
            events.EntrySucceeded: {"running", "pending"},
            events.EntryFailed: {"running", "waiting", "retrying"},
            events.EntryCancelled: {"running", "waiting", "retrying"},
            events.EntrySkipped: {"pending", "waiting"},
            events.EntryReused: {"pending", "running"},
        }
        return now in before[type(event)]

    def note(self, event: JobEvent) -> None:
        """Write an allowed event down."""
        if isinstance(event, events.EntryEvent):
            self._note_entry(event)
        match event:
            case events.JobStarted() if self.life == "queued":
                self.life = "running"
            case events.JobCancelling():
                self.life = "cancelling"
            case events.JobSucceeded() | events.JobFailed() | events.JobCancelled():
                self.life = event.kind.removeprefix("job_")
            case events.JobRecovering():
                self.recoveries += 1
                going = {"waiting", "running", "retrying"}
                self.entries |= {key: "pending" for key, state in self.entries.items() if state in going}
            case events.ArtifactPublished():
                self.present, self.gone = self.present | {event.name}, self.gone - {event.name}
            case events.ArtifactRemoved():
                self.present, self.gone = self.present - {event.name}, self.gone | {event.name}
            case _:
                pass

    def _note_entry(self, event: events.EntryEvent) -> None:
        key, kind = (event.step, event.entry), event.kind.removeprefix("entry_")
        if isinstance(event, events.EntryStarted):
            self.attempts[key] = event.attempt
        if kind != "progress":
            self.entries[key] = {"started": "running", "reused": "succeeded"}.get(kind, kind)


def start(job: Job) -> Model:
    """Note a new job."""
    keys = [(entry.step, entry.name) for entry in job.entries]
    return Model(entries=dict.fromkeys(keys, "pending"), attempts=dict.fromkeys(keys, 0))


def draw(chance: random.Random, job: Job) -> JobEvent:
    """Draw any event, what ends a job rarely."""
    entry, artifact = chance.choice(job.entries), chance.choice(job.artifacts)
    at = {"step": entry.step, "entry": entry.name}
    number = entry.attempt + 1
    common: list[JobEvent] = [
        events.JobStarted(flow_run_id="f"),
        events.JobWaiting(reason="it waits"),
        events.StepStarted(step=entry.step),
        events.EntryWaiting(**at),
        events.EntryStarted(**at, attempt=number, pid=number),
        events.EntryProgress(**at, percent=chance.uniform(0, 100)),
        events.EntryRetrying(**at, attempt=number, failure=FAILURE, delay_seconds=1.0),
        events.EntrySucceeded(**at, attempt=max(1, entry.attempt)),
        events.EntryFailed(**at, attempt=max(1, entry.attempt), failure=FAILURE),
        events.EntryCancelled(**at, reason="asked"),
        events.EntrySkipped(**at, reason="over"),
        events.EntryReused(**at, job_id="other"),
        events.ArtifactPublished(name=artifact.name, size_bytes=1),
        events.ArtifactRemoved(name=artifact.name, reason="used up"),
    ]
    rare: list[JobEvent] = [
        events.JobRecovering(reason="died"),
        events.JobCancelling(reason="asked"),
        events.JobSucceeded(),
        events.JobFailed(failure=FAILURE),
        events.JobCancelled(reason="asked"),
    ]
    return chance.choice(rare if chance.random() < 0.06 else common)


def compare(job: Job, model: Model) -> None:
    """See that both say the same of everything."""
    assert job.state.value == model.life
    assert job.terminal == model.over
    assert {(entry.step, entry.name): entry.state.value for entry in job.entries} == model.entries
    assert {(entry.step, entry.name): entry.attempt for entry in job.entries} == model.attempts
    assert {item.name for item in job.artifacts if item.state is ArtifactState.PRESENT} == model.present
    assert {item.name for item in job.artifacts if item.state is ArtifactState.REMOVED} == model.gone
    assert job.recoveries == model.recoveries
    ended = {EntryState.SUCCEEDED, EntryState.FAILED, EntryState.CANCELLED, EntryState.SKIPPED}
    assert job.ended_entry_count == sum(entry.state in ended for entry in job.entries)


def walk(chance: random.Random, job: Job) -> tuple[Job, list[Record]]:
    """Let random events happen to both; what one refuses, the other must refuse, and be left as it was."""
    model, history = start(job), []
    for number in range(STEPS):
        event = draw(chance, job)
        record = Record(sequence=job.sequence + 1, time=1000.0 + number, event=event)
        allowed = model.allows(event)
        try:
            job = apply(job, record)
        except IllegalTransitionError:
            assert not allowed, f"{event} was refused"
        else:
            assert allowed, f"{event} was allowed"
            model.note(event)
            history.append(record)
        compare(job, model)
    return job, history


class Life(RuleBasedStateMachine):
    """All lives of one job, which is set in a class of its own."""

    first: Job

    def __init__(self) -> None:
        super().__init__()
        self.job, self.model = self.first, start(self.first)
        self.history: list[Record] = []

    def happen(self, event: JobEvent) -> None:
        """Let an event happen to both: what one refuses, the other must refuse, and be left as it was."""
        record = Record(sequence=self.job.sequence + 1, time=1000.0 + len(self.history), event=event)
        allowed = self.model.allows(event)
        try:
            self.job = apply(self.job, record)
        except IllegalTransitionError:
            assert not allowed, f"{event} was refused"
        else:
            assert allowed, f"{event} was allowed"
            self.model.note(event)
            self.history.append(record)

    @rule(seed=st.integers(0, 1 << 30))
    def something(self, seed: int) -> None:
        self.happen(draw(random.Random(seed), self.job))

    @rule(place=PLACES, percent=st.floats(0, 100))
    def an_entry_goes_its_way(self, place: int, percent: float) -> None:
        """Have an entry come nearer to its end, as entries mostly do: few lives of pure chance do."""
        entry = self.job.entries[place % len(self.job.entries)]
        at, number = {"step": entry.step, "entry": entry.name}, entry.attempt + 1
        following: dict[EntryState, JobEvent] = {
            EntryState.PENDING: events.EntryWaiting(**at),
            EntryState.WAITING: events.EntryStarted(**at, attempt=number, pid=number),
            EntryState.RUNNING: events.EntrySucceeded(**at, attempt=entry.attempt)
            if percent > 50
            else events.EntryRetrying(**at, attempt=max(1, entry.attempt), failure=FAILURE, delay_seconds=percent),
            EntryState.RETRYING: events.EntryWaiting(**at),
        }
        self.happen(following.get(entry.state, events.EntryProgress(**at, percent=percent)))

    @rule(kind=st.sampled_from([events.JobRecovering, events.JobCancelling, events.JobCancelled]))
    def trouble(self, kind: type[JobEvent]) -> None:
        self.happen(kind(reason="so it is"))

    @precondition(lambda self: self.history)
    @rule(place=PLACES, step=st.sampled_from([-1, 0, 2]))
    def an_event_out_of_turn(self, place: int, step: int) -> None:
        """Have one that came already come again, or one come too early: each is refused."""
        old = self.history[place % len(self.history)]
        sequence = old.sequence if step < 0 else self.job.sequence + step
        with pytest.raises(IllegalTransitionError):
            apply(self.job, Record(sequence=sequence, time=old.time, event=old.event))

    @rule(place=PLACES)
    def a_restart(self, place: int) -> None:
        """Forget the job, and make it anew from its events, in two parts and by way of a journal."""
        cut = place % (len(self.history) + 1)
        lines = [encode(Occurrence(time=record.time, event=record.event)) for record in self.history]
        read = [decode(line[:-1]) for line in lines]
        again = [Record(sequence=n, time=item.time, event=item.event) for n, item in enumerate(read, 1) if item]
        anew = replay(replay(self.first, again[:cut]), again[cut:])
        assert anew == self.job
        self.job = anew

    @invariant()
    def both_say_the_same(self) -> None:
        compare(self.job, self.model)
        ends = sum(isinstance(record.event, ENDS) for record in self.history)
        assert ends == int(self.model.over)


def live(job: Job) -> None:
    """Look for a life of a job in which it does not agree with the model."""
    run_state_machine_as_test(type("LifeOfThis", (Life,), {"first": job}), settings=LIVES)


@pytest.mark.size
def test_the_job_agrees_with_the_model(job: Job):
    """Over thousands of steps of random lives the same events are refused, the same job results, and it ends once."""
    live(job)


@pytest.mark.size
def test_a_model_that_is_wrong_is_found(job: Job, monkeypatch: pytest.MonkeyPatch):
    """The search is worth something: a model with one wrong move does not agree with the job for long."""
    monkeypatch.setattr(Model, "_allows_entry", staticmethod(lambda _event, now: now != "succeeded"))
    with pytest.raises(AssertionError, match="was refused"):
        live(job)


@pytest.mark.parametrize("seed", range(10))
def test_a_replay_may_stop_and_go_on_anywhere(job: Job, seed: int):
    """A job replayed to any point and on from there is the same, also when its events went through a journal."""
    lived, history = walk(random.Random(seed), job)
    for cut in range(0, len(history), 7):
        assert replay(replay(job, history[:cut]), history[cut:]) == lived
    lines = [encode(Occurrence(time=record.time, event=record.event)) for record in history]
    read = [decode(line[:-1]) for line in lines]
    again = [Record(sequence=n, time=item.time, event=item.event) for n, item in enumerate(read, 1) if item]
    assert replay(job, again) == lived


@pytest.mark.parametrize("seed", range(10))
def test_no_event_counts_twice_or_out_of_turn(job: Job, seed: int):
    """An event again, one too early, or one of an unknown entry or artifact is refused."""
    chance = random.Random(seed)
    lived, history = walk(chance, job)
    for sequence in (lived.sequence, lived.sequence + 2, 0):
        removal = events.ArtifactRemoved(name=job.artifacts[0].name, reason="again")
        with pytest.raises(IllegalTransitionError):
            apply(lived, Record(sequence=sequence, time=1.0, event=removal))
    stranger = events.ArtifactRemoved(name="no such artifact", reason="never was")
    with pytest.raises(IllegalTransitionError):
        apply(lived, Record(sequence=lived.sequence + 1, time=1.0, event=stranger))
    assert history


@pytest.mark.size
def test_the_walks_reach_every_end(job: Job):
    """The random lives end in every terminal state, and some are cut short by several recoveries first."""
    lives = [walk(random.Random(seed), job)[0] for seed in range(WALKS)]
    assert {"succeeded", "failed", "cancelled"} <= {life.state.value for life in lives}
    assert any(life.recoveries >= 3 for life in lives)


def test_a_job_is_never_changed_in_place(job: Job):
    """Whoever holds a job sees it as it was, whatever happens next."""
    before = replace(job)
    walk(random.Random(0), job)
    assert job == before
