"""Domain objects reach the wire with every field, and nothing that is added later can be forgotten."""

import math
import random
import types
import typing
from dataclasses import replace

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from jobapi.v1 import job_pb2

from jobd import events
from jobd.events import Failure, FailureKind, JobEvent, Record, Usage
from jobd.jobs import Job
from jobd.rpc import convert
from jobd.states import ArtifactState, EntryState, JobState

FAILURE = Failure(
    kind=FailureKind.SIGNAL,
    message="it was ended by SIGSEGV",
    step="cut",
    entry="left",
    exit_code=0,
    signal=11,
    log_tail=("one", "two"),
)
USAGE = Usage(cpu_seconds=1.5, max_rss_bytes=5 << 20)
EVENTS: tuple[type[JobEvent], ...] = typing.get_args(events.JobEvent)
WIRE_NAMES = {"delay_seconds": "delay"}


def value_of(name: str, kind: object) -> object:
    """Make a value that is not the default for a field of an event."""
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    samples = {str: f"the {name}", int: 41, float: 12.5, bool: True, Failure: FAILURE, Usage: USAGE}
    return next(samples[kind] for kind in kinds if kind in samples)


def filled(kind: type[JobEvent]) -> JobEvent:
    """Make an event of a kind with all its fields set."""
    fields = {name: value_of(name, field.annotation) for name, field in kind.model_fields.items() if name != "kind"}
    return kind(**fields)


def plain(message: Message, field: FieldDescriptor) -> object:
    """Read a field of a message back as the domain has it."""
    value = getattr(message, field.name)
    if field.message_type is None:
        return value
    if field.message_type.full_name == "google.protobuf.Duration":
        return value.ToTimedelta().total_seconds()
    if field.message_type is job_pb2.ResourceUsage.DESCRIPTOR:
        return Usage(cpu_seconds=value.cpu_time.ToTimedelta().total_seconds(), max_rss_bytes=value.max_rss_bytes)
    return domain_failure(value)


def domain_failure(message: job_pb2.Failure) -> Failure:
    """Read a failure."""
    return Failure(
        kind=FailureKind[job_pb2.FailureKind.Name(message.kind).removeprefix("FAILURE_KIND_")],
        message=message.message,
        step=message.step,
        entry=message.entry,
        exit_code=message.exit_code if message.HasField("exit_code") else None,
        signal=message.signal if message.HasField("signal") else None,
        log_tail=tuple(message.log_tail),
    )


@pytest.mark.parametrize("kind", EVENTS)
def test_every_event_travels_whole(kind: type[JobEvent]):
    """Each kind of event has a message with the same fields, and all of them arrive as they were."""
    event = filled(kind)
    message = convert.event("abc123", Record(sequence=7, time=1700000000.25, event=event))
    assert (
        message.sequence,
        message.job_id,
        message.time.seconds,
        message.time.nanos,
    ) == (7, "abc123", 1700000000, 250_000_000)
    assert event.kind == message.WhichOneof("kind")
    body = getattr(message, event.kind)
    fields = {field.name: field for field in body.DESCRIPTOR.fields}
    names = {name: WIRE_NAMES.get(name, name) for name in kind.model_fields if name != "kind"}
    assert set(fields) == set(names.values())
    assert {name: getattr(event, name) for name in names} == {
        name: plain(body, fields[wire]) for name, wire in names.items()
    }


def test_every_message_has_an_event():
    """The wire knows no kind of event that the domain does not."""
    wire = {field.name for field in job_pb2.Event.DESCRIPTOR.oneofs_by_name["kind"].fields}
    assert {kind.model_fields["kind"].default for kind in EVENTS} == wire


@pytest.mark.parametrize("kind", [events.EntryProgress, events.JobStarted])
def test_what_is_absent_stays_absent(kind: type[JobEvent]):
    """A field that an event does not have is not sent as if it were zero or empty."""
    event = events.EntryProgress(step="s", entry="e") if kind is events.EntryProgress else kind(flow_run_id="")
    body = getattr(convert.event("x", Record(sequence=1, time=1.0, event=event)), event.kind)
    assert not any(body.HasField(name) for name in ("percent", "status") if name in body.DESCRIPTOR.fields_by_name)


def test_an_exit_code_of_zero_is_not_an_absent_one():
    """A module that ended well without its output has exit code 0, which is told; a killed one has none."""
    assert convert.failure(FAILURE).HasField("exit_code")
    assert not convert.failure(FAILURE.model_copy(update={"exit_code": None})).HasField("exit_code")
    assert None is convert.failure(None)


@pytest.mark.parametrize(
    ("convert_state", "states", "wire", "prefix"),
    [
        (convert.job_state, JobState, job_pb2.JobState, "JOB_STATE_"),
        (convert.entry_state, EntryState, job_pb2.EntryState, "ENTRY_STATE_"),
        (convert.artifact_state, ArtifactState, job_pb2.ArtifactState, "ARTIFACT_STATE_"),
    ],
)
def test_every_state_maps_to_its_own(convert_state, states, wire, prefix: str):
    """Each state has the value of its name, and the wire has no value without a state but the unspecified one."""
    assert {f"{prefix}{state.name}" for state in states} == {wire.Name(convert_state(state)) for state in states}
    assert {f"{prefix}UNSPECIFIED", *(f"{prefix}{state.name}" for state in states)} == set(wire.keys())


@pytest.mark.parametrize("kind", FailureKind)
def test_every_kind_of_failure_maps(kind: FailureKind):
    """Each kind of failure arrives as itself."""
    assert FAILURE.model_copy(update={"kind": kind}) == domain_failure(
        convert.failure(FAILURE.model_copy(update={"kind": kind}))
    )


def test_job_states_are_read_back():
    """Every state of a job can be asked for by its value, and a value that is none is none."""
    assert [*JobState] == [convert.domain_job_state(convert.job_state(state)) for state in JobState]
    assert [convert.domain_job_state(value) for value in (0, 99, -1)] == [None, None, None]


def test_a_job_travels_whole(job: Job, play):
    """A job on the wire has every field, its entries under their steps, and its artifacts in order."""
    at = {"step": "cut", "entry": "left"}
    job = play(job, events.JobSubmitted(owner="ci"), events.JobStarted(flow_run_id="run-1"), events.EntryWaiting(**at))
    job = play(job, events.EntryStarted(**at, attempt=2, pid=1), events.EntryProgress(**at, percent=0.0, status="go"))
    job = play(job, events.EntryFailed(**at, attempt=2, failure=FAILURE), events.JobFailed(failure=FAILURE))
    message = convert.job(
        replace(job, reason="why", retry_of="old123", recorded=True), dashboard_url="http://localhost:4200"
    )
    unset = [field.name for field in message.DESCRIPTOR.fields if getattr(message, field.name) == field.default_value]
    assert unset == []
    assert [(step.name, [entry.name for entry in step.entries]) for step in message.steps] == [
        ("cut", ["left", "right"]),
        ("join", ["all"]),
    ]
    left = message.steps[0].entries[0]
    assert (left.attempt, left.status, left.HasField("progress_percent"), left.progress_percent) == (2, "go", True, 0.0)
    assert FAILURE == domain_failure(left.failure) == domain_failure(message.failure)
    assert [artifact.name for artifact in message.artifacts] == ["video.mp4", "left.txt", "right.txt", "all.txt"]
    assert message.dashboard_url == "http://localhost:4200/runs/flow-run/run-1"


def test_a_job_without_a_run_has_no_place_in_the_dashboard(job: Job):
    """Before the flow run is known, and without a dashboard, no address is made up."""
    assert convert.job(job, dashboard_url="http://localhost:4200").dashboard_url == ""
    assert convert.job(replace(job, flow_run_id="run-1")).dashboard_url == ""


@pytest.mark.parametrize("seconds", [0.0, 1.0, 1.5, 1.9999999, 1700000000.9999999, 1700000000.123456, 1e-7])
def test_a_time_is_right_to_the_microsecond(seconds: float):
    """No rounding makes a time jump by a second."""
    assert math.isclose(seconds, (stamp := convert.timestamp(seconds)).seconds + stamp.nanos / 1e9, abs_tol=2e-6)


def test_times_keep_their_order():
    """Of two times a millisecond apart the later one is later on the wire as well."""
    chance = random.Random(1)
    for _ in range(2000):
        first = chance.uniform(0, 2e9)
        one, two = convert.timestamp(first), convert.timestamp(first + 0.001)
        assert (one.seconds, one.nanos) < (two.seconds, two.nanos)
    assert None is convert.timestamp(None)
