"""The states of jobs, entries and artifacts, and every move between them that is legal."""

from collections.abc import Mapping
from enum import StrEnum

from jobd.errors import IllegalTransitionError


class JobState(StrEnum):
    """The state of a job."""

    QUEUED = "queued"
    """Accepted and on disk, not started."""
    RUNNING = "running"
    """Its flow run has begun."""
    CANCELLING = "cancelling"
    """A cancel was accepted; its processes are being ended."""
    SUCCEEDED = "succeeded"
    """Every entry succeeded."""
    FAILED = "failed"
    """An entry failed, or the job could not be run."""
    CANCELLED = "cancelled"
    """Cancelled, and nothing of it lives."""


class EntryState(StrEnum):
    """The state of one entry of a step."""

    PENDING = "pending"
    """Its step has not started."""
    WAITING = "waiting"
    """Its step has started; it waits for capacity."""
    RUNNING = "running"
    """Its module's process runs."""
    RETRYING = "retrying"
    """An attempt failed; another will follow."""
    SUCCEEDED = "succeeded"
    """Exit code 0 and every output present and whole."""
    FAILED = "failed"
    """Its last attempt failed."""
    CANCELLED = "cancelled"
    """Ended by a cancel."""
    SKIPPED = "skipped"
    """Never ran under the runner that ended the job, because the job ended before its turn."""


class ArtifactState(StrEnum):
    """What became of an artifact."""

    PENDING = "pending"
    """Not made yet."""
    PRESENT = "present"
    """On disk, whole."""
    REMOVED = "removed"
    """Removed."""


JOB_MOVES: Mapping[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLING, JobState.FAILED}),
    JobState.RUNNING: frozenset({JobState.CANCELLING, JobState.SUCCEEDED, JobState.FAILED}),
    # A job may come to its natural end before the cancel reaches it.
    JobState.CANCELLING: frozenset({JobState.CANCELLED, JobState.SUCCEEDED, JobState.FAILED}),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}

ENTRY_MOVES: Mapping[EntryState, frozenset[EntryState]] = {
    # What succeeded in the job that this one retries has succeeded at once.
    EntryState.PENDING: frozenset({EntryState.WAITING, EntryState.SKIPPED, EntryState.SUCCEEDED}),
    # An attempt whose process could not even be started fails, and is tried again, from where it waited.
    EntryState.WAITING: frozenset(
        {
            EntryState.RUNNING,
            EntryState.FAILED,
            EntryState.CANCELLED,
            EntryState.RETRYING,
            EntryState.SKIPPED,
            EntryState.PENDING,
        }
    ),
    EntryState.RUNNING: frozenset(
        {EntryState.SUCCEEDED, EntryState.FAILED, EntryState.CANCELLED, EntryState.RETRYING, EntryState.PENDING}
    ),
    EntryState.RETRYING: frozenset({EntryState.WAITING, EntryState.FAILED, EntryState.CANCELLED, EntryState.PENDING}),
    EntryState.SUCCEEDED: frozenset(),
    EntryState.FAILED: frozenset(),
    EntryState.CANCELLED: frozenset(),
    EntryState.SKIPPED: frozenset(),
}

TERMINAL_JOB_STATES = frozenset(state for state, moves in JOB_MOVES.items() if not moves)
TERMINAL_ENTRY_STATES = frozenset(state for state, moves in ENTRY_MOVES.items() if not moves)
LIVE_JOB_STATES = frozenset(JobState) - TERMINAL_JOB_STATES


def check_job_move(old: JobState, new: JobState) -> None:
    """Raise IllegalTransitionError unless a job may go from `old` to `new`."""
    if new not in JOB_MOVES[old]:
        raise IllegalTransitionError(f"a job that is {old} cannot become {new}")


def check_entry_move(old: EntryState, new: EntryState) -> None:
    """Raise IllegalTransitionError unless an entry may go from `old` to `new`."""
    if new not in ENTRY_MOVES[old]:
        raise IllegalTransitionError(f"an entry that is {old} cannot become {new}")
