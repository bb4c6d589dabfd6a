"""What a retry of a job need not do again: pure, from the plan and from how the job ended."""

from collections.abc import Iterator
from dataclasses import dataclass

from jobd.errors import ArtifactGoneError, NotRetriableError
from jobd.jobs import Job
from jobd.plan import Plan, PlanEntry
from jobd.states import ArtifactState, EntryState, JobState

Key = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reuse:
    """What is taken over from the job that is retried."""

    entries: tuple[Key, ...]
    """Entries, by step and name, that need not run again."""
    artifacts: tuple[str, ...]
    """Artifacts that are taken over."""
    unneeded: tuple[str, ...]
    """Artifacts of those entries that are gone, and that nothing needs any more."""


def find_reuse(plan: Plan, job: Job) -> Reuse:
    """Say what a retry of `job` takes over.

    NotRetriableError when the job has not ended, or has succeeded; ArtifactGoneError when an input of the job that
    is needed again is gone. An entry that succeeded runs again when something of it is needed that is gone.
    """
    if job.state not in (JobState.FAILED, JobState.CANCELLED):
        raise NotRetriableError(f"job {job.id} is {job.state}", hint="only a job that failed or was cancelled can be")
    entries = {(entry.step, entry.name): entry for step in plan.steps for entry in step.entries}
    present = {artifact.name for artifact in job.artifacts if artifact.state is ArtifactState.PRESENT}
    done = {key for key in entries if job.entry(*key).state is EntryState.SUCCEEDED}
    while lost := {key for key in done if not present.issuperset(_needed_of(plan, entries[key], done))}:
        done -= lost
    _check_inputs(plan, done, present)
    carried = [
        artifact.name
        for artifact in plan.artifacts
        if artifact.name in present and (not artifact.step or (artifact.step, artifact.entry) in done)
    ]
    gone = [name for key in done for name in _made_by(entries[key]) if name not in present]
    return Reuse(entries=tuple(key for key in entries if key in done), artifacts=tuple(carried), unneeded=tuple(gone))


def _needed_of(plan: Plan, entry: PlanEntry, done: set[Key]) -> Iterator[str]:
    """Give what an entry made that is public, or that an entry which is still to run takes."""
    made = set(_made_by(entry))
    for artifact in plan.artifacts:
        if artifact.name in made and (artifact.public or not done.issuperset(artifact.consumers)):
            yield artifact.name


def _made_by(entry: PlanEntry) -> Iterator[str]:
    return (name for binding in entry.outputs for name in binding.artifacts)


def _check_inputs(plan: Plan, done: set[Key], present: set[str]) -> None:
    for artifact in plan.artifacts:
        if not artifact.step and artifact.name not in present and not done.issuperset(artifact.consumers):
            raise ArtifactGoneError(
                f"the input {artifact.name!r} is needed again and is no longer there", hint="submit the job anew"
            )
