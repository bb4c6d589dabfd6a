"""What must hold after a schedule, whatever it did."""

import hashlib
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ledger
import processes
from ledger import Line
from shapes import Shape
from torment import Done
from world import World

from jobd import rows
from jobd.errors import IllegalTransitionError
from jobd.events import EntryRetrying, EntrySucceeded, JobRecovering, Record
from jobd.jobs import Job, new_job, replay
from jobd.plan import Plan
from jobd.states import ArtifactState, EntryState, JobState

QUIET_SECONDS = 50.0
"""For so long after its job's end a runner may talk to Prefect, and its lock be held."""
_TERMINAL = {"job_succeeded", "job_failed", "job_cancelled"}
_ALARMS = ("Traceback", "supervision_failed", "ingest_failed", "journal_does_not_fit", "call_failed", "Exception in")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A job as the store has it."""

    job: Job
    plan: Plan
    records: tuple[Record, ...]


def load(state: Path, job_id: str) -> Stored | None:
    """Read a job by other means than the store's own questions."""
    connection = sqlite3.connect(f"file:{state / 'jobd.db'}?mode=ro", uri=True, timeout=30)
    connection.row_factory = sqlite3.Row
    try:
        found = connection.execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone()
        if found is None:
            return None
        entries, artifacts = (
            _all(connection, f"SELECT * FROM {table} WHERE job = ? ORDER BY place", found["number"])
            for table in ("entries", "artifacts")
        )
        told = _all(connection, "SELECT * FROM events WHERE job = ? ORDER BY position", found["number"])
    finally:
        connection.close()
    job = rows.to_job(dict(found), entries, artifacts)  # type: ignore[arg-type]
    plan = Plan.model_validate_json(found["plan"])
    return Stored(job=job, plan=plan, records=tuple(map(rows.to_record, told)))  # type: ignore[arg-type]


def _all(connection: sqlite3.Connection, query: str, number: int) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(query, (number,)).fetchall()]


def check_schedule(world: World, shapes: Mapping[str, Shape], done: Done, log: str) -> Iterator[str]:
    """Find every violation of one schedule; `log` is what the daemon logged during it."""
    yield from done.wrong
    lines = ledger.read(world.ledger)
    stored: dict[str, Stored] = {}
    for job_id in shapes:
        found = load(world.state, job_id)
        if found is None:
            yield f"I1 job {job_id} was accepted and is not in the store"
        else:
            stored[job_id] = found
    yield from _check_quiet(world, set(shapes))
    for job_id, found in stored.items():
        own = [line for line in lines if line.job_id == job_id]
        checks = (
            check_history(found),
            check_verdict(found, shapes[job_id], done),
            check_attempts(found, own, done),
            check_order(found, shapes[job_id], own),
            check_artifacts(world, found, shapes[job_id]),
            check_watchers(found, done),
        )
        for check in checks:
            yield from (f"{text} [job {job_id}]" for text in check)
    yield from (f"the daemon's log has an alarm: {line[:300]}" for line in log.splitlines() if _alarms(line))


def _alarms(line: str) -> bool:
    return any(word in line for word in _ALARMS)


def _check_quiet(world: World, job_ids: set[str]) -> Iterator[str]:
    """I9, I10: nothing runs, nothing is held, nothing lies about; runners have a bounded time for their last words."""
    deadline = time.monotonic() + QUIET_SECONDS
    while (noise := _noise(world, job_ids)) and time.monotonic() < deadline:
        time.sleep(0.1)
    yield from noise


def _noise(world: World, job_ids: set[str]) -> list[str]:
    noise = [f"I9 process {pid} of job {job_id} lives" for pid, job_id in processes.marked(job_ids).items()]
    for job_id in job_ids:
        folder = world.job_folder(job_id)
        noise += [f"I9 cgroup {path} is left" for path in processes.cgroups(job_id)]
        if processes.lock_is_held(folder / "runner.lock"):
            noise.append(f"I9 the lock of job {job_id} is held by {(folder / 'runner.lock').read_text().strip()}")
        if (folder / "work").exists():
            noise.append(f"I10 scratch is left of job {job_id}: {_names(folder / 'work')}")
        temporary = [name for _inner, _names, names in os.walk(folder) for name in names if name.endswith(".tmp")]
        noise += [f"I10 temporary files are left of job {job_id}: {temporary}"] if temporary else []
    return noise


def _names(folder: Path) -> list[str]:
    # What is being removed at the moment may be gone between two steps of a walk, which a walk by os.walk bears.
    return sorted(
        str(Path(inner, name).relative_to(folder))
        for inner, folders, files in os.walk(folder)
        for name in (*folders, *files)
    )[:8]


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


def check_verdict(stored: Stored, shape: Shape, done: Done) -> Iterator[str]:
    """I4, I13: the job ended as what was done to it allows, and says why."""
    job = stored.job
    if job.state is JobState.FAILED and job.failure is None:
        yield "I13 it failed and does not say why"
    why = job.failure.message if job.failure else ""
    killed = "runner died" in why and done.runner_kills[job.id] > 3
    hit = job.id in done.module_killed and job.failure is not None and job.failure.kind == "signal"
    allowed = {
        JobState.SUCCEEDED: not shape.doomed or bool(job.retry_of and _all_reused(stored)),
        JobState.FAILED: shape.doomed or killed or hit,
        JobState.CANCELLED: job.id in done.cancelled,
    }
    if not allowed.get(job.state, False):
        yield f"I13 it is {job.state} ({why or job.reason}), which nothing that was done to it explains"
    if job.state is JobState.SUCCEEDED and any(entry.state is not EntryState.SUCCEEDED for entry in job.entries):
        yield "I13 it succeeded and not all of its entries did"


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
