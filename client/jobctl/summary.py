"""What a person is told when a watched job has ended."""

import shlex

from jobapi.v1 import job_pb2

from jobctl.states import has_ended, job_state_name
from jobctl.terminal import escape
from jobctl.units import format_duration, format_size, to_datetime

_SHOWN_ARTIFACTS = 6


def summarize(job: job_pb2.Job) -> list[str]:
    """Give the lines: how it ended, why, and how to go on from there. Safe for a terminal."""
    lines = [_describe_end(job), *_describe_failure(job)]
    if job.state in {job_pb2.JOB_STATE_FAILED, job_pb2.JOB_STATE_CANCELLED}:
        lines.append(f"retry: jobctl retry {job.id}")
    results = [item for item in job.artifacts if item.public and item.state == job_pb2.ARTIFACT_STATE_PRESENT]
    if results:
        lines.append(f"results: jobctl download {job.id}   ({_list_artifacts(results)})")
    if job.dashboard_url:
        lines.append(f"dashboard: {escape(job.dashboard_url)}")
    return lines


def describe_failure(failure: job_pb2.Failure) -> str:
    """Say in one line which entry failed and why. Safe for a terminal."""
    where = f"{failure.step}/{failure.entry}: " if failure.entry else ""
    return escape(where + (failure.message or "failed"))


def _describe_end(job: job_pb2.Job) -> str:
    entries = [entry for step in job.steps for entry in step.entries]
    succeeded = sum(entry.state == job_pb2.ENTRY_STATE_SUCCEEDED for entry in entries)
    took = ""
    if job.HasField("start_time") and job.HasField("end_time"):
        took = f" in {format_duration((to_datetime(job.end_time) - to_datetime(job.start_time)).total_seconds())}"
    ended = sum(map(has_ended, entries))
    count = f"{succeeded} of {len(entries)} entries succeeded" if ended else "nothing had started"
    reason = f", {escape(job.reason)}" if job.reason else ""
    return f"{job_state_name(job.state)}{took}: {count}{reason}"


def _describe_failure(job: job_pb2.Job) -> list[str]:
    if not job.HasField("failure"):
        return []
    tail = [f"  | {escape(line)}" for line in job.failure.log_tail]
    rest = f"log: jobctl logs {job.id} {_name_place(job.failure)}".rstrip()
    return [describe_failure(job.failure), *tail, rest]


def _name_place(failure: job_pb2.Failure) -> str:
    # Names may hold spaces and more, and the line is there to be pasted into a shell.
    return shlex.quote(escape(f"{failure.step}/{failure.entry}")) if failure.entry else ""


def _list_artifacts(artifacts: list[job_pb2.Artifact]) -> str:
    shown = [f"{escape(item.name)} {format_size(item.size_bytes)}" for item in artifacts[:_SHOWN_ARTIFACTS]]
    rest = len(artifacts) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")
