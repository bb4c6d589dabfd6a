"""`jobctl submit`."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jobapi.v1 import job_service_pb2

from jobctl.acceptance import check_following, follow_accepted, tell_accepted
from jobctl.arguments import Arguments
from jobctl.byte_bar import show_bytes
from jobctl.client import Client
from jobctl.errors import InvalidJobError, JobctlError, PathNotAllowedError, UsageError
from jobctl.exit_codes import ExitCode
from jobctl.job_file import FoundInput, JobFile, find_inputs, require_inputs
from jobctl.json_output import dump_document, dump_line, to_json
from jobctl.plan_tables import format_plan
from jobctl.session import connect
from jobctl.tar_stream import measure
from jobctl.terminal import escape, say
from jobctl.violations import count, make_error, read_violations


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    """A job file that the daemon would take, and the files that go with it."""

    file: JobFile
    plan: job_service_pb2.Plan
    inputs: tuple[FoundInput, ...]


def submit(arguments: Arguments) -> ExitCode:
    """Submit jobs, and follow them where that is asked for; nothing is stored when anything is wrong with one."""
    labels = _read_labels(arguments.label)
    check_following(arguments)
    _check_files(arguments)
    files = [JobFile.read(name) for name in arguments.files]
    with connect(arguments) as client:
        plans = _check(client, files)
        checked = [_find_inputs(file, plan, arguments) for file, plan in zip(files, plans, strict=True)]
        if arguments.dry_run:
            return _show_plans(checked, arguments)
        for item in checked:
            require_inputs(item.inputs, item.file.folder)
        ids = [_submit(client, item, labels, arguments) for item in checked]
        return follow_accepted(client, ids, arguments)


def _check_files(arguments: Arguments) -> None:
    if len(arguments.files) > 1 and arguments.request_id:
        raise UsageError("--request-id makes one job", hint="submit one job file with it")
    if arguments.files.count("-") > 1:
        raise UsageError("standard input holds one job file")


def _check(client: Client, files: Sequence[JobFile]) -> list[job_service_pb2.Plan]:
    answers = [client.validate(file.content) for file in files]
    wrong = [(file, answer) for file, answer in zip(files, answers, strict=True) if answer.violations]
    if len(wrong) > 1:
        violations = tuple(item for file, answer in wrong for item in read_violations(answer, file))
        number = count(len(violations), "problem", "problems")
        raise InvalidJobError(f"{len(wrong)} job files have {number}", violations=violations)
    for file, answer in wrong:
        raise make_error(answer, file)
    return [answer.plan for answer in answers]


def _find_inputs(file: JobFile, plan: job_service_pb2.Plan, arguments: Arguments) -> _Checked:
    try:
        return _Checked(file=file, plan=plan, inputs=find_inputs(plan.inputs, arguments.input, file.folder))
    except JobctlError as error:
        if len(arguments.files) > 1:
            error.message = f"{file.label}: {error.message}"
        raise


def _submit(client: Client, item: _Checked, labels: dict[str, str], arguments: Arguments) -> str:
    request_id = arguments.request_id or str(uuid.uuid4())
    try:
        answer = _send(client, item, labels, arguments, request_id)
    except JobctlError as error:
        error.violations = tuple(replace(violation, file=item.file.label) for violation in error.violations)
        if error.code == "DEADLINE_EXCEEDED":
            error.hint = f"it may have been accepted; ask again safely with --request-id {request_id}"
        raise
    tell_accepted(answer.job, arguments, existed=answer.existed)
    return answer.job.id


def _send(
    client: Client, item: _Checked, labels: dict[str, str], arguments: Arguments, request_id: str
) -> job_service_pb2.SubmitResponse:
    def send(inputs: list[job_service_pb2.JobInput]) -> job_service_pb2.SubmitResponse:
        return client.submit(
            item.file.content, request_id=request_id, inputs=inputs, priority=arguments.priority, labels=labels
        )

    try:
        return send(_provide(client, item.inputs, upload=arguments.upload))
    except PathNotAllowedError:
        return send(_provide(client, item.inputs, upload=True))


def _provide(client: Client, found: Iterable[FoundInput], *, upload: bool) -> list[job_service_pb2.JobInput]:
    inputs = []
    for item in found:
        if item.path and client.address.is_local and not upload:
            inputs.append(client.make_input(item.key, item.path))
        elif item.path:
            inputs.append(_send_input(client, item.key, item.path))
    return inputs


def _send_input(client: Client, key: str, path: Path) -> job_service_pb2.JobInput:
    existing: list[str] = []
    with show_bytes(f"sending {path.name}", measure(path)) as on_bytes:
        made = client.make_input(
            key, path, upload=True, on_bytes=on_bytes, on_existing=lambda: existing.append(path.name)
        )
    for name in existing:
        say(f"{escape(name)} is already there")
    return made


def _show_plans(checked: Sequence[_Checked], arguments: Arguments) -> ExitCode:
    for number, item in enumerate(checked):
        if arguments.json:
            print((dump_document if len(checked) == 1 else dump_line)(to_json(item.plan)))
            continue
        lines = format_plan(item.plan, {found.key: found.path for found in item.inputs})
        print("\n".join(["", *lines] if number else lines))
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
