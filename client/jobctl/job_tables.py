"""Jobs as text for a person."""

from collections.abc import Iterable

from jobapi.v1 import job_pb2

from jobctl.states import artifact_state_name, entry_state_name, is_terminal, job_state_name
from jobctl.summary import describe_failure
from jobctl.tables import format_facts, format_table, name_producer
from jobctl.terminal import escape
from jobctl.units import format_duration, format_size, format_time, now, to_datetime

_HEAD = ("ID", "NAME", "STATE", "ENTRIES", "SUBMITTED", "TOOK", "REASON")
_WIDE_HEAD = ("VERSION", "OWNER", "PRIORITY", "STARTED", "ENDED", "RETRY OF", "RECORD", "LABELS", "DASHBOARD")
_ENTRY_HEAD = ("ENTRY", "MODULE", "STATE", "ATTEMPT", "TOOK", "ABOUT")
_ENTRY_WIDE_HEAD = ("STARTED", "ENDED", "CPU", "MEMORY", "TAKES", "MAKES")


def format_jobs(jobs: Iterable[job_pb2.Job], *, wide: bool = False) -> list[str]:
    """Give a line for each job, below a head; `wide` adds columns."""
    if not wide:
        return format_table([_HEAD, *map(_make_job_row, jobs)])
    return format_table(
        [_HEAD + _WIDE_HEAD, *((*_make_job_row(job), *_make_more_of_job_row(job)) for job in jobs)]
    )  # fmt: skip


def format_job(job: job_pb2.Job, *, wide: bool = False) -> list[str]:
    """Tell everything about one job."""
    facts = [
        ("id", job.id),
        ("name", job.name),
        ("version", job.version),
        ("state", job_state_name(job.state) + (f": {job.reason}" if job.reason else "")),
        ("owner", job.owner),
        ("priority", str(job.priority)),
        ("labels", _format_labels(job)),
        ("retry of", job.retry_of),
        ("submitted", format_time(job.submit_time)),
        ("started", _format_start(job)),
        ("ended", _format_end(job)),
        ("took", _elapsed(job)),
        ("record", _format_record(job)),
        ("dashboard", job.dashboard_url),
        ("failure", describe_failure(job.failure) if job.HasField("failure") else ""),
    ]
    tail = [f"  | {escape(line)}" for line in job.failure.log_tail]
    entries = _format_entries(job.steps, wide=wide)
    return [*format_facts(facts), *tail, *entries, *_format_artifacts(job.artifacts)]


def _make_job_row(job: job_pb2.Job) -> tuple[str, ...]:
    count = f"{job.ended_entry_count}/{job.entry_count}"
    reason = describe_failure(job.failure) if job.HasField("failure") else job.reason
    return (job.id, job.name, job_state_name(job.state), count, format_time(job.submit_time), _elapsed(job), reason)


def _make_more_of_job_row(job: job_pb2.Job) -> tuple[str, ...]:
    times = (_format_start(job), _format_end(job))
    return (
        job.version,
        job.owner,
        str(job.priority),
        *times,
        job.retry_of,
        _format_record(job),
        _format_labels(job),
        job.dashboard_url,
    )


def _format_labels(job: job_pb2.Job) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(job.labels.items()))


def _format_record(job: job_pb2.Job) -> str:
    """Say whether the dashboard's record of an ended job is known to be complete."""
    if not is_terminal(job.state):
        return ""
    return "complete" if job.recorded else "being compared"


def _format_start(item: job_pb2.Job | job_pb2.Entry) -> str:
    return format_time(item.start_time) if item.HasField("start_time") else ""


def _format_end(item: job_pb2.Job | job_pb2.Entry) -> str:
    return format_time(item.end_time) if item.HasField("end_time") else ""


def _elapsed(item: job_pb2.Job | job_pb2.Entry) -> str:
    if not item.HasField("start_time"):
        return ""
    end = to_datetime(item.end_time) if item.HasField("end_time") else now()
    return format_duration((end - to_datetime(item.start_time)).total_seconds())


def _format_entries(steps: Iterable[job_pb2.Step], *, wide: bool) -> list[str]:
    rows = [_make_entry_row(step, entry, wide=wide) for step in steps for entry in step.entries]
    head = _ENTRY_HEAD + _ENTRY_WIDE_HEAD if wide else _ENTRY_HEAD
    return ["", *format_table([head, *rows])] if rows else []


def _make_entry_row(step: job_pb2.Step, entry: job_pb2.Entry, *, wide: bool) -> tuple[str, ...]:
    about = entry.failure.message or entry.reason or entry.status
    attempt = str(entry.attempt or "")
    row = (f"{step.name}/{entry.name}", entry.module, entry_state_name(entry.state), attempt, _elapsed(entry), about)
    times = (_format_start(entry), _format_end(entry))
    return (*row, *times, *_format_usage(entry), ", ".join(entry.inputs), ", ".join(entry.outputs)) if wide else row


def _format_usage(entry: job_pb2.Entry) -> tuple[str, str]:
    if not entry.HasField("usage"):
        return "", ""
    cpu = format_duration(entry.usage.cpu_time.ToTimedelta().total_seconds())
    return cpu, format_size(entry.usage.max_rss_bytes) if entry.usage.HasField("max_rss_bytes") else ""


def _format_artifacts(artifacts: Iterable[job_pb2.Artifact]) -> list[str]:
    rows = [
        (item.name, item.type, artifact_state_name(item.state), "public" if item.public else "",
         format_size(item.size_bytes) if item.size_bytes else "", name_producer(item), item.reason)
        for item in artifacts
    ]  # fmt: skip
    return ["", *format_table([("ARTIFACT", "TYPE", "STATE", "KEPT", "SIZE", "FROM", "REASON"), *rows])] if rows else []
