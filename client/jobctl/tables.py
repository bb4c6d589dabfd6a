"""Jobs, plans and modules as text for a terminal. Everything that comes from a job is escaped."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from jobapi.v1 import job_pb2, job_service_pb2, module_service_pb2

from jobctl.states import artifact_state_name, entry_state_name, job_state_name
from jobctl.summary import describe_failure
from jobctl.terminal import escape
from jobctl.units import format_duration, format_size, format_time, now, to_datetime


def format_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align the columns of rows, the first of which is the head; cells are escaped."""
    cells = [[escape(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def format_jobs(jobs: Iterable[job_pb2.Job]) -> list[str]:
    """Give a line for each job, below a head."""
    head = ("ID", "NAME", "STATE", "ENTRIES", "SUBMITTED", "TOOK", "REASON")
    return format_table([head, *(_make_job_row(job) for job in jobs)])


def format_job(job: job_pb2.Job) -> list[str]:
    """Tell everything about one job."""
    facts = [
        ("id", job.id),
        ("name", job.name),
        ("version", job.version),
        ("state", job_state_name(job.state) + (f": {job.reason}" if job.reason else "")),
        ("priority", str(job.priority)),
        ("labels", ", ".join(f"{key}={value}" for key, value in sorted(job.labels.items()))),
        ("submitted", format_time(job.submit_time)),
        ("started", format_time(job.start_time) if job.HasField("start_time") else ""),
        ("ended", format_time(job.end_time) if job.HasField("end_time") else ""),
        ("took", _elapsed(job)),
        ("dashboard", job.dashboard_url),
        ("failure", describe_failure(job.failure) if job.HasField("failure") else ""),
    ]
    lines = [f"{name + ':':<11}{escape(value)}" for name, value in facts if value]
    lines += [f"  | {escape(line)}" for line in job.failure.log_tail]
    return [*lines, *_format_entries(job.steps), *_format_artifacts(job.artifacts)]


def format_plan(plan: job_service_pb2.Plan, paths: Mapping[str, Path | None]) -> list[str]:
    """Tell what would run and on which files; `paths` has a file, or None, for each input."""
    lines = [f"{escape(plan.name)} {escape(plan.version)}".rstrip()]
    if plan.inputs:
        rows = [("INPUT", "TYPE", "FILE"), *(_make_input_row(item, paths) for item in plan.inputs)]
        lines += ["", *format_table(rows)]
    if plan.steps:
        steps = [
            (step.name, entry.name, entry.module, ", ".join(entry.inputs), ", ".join(entry.outputs))
            for step in plan.steps
            for entry in step.entries
        ]
        lines += ["", *format_table([("STEP", "ENTRY", "MODULE", "TAKES", "MAKES"), *steps])]
    if plan.artifacts:
        artifacts = [
            (item.name, item.type, "public" if item.public else "", _name_producer(item)) for item in plan.artifacts
        ]
        lines += ["", *format_table([("ARTIFACT", "TYPE", "KEPT", "FROM"), *artifacts])]
    return lines


def format_modules(answer: module_service_pb2.ListModulesResponse) -> list[str]:
    """Give a line for each module, below a head, and the broken ones with their reasons."""
    rows = [("NAME", "TAKES", "MAKES", "DESCRIPTION")]
    rows += [
        (item.name, _name_types(item.inputs), _name_types(item.outputs), item.description) for item in answer.modules
    ]
    return [*format_table(rows), *_format_broken(answer.broken)]


def format_module(module: module_service_pb2.Module) -> list[str]:
    """Tell everything about one module."""
    facts = [
        ("name", module.name),
        ("version", module.version),
        ("does", module.description),
        ("folder", module.folder),
    ]
    lines = [f"{name + ':':<9}{escape(value)}" for name, value in facts if value]
    rows = [("PARAM", "KIND", "TYPE", "NEEDED", "ABOUT")]
    rows += [
        (item.param_name, "input", item.type, _name_need(item), "several" if item.many else "")
        for item in module.inputs
    ]
    rows += [(item.param_name, "output", item.type, "yes", "") for item in module.outputs]
    rows += [(item.name, "option", item.type, _name_default(item), _describe_param(item)) for item in module.params]
    return [*lines, "", *format_table(rows)]


def _make_job_row(job: job_pb2.Job) -> tuple[str, ...]:
    count = f"{job.ended_entry_count}/{job.entry_count}"
    reason = describe_failure(job.failure) if job.HasField("failure") else job.reason
    return (job.id, job.name, job_state_name(job.state), count, format_time(job.submit_time), _elapsed(job), reason)


def _elapsed(item: job_pb2.Job | job_pb2.Entry) -> str:
    if not item.HasField("start_time"):
        return ""
    end = to_datetime(item.end_time) if item.HasField("end_time") else now()
    return format_duration((end - to_datetime(item.start_time)).total_seconds())


def _format_entries(steps: Iterable[job_pb2.Step]) -> list[str]:
    rows = [
        (f"{step.name}/{entry.name}", entry.module, entry_state_name(entry.state), str(entry.attempt or ""),
         _elapsed(entry), entry.failure.message or entry.reason or entry.status)
        for step in steps for entry in step.entries
    ]  # fmt: skip
    return ["", *format_table([("ENTRY", "MODULE", "STATE", "ATTEMPT", "TOOK", "ABOUT"), *rows])] if rows else []


def _format_artifacts(artifacts: Iterable[job_pb2.Artifact]) -> list[str]:
    rows = [
        (item.name, item.type, artifact_state_name(item.state), "public" if item.public else "",
         format_size(item.size_bytes) if item.size_bytes else "", _name_producer(item), item.reason)
        for item in artifacts
    ]  # fmt: skip
    return ["", *format_table([("ARTIFACT", "TYPE", "STATE", "KEPT", "SIZE", "FROM", "REASON"), *rows])] if rows else []


def _make_input_row(item: job_service_pb2.PlanInput, paths: Mapping[str, Path | None]) -> tuple[str, ...]:
    key = item.name or item.param_name
    path = paths.get(key)
    return (key, item.type, str(path) if path else f"none yet: give it with --input {key}=PATH")


def _format_broken(broken: Iterable[module_service_pb2.BrokenModule]) -> list[str]:
    return [
        line
        for item in broken
        for line in ("", f"broken: {escape(item.folder)}", *(f"  {escape(reason)}" for reason in item.reasons))
    ]


def _name_producer(item: job_pb2.Artifact) -> str:
    return f"{item.step}/{item.entry}" if item.entry else "the submitter"


def _name_types(files: Iterable[module_service_pb2.ModuleFile]) -> str:
    return ", ".join(file.type for file in files)


def _name_need(file: module_service_pb2.ModuleFile) -> str:
    return "no" if file.optional else "yes"


def _name_default(param: module_service_pb2.ModuleParam) -> str:
    return f"no, {param.default_json}" if param.default_json else "yes"


def _describe_param(param: module_service_pb2.ModuleParam) -> str:
    choices = f"one of {', '.join(param.choices_json)}" if param.choices_json else ""
    return ", ".join(part for part in (param.description, choices) if part)
