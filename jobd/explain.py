"""Saying why the things of a job are as they are: pure, from the job and from what the scheduler knows."""

from collections.abc import Callable
from dataclasses import dataclass

from jobd.jobs import Artifact, Entry, Job
from jobd.states import ArtifactState, EntryState, JobState

HowHeld = Callable[[str, str], str]
"""Says how an entry, by step and name, is held back; empty where that is not known."""
WhyWaiting = Callable[[str | None], str]
"""Says what an entry, by `step/entry`, or the job's start, as None, waits for; empty when it does not wait."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why one thing is as it is."""

    subject: str
    text: str


def explain(
    job: Job,
    why_waiting: WhyWaiting,
    *,
    step: str = "",
    entry: str = "",
    how_held: HowHeld = lambda _step, _entry: "",
) -> tuple[Explanation, ...]:
    """Explain a whole job, or only a step or an entry of it with the artifacts that it makes."""
    chosen = [item for item in job.entries if step in ("", item.step) and entry in ("", item.name)]
    made = {name for item in chosen for name in item.outputs}
    found = [] if step or entry else [Explanation("job", _job(job, why_waiting))]
    for item in chosen:
        subject = f"{item.step}/{item.name}"
        found.append(Explanation(subject, _entry(job, item, why_waiting)))
        found += [Explanation(subject, held)] if (held := how_held(item.step, item.name)) else []
    found += [
        Explanation(item.name, text)
        for item in job.artifacts
        if (item.name in made or not (step or entry)) and (text := _artifact(item))
    ]
    return tuple(found)


def _job(job: Job, why_waiting: WhyWaiting) -> str:
    reason = job.failure.message if job.failure else job.reason
    sentences = {
        JobState.QUEUED: f"it is queued: {why_waiting(None) or reason or 'it is being started'}",
        JobState.RUNNING: f"it runs; {job.ended_entry_count} of {job.entry_count} entries have ended",
        JobState.CANCELLING: f"it is being cancelled: {reason}; its processes are being ended",
        JobState.FAILED: f"it failed: {reason}",
        JobState.CANCELLED: f"it was cancelled: {reason}",
        JobState.SUCCEEDED: "every entry succeeded",
    }
    return sentences[job.state]


def _entry(job: Job, entry: Entry, why_waiting: WhyWaiting) -> str:  # noqa: PLR0911 - a sentence for each state
    match entry.state:
        case EntryState.PENDING:
            return f"it waits for its step: {_open_before(job, entry)}"
        case EntryState.WAITING:
            waits = why_waiting(f"{entry.step}/{entry.name}")
            return waits or "it is about to ask for capacity, behind other entries of its step"
        case EntryState.RUNNING:
            return f"attempt {entry.attempt} runs" + (f": {entry.status}" if entry.status else "")
        case EntryState.RETRYING:
            return f"attempt {entry.attempt} failed, and another follows: {entry.reason}"
        case EntryState.FAILED:
            return f"attempt {entry.attempt} failed: {entry.failure.message if entry.failure else entry.reason}"
        case EntryState.SUCCEEDED:
            return entry.reason or f"attempt {entry.attempt} succeeded"
        case EntryState.CANCELLED | EntryState.SKIPPED:
            return f"it was {entry.state}: {entry.reason}"


def _open_before(job: Job, entry: Entry) -> str:
    for other in job.entries:
        if other.step == entry.step:
            return "the job has not started it"
        if other.state is not EntryState.SUCCEEDED:
            return f"{other.step}/{other.name} is {other.state}"
    return "the job has not started it"


def _artifact(artifact: Artifact) -> str:
    match artifact.state:
        case ArtifactState.REMOVED:
            return f"it was removed: {artifact.reason}"
        case ArtifactState.PRESENT:
            return "it is kept, because it is public" if artifact.public else "it is there until nothing needs it"
        case ArtifactState.PENDING:
            return f"{artifact.step}/{artifact.entry} has not made it" if artifact.step else ""
