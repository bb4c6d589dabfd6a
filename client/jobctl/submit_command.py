"""`jobctl submit` and `jobctl validate`."""

import sys
import uuid
from collections.abc import Iterable
from pathlib import Path

from jobapi.v1 import job_service_pb2

from jobctl.arguments import Arguments
from jobctl.byte_bar import show_bytes
from jobctl.client import Client
from jobctl.display import Display
from jobctl.errors import InvalidJobError, JobctlError, UsageError, Violation
from jobctl.exit_codes import ExitCode
from jobctl.job_file import FoundInput, JobFile, find_inputs, require_inputs
from jobctl.json_output import dump_document, dump_line, to_json
from jobctl.tables import format_plan
from jobctl.tar_stream import measure
from jobctl.terminal import escape, say
from jobctl.watch_command import choose_display, follow


def submit(arguments: Arguments) -> ExitCode:
    """Submit a job, and watch it where that is asked for; nothing is stored when anything is wrong."""
    labels = _read_labels(arguments.label)
    if arguments.timeout is not None and not (arguments.watch or arguments.wait):
        raise UsageError("--timeout needs --watch or --wait")
    file = JobFile.read(arguments.file)
    with Client.connect(arguments.address, arguments.token_file) as client:
        plan = _check(client, file)
        found = find_inputs(plan.inputs, arguments.input, file.folder)
        if arguments.dry_run:
            return _show_plan(plan, found, arguments)
        require_inputs(found, file.folder)
        job_id = _submit(client, file, found, labels, arguments)
        if not (arguments.watch or arguments.wait):
            return ExitCode.SUCCEEDED
        # Standard output has the id; the talk about the job goes where all talk of submit goes.
        display = choose_display(arguments, sys.stderr) if arguments.watch else Display()
        return follow(client, job_id, display, timeout=arguments.timeout, resuming=True)


def validate(arguments: Arguments) -> ExitCode:
    """Check a job file and tell every violation, or what would run."""
    file = JobFile.read(arguments.file)
    with Client.connect(arguments.address, arguments.token_file) as client:
        answer = client.validate(file.content)
    if arguments.json:
        print(dump_document(to_json(answer)))
        return ExitCode.INVALID_JOB if answer.violations else ExitCode.SUCCEEDED
    _refuse_violations(answer, file)
    steps = len(answer.plan.steps)
    entries = sum(len(step.entries) for step in answer.plan.steps)
    print(f"{escape(file.label)}: valid, {_count(steps, 'step', 'steps')}, {_count(entries, 'entry', 'entries')}")
    return ExitCode.SUCCEEDED


def _check(client: Client, file: JobFile) -> job_service_pb2.Plan:
    answer = client.validate(file.content)
    _refuse_violations(answer, file)
    return answer.plan


def _refuse_violations(answer: job_service_pb2.ValidateResponse, file: JobFile) -> None:
    if answer.violations:
        violations = tuple(
            Violation(path=item.path, line=item.line, message=item.message, hint=item.hint)
            for item in answer.violations
        )
        problems = _count(len(violations), "problem", "problems")
        raise InvalidJobError(f"{file.label} has {problems}", violations=violations, file=file.label)


def _submit(
    client: Client, file: JobFile, found: Iterable[FoundInput], labels: dict[str, str], arguments: Arguments
) -> str:
    request_id = arguments.request_id or str(uuid.uuid4())
    inputs = [_provide(client, item, item.path, arguments) for item in found if item.path]
    try:
        answer = client.submit(
            file.content, request_id=request_id, inputs=inputs, priority=arguments.priority, labels=labels
        )
    except JobctlError as error:
        error.file = file.label
        if error.code == "DEADLINE_EXCEEDED":
            error.hint = f"it may have been accepted; ask again safely with --request-id {request_id}"
        raise
    _tell(answer, arguments)
    return answer.job.id


def _provide(client: Client, item: FoundInput, path: Path, arguments: Arguments) -> job_service_pb2.JobInput:
    if client.address.is_local and not arguments.upload:
        return job_service_pb2.JobInput(param_name=item.key, path=str(path))
    with show_bytes(f"sending {path.name}", measure(path)) as on_bytes:
        return job_service_pb2.JobInput(param_name=item.key, upload_id=client.upload(path, on_bytes))


def _tell(answer: job_service_pb2.SubmitResponse, arguments: Arguments) -> None:
    job = answer.job
    if arguments.json:
        # With --watch, lines of events follow.
        print((dump_line if arguments.watch else dump_document)(to_json(job)), flush=True)
    else:
        print(job.id, flush=True)
    if answer.existed:
        say("this request id was used before; it is the same job")
    if not (arguments.watch or arguments.wait):
        say(f"watch: jobctl watch {job.id}")
    if job.dashboard_url:
        say(f"dashboard: {escape(job.dashboard_url)}")


def _show_plan(plan: job_service_pb2.Plan, found: Iterable[FoundInput], arguments: Arguments) -> ExitCode:
    if arguments.json:
        print(dump_document(to_json(plan)))
    else:
        for line in format_plan(plan, {item.key: item.path for item in found}):
            print(line)
    say("nothing was stored")
    return ExitCode.SUCCEEDED


def _read_labels(options: Iterable[str]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not equals or not key:
            raise UsageError(f"--label {option}: not of the form KEY=VALUE")
        labels[key] = value
    return labels


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
