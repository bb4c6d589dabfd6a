"""Domain objects as messages, total and without judgement."""

from __future__ import annotations  # the ValueTypes of enums exist only in the stubs

import json
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from jobapi.v1 import job_pb2, job_service_pb2, module_service_pb2

from jobd import catalog, events
from jobd.errors import Violation
from jobd.jobs import Artifact, Entry, Job
from jobd.plan import Plan, PlanEntry
from jobd.states import ArtifactState, EntryState, JobState


def job_state(state: JobState) -> job_pb2.JobState.ValueType:
    """Give a job's state on the wire."""
    return job_pb2.JobState.Value(f"JOB_STATE_{state.name}")


def domain_job_state(value: int) -> JobState | None:
    """Read a job's state; None for one that is none."""
    name = job_pb2.JobState.Name(value).removeprefix("JOB_STATE_") if value in job_pb2.JobState.values() else ""  # type: ignore[arg-type]
    return JobState[name] if name in JobState.__members__ else None


def entry_state(state: EntryState) -> job_pb2.EntryState.ValueType:
    """Give an entry's state on the wire."""
    return job_pb2.EntryState.Value(f"ENTRY_STATE_{state.name}")


def artifact_state(state: ArtifactState) -> job_pb2.ArtifactState.ValueType:
    """Give an artifact's state on the wire."""
    return job_pb2.ArtifactState.Value(f"ARTIFACT_STATE_{state.name}")


def seconds(moment: Timestamp) -> float:
    """Read a time on the wire, in seconds since the epoch."""
    return float(moment.seconds + moment.nanos / 1e9)


def timestamp(seconds: float | None) -> Timestamp | None:
    """Give a time on the wire; None stays none."""
    if seconds is None:
        return None
    whole, micros = divmod(round(seconds * 1e6), 1_000_000)
    return Timestamp(seconds=whole, nanos=micros * 1000)


def failure(value: events.Failure | None) -> job_pb2.Failure | None:
    """Give a failure on the wire; None stays none."""
    if value is None:
        return None
    return job_pb2.Failure(
        kind=job_pb2.FailureKind.Value(f"FAILURE_KIND_{value.kind.name}"),
        message=value.message,
        step=value.step,
        entry=value.entry,
        exit_code=value.exit_code,
        signal=value.signal,
        log_tail=value.log_tail,
    )


def artifact(value: Artifact) -> job_pb2.Artifact:
    """Give an artifact on the wire."""
    return job_pb2.Artifact(
        name=value.name,
        type=value.type,
        public=value.public,
        state=artifact_state(value.state),
        size_bytes=value.size_bytes,
        folder=value.folder,
        step=value.step,
        entry=value.entry,
        reason=value.reason,
    )


def usage(value: events.Usage | None) -> job_pb2.ResourceUsage | None:
    """Give what an attempt used on the wire; None stays none."""
    if value is None:
        return None
    return job_pb2.ResourceUsage(cpu_time=_duration(value.cpu_seconds), max_rss_bytes=value.max_rss_bytes)


def entry(value: Entry) -> job_pb2.Entry:
    """Give an entry on the wire."""
    return job_pb2.Entry(
        name=value.name,
        module=value.module,
        state=entry_state(value.state),
        attempt=value.attempt,
        progress_percent=value.progress,
        status=value.status,
        reason=value.reason,
        start_time=timestamp(value.started),
        end_time=timestamp(value.ended),
        failure=failure(value.failure),
        inputs=value.inputs,
        outputs=value.outputs,
        usage=usage(value.usage),
    )


def run_url(dashboard_url: str, value: Job) -> str:
    """Give where the dashboard at this address shows a job; empty where it cannot."""
    return f"{dashboard_url}/runs/flow-run/{value.flow_run_id}" if dashboard_url and value.flow_run_id else ""


def job(value: Job, *, dashboard_url: str = "") -> job_pb2.Job:
    """Give a job on the wire, with the parts it has; `dashboard_url` is where the dashboard is, not the run."""
    steps: dict[str, list[job_pb2.Entry]] = {}
    for item in value.entries:
        steps.setdefault(item.step, []).append(entry(item))
    return job_pb2.Job(
        id=value.id,
        name=value.name,
        version=value.version,
        state=job_state(value.state),
        reason=value.reason,
        labels=dict(value.labels),
        priority=value.priority,
        owner=value.owner,
        submit_time=timestamp(value.submitted),
        start_time=timestamp(value.started),
        end_time=timestamp(value.ended),
        last_sequence=value.sequence,
        steps=[job_pb2.Step(name=name, entries=items) for name, items in steps.items()],
        artifacts=map(artifact, value.artifacts),
        failure=failure(value.failure),
        flow_run_id=value.flow_run_id,
        dashboard_url=run_url(dashboard_url, value),
        entry_count=value.entry_count,
        ended_entry_count=value.ended_entry_count,
        recorded=value.recorded,
        retry_of=value.retry_of,
    )


def event(job_id: str, record: events.Record) -> job_pb2.Event:
    """Give an event on the wire. The messages have the names and fields of the domain's events."""
    message = job_pb2.Event(sequence=record.sequence, time=timestamp(record.time), job_id=job_id)
    body = getattr(message, record.event.kind)
    body.SetInParent()
    for name in type(record.event).model_fields:
        if name != "kind":
            _set(body, name, getattr(record.event, name))
    return message


def _set(body: object, name: str, value: object) -> None:
    if isinstance(value, events.Failure):
        getattr(body, name).CopyFrom(failure(value))
    elif isinstance(value, events.Usage):
        getattr(body, name).CopyFrom(usage(value))
    elif name == "delay_seconds":
        body.delay.CopyFrom(_duration(float(str(value))))  # type: ignore[attr-defined]
    elif value is not None:
        setattr(body, name, value)


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromTimedelta(timedelta(seconds=seconds))
    return duration


def violation(value: Violation) -> job_service_pb2.Violation:
    """Give a violation on the wire."""
    return job_service_pb2.Violation(path=value.path, line=value.line, message=value.message, hint=value.hint)


def plan(value: Plan) -> job_service_pb2.Plan:
    """Give a plan on the wire."""
    return job_service_pb2.Plan(
        name=value.name,
        version=value.version,
        inputs=[
            job_service_pb2.PlanInput(
                param_name=item.param_name, name=item.name, type=item.type, artifact_names=item.artifact_names
            )
            for item in value.inputs
        ],
        steps=[job_pb2.Step(name=step.name, entries=map(_planned_entry, step.entries)) for step in value.steps],
        artifacts=[
            job_pb2.Artifact(
                name=item.name,
                type=item.type,
                public=item.public,
                state=job_pb2.ARTIFACT_STATE_PENDING,
                step=item.step,
                entry=item.entry,
            )
            for item in value.artifacts
        ],
    )


def _planned_entry(value: PlanEntry) -> job_pb2.Entry:
    return job_pb2.Entry(
        name=value.name,
        module=value.module,
        state=job_pb2.ENTRY_STATE_PENDING,
        inputs=[name for binding in value.inputs for name in binding.artifacts],
        outputs=[name for binding in value.outputs for name in binding.artifacts],
    )


def module(value: catalog.Module) -> module_service_pb2.Module:
    """Give a module on the wire."""
    manifest = value.manifest
    return module_service_pb2.Module(
        name=value.name,
        description=value.description,
        version=value.version,
        folder=str(value.folder),
        inputs=[
            module_service_pb2.ModuleFile(
                param_name=item.param_name, type=item.type, optional=item.optional, many=item.many
            )
            for item in manifest.inputs
        ],
        outputs=[
            module_service_pb2.ModuleFile(param_name=item.param_name, type=item.type) for item in manifest.outputs
        ],
        params=[
            module_service_pb2.ModuleParam(
                name=item.name,
                type=item.type,
                description=item.description,
                default_json="" if item.default is None else json.dumps(item.default),
                choices_json=[json.dumps(choice) for choice in item.choices or ()],
            )
            for item in manifest.params
        ],
    )


def broken_module(value: catalog.BrokenModule) -> module_service_pb2.BrokenModule:
    """Give a module that cannot be used on the wire."""
    return module_service_pb2.BrokenModule(folder=str(value.folder), reasons=value.reasons)
