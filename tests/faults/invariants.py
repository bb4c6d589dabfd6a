"""What must hold after a schedule, whatever it did."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace

import ledger
from done import Done
from exits import check_failures
from ledger import Line
from shapes import Shape
from stored import Stored, load
from world import World

from jobd.errors import IllegalTransitionError
from jobd.events import EntryRetrying, EntrySucceeded, JobRecovering
from jobd.history import replay
from jobd.jobs import Job, new_job
from jobd.states import ArtifactState, EntryState, JobState

_TERMINAL = {"job_succeeded", "job_failed", "job_cancelled"}


def check_schedule(world: World, shapes: Mapping[str, Shape], done: Done) -> Iterator[str]:
    """Find every violation of one schedule, once `check_world` has waited for the last words of its runners."""
    yield from done.wrong
    lines = ledger.read(world.ledger)
    stored: dict[str, Stored] = {}
    for job_id in shapes:
        found = load(world.state, job_id)
        if found is None:
            yield f"I1 job {job_id} was accepted and is not in the store"
        else:
            stored[job_id] = found
    for job_id, found in stored.items():
        own = [line for line in lines if line.job_id == job_id]
        checks = (
            check_history(found),
            check_verdict(world, found, shapes[job_id], done),
            check_attempts(found, own, done),
            check_failures(found.records, own),
            check_order(found, shapes[job_id], own),
            check_artifacts(world, found, shapes[job_id]),
            check_watchers(found, done),
        )
        for check in checks:
            yield from (f"{text} [job {job_id}]" for text in check)


def check_history(stored: Stored) -> Iterator[str]:
    """I7: gapless, one terminal event after which nothing but removals comes, and the rows are what the events say."""
    sequences = [record.sequence for record in stored.records]
    if sequences != [*range(1, len(sequences) + 1)]:
        yield f"I7 sequences are {sequences}"
    kinds = [record.event.kind for record in stored.records]
    ends = [place for place, kind in enumerate(kinds) if kind in _TERMINAL]
    if len(ends) != 1 or any(kind != "artifact_removed" for kind in kinds[ends[0] + 1 :]):
        yield f"I7 terminal events stand at {ends} of {len(kinds)}"
    job = stored.job
    try:
        told = replay(new_job(job.id, stored.plan, submitted=job.submitted, retry_of=job.retry_of), stored.records)
    except IllegalTransitionError as error:
        yield f"I7 the events cannot be followed: {error}"
        return
    told = replace(told, recorded=job.recorded, flow_run_id=job.flow_run_id)
    if told != job:
        yield f"I7 the rows are not what the events say: {told} is not {job}"[:600]


def check_verdict(world: World, stored: Stored, shape: Shape, done: Done) -> Iterator[str]:
    """I4, I13: the job ended as what was done to it allows, and says why."""
    job = stored.job
    if job.state is JobState.FAILED and job.failure is None:
        yield "I13 it failed and does not say why"
    why = job.failure.message if job.failure else ""
    deaths = done.runner_kills[job.id] + _during(job, world.machine.reboots)
    killed = "runner died" in why and deaths > 3
    hit = job.id in done.module_killed and job.failure is not None and job.failure.kind == "signal"
    full = bool(_during(job, world.filled)) and not killed
    allowed = {
        JobState.SUCCEEDED: not shape.doomed or bool(job.retry_of and _all_reused(stored)),
        JobState.FAILED: shape.doomed or killed or hit or full,
        JobState.CANCELLED: job.id in done.cancelled,
    }
    if not allowed.get(job.state, False):
        yield f"I13 it is {job.state} ({why or job.reason}), which nothing that was done to it explains"
    if job.state is JobState.SUCCEEDED and any(entry.state is not EntryState.SUCCEEDED for entry in job.entries):
        yield "I13 it succeeded and not all of its entries did"


def _during(job: Job, times: list[float]) -> int:
    return sum(job.submitted - 5 <= at <= (job.ended or at) + 5 for at in times)


def _all_reused(stored: Stored) -> bool:
    return all(entry.reason.startswith("it succeeded in job") for entry in stored.job.entries)


def check_attempts(stored: Stored, lines: list[Line], done: Done) -> Iterator[str]:
    """I2, I3, I5: one success for an entry, nothing of it after that, never two at once, nothing after the end."""
    for line in lines:
        if line.kind in {"overlap", "torn"}:
            yield f"I3 {line.kind}: {line.key} attempt {line.attempt} {line.note}"
    succeeded: dict[tuple[str, str], float] = {}
    for record in stored.records:
        if isinstance(record.event, EntrySucceeded):
            key = (record.event.step, record.event.entry)
            if key in succeeded:
                yield f"I2 {key} succeeded twice"
            succeeded[key] = record.time
    for line in lines:
        if line.kind == "start" and line.time > succeeded.get(line.key, line.time):
            yield f"I2 {line.key} started again {line.time - succeeded[line.key]:.2f} s after it had succeeded"
        if line.kind == "start" and stored.job.ended is not None and line.time > stored.job.ended:
            yield f"I5 {line.key} started {line.time - stored.job.ended:.2f} s after the job was {stored.job.state}"
    yield from _check_counts(stored, lines, done)


def _check_counts(stored: Stored, lines: list[Line], done: Done) -> Iterator[str]:
    recoveries = sum(isinstance(record.event, JobRecovering) for record in stored.records)
    for entry in stored.job.entries:
        key = (entry.step, entry.name)
        starts = [line for line in lines if line.kind == "start" and line.key == key]
        retries = sum(
            isinstance(record.event, EntryRetrying) and (record.event.step, record.event.entry) == key
            for record in stored.records
        )
        if len(starts) > 1 + retries + recoveries:
            yield f"I2 {key} started {len(starts)} times, with {retries} retries and {recoveries} recoveries"
        if (
            entry.state is EntryState.SUCCEEDED
            and not entry.reason
            and not any(line.kind == "end" and line.note == "well" and line.key == key for line in lines)
        ):
            yield f"I13 {key} is said to have succeeded, and its module never said so"


def check_order(stored: Stored, shape: Shape, lines: list[Line]) -> Iterator[str]:
    """I5: no entry starts before every entry of the steps before has ended well."""
    ends = {
        (record.event.step, record.event.entry): record.time
        for record in stored.records
        if isinstance(record.event, EntrySucceeded)
    }
    for line in lines:
        if line.kind != "start":
            continue
        for key, step in shape.step_of.items():
            reused = stored.job.entry(*key).reason.startswith("it succeeded in job")
            if step < shape.step_of[line.key] and not reused and line.time < ends.get(key, float("inf")) - 0.01:
                yield f"I5 {line.key} started before {key} of an earlier step had succeeded"


def check_artifacts(world: World, stored: Stored, shape: Shape) -> Iterator[str]:
    """I6: what is said to be there is there, whole; what is there is said to be; of a success, just what is public."""
    folder = world.job_folder(stored.job.id) / "artifacts"
    there = {path.name for path in folder.iterdir()} if folder.exists() else set()
    present = {artifact.name for artifact in stored.job.artifacts if artifact.state is ArtifactState.PRESENT}
    if there - present:
        yield f"I6 of a {stored.job.state} job, nobody knows of {sorted(there - present)}"
    if present - there:
        yield f"I6 of a {stored.job.state} job, {sorted(present - there)} are said to be there and are not"
    for name in there & present:
        data, expected = (folder / name).read_bytes(), shape.artifacts[name]
        if hashlib.sha256(data).digest() != hashlib.sha256(expected).digest():
            yield f"I6 {name} is not whole: {len(data)} bytes instead of {len(expected)}"
    if stored.job.state is JobState.SUCCEEDED and present != shape.public:
        yield f"I6 the job succeeded, {sorted(shape.public)} are public and {sorted(present)} are there"


def check_watchers(stored: Stored, done: Done) -> Iterator[str]:
    """I8: what each watcher heard over all its cuts is the table, to the terminal event."""
    table = [(record.sequence, record.event.kind) for record in stored.records]
    last = next((place for place, (_number, kind) in enumerate(table) if kind in _TERMINAL), len(table))
    for follower in done.followers:
        if follower.job_id == stored.job.id:
            yield from (f"I8 {text}" for text in follower.wrong)
            if follower.ended and follower.seen[: last + 1] != table[: last + 1]:
                yield f"I8 a watcher heard {follower.seen[-3:]}, the table ends with {table[-3:]}"
