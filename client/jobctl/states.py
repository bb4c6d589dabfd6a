"""What the states on the wire mean to jobctl."""

from jobapi.v1 import job_pb2

from jobctl.exit_codes import ExitCode

_EXIT_CODES = {
    job_pb2.JOB_STATE_SUCCEEDED: ExitCode.SUCCEEDED,
    job_pb2.JOB_STATE_FAILED: ExitCode.FAILED,
    job_pb2.JOB_STATE_CANCELLED: ExitCode.CANCELLED,
}
_TERMINAL_EVENTS = frozenset({"job_succeeded", "job_failed", "job_cancelled"})
_ENDED_ENTRIES = frozenset(
    {
        job_pb2.ENTRY_STATE_SUCCEEDED,
        job_pb2.ENTRY_STATE_FAILED,
        job_pb2.ENTRY_STATE_CANCELLED,
        job_pb2.ENTRY_STATE_SKIPPED,
    }
)


def is_terminal(state: job_pb2.JobState.ValueType) -> bool:
    """Tell whether a job in this state has ended; a state newer than this jobctl counts as not ended."""
    return state in _EXIT_CODES


def is_terminal_event(event: job_pb2.Event) -> bool:
    """Tell whether the event is the last one of its job."""
    return event.WhichOneof("kind") in _TERMINAL_EVENTS


def has_ended(entry: job_pb2.Entry) -> bool:
    """Tell whether nothing more will happen to the entry."""
    return entry.state in _ENDED_ENTRIES


def exit_code_of(state: job_pb2.JobState.ValueType) -> ExitCode:
    """Give the exit code that stands for the end of a job."""
    return _EXIT_CODES.get(state, ExitCode.FAILED)


def job_state_name(state: job_pb2.JobState.ValueType) -> str:
    """Write a job's state as users do, `RUNNING`; of one newer than this jobctl, its number."""
    names = job_pb2.JobState.DESCRIPTOR.values_by_number
    return names[int(state)].name.removeprefix("JOB_STATE_") if int(state) in names else f"STATE {state}"


def entry_state_name(state: job_pb2.EntryState.ValueType) -> str:
    """Write an entry's state as users do, `RUNNING`; of one newer than this jobctl, its number."""
    names = job_pb2.EntryState.DESCRIPTOR.values_by_number
    return names[int(state)].name.removeprefix("ENTRY_STATE_") if int(state) in names else f"STATE {state}"


def artifact_state_name(state: job_pb2.ArtifactState.ValueType) -> str:
    """Write an artifact's state as users do, `PRESENT`; of one newer than this jobctl, its number."""
    names = job_pb2.ArtifactState.DESCRIPTOR.values_by_number
    return names[int(state)].name.removeprefix("ARTIFACT_STATE_") if int(state) in names else f"STATE {state}"


def parse_job_state(name: str) -> job_pb2.JobState.ValueType:
    """Read a job's state as users write it; raise ValueError for any other."""
    return job_pb2.JobState.Value(f"JOB_STATE_{name.upper()}")
