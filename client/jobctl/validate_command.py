"""`jobctl validate`."""

from jobctl.arguments import Arguments
from jobctl.exit_codes import ExitCode
from jobctl.job_file import JobFile
from jobctl.json_output import dump_document, to_json
from jobctl.session import connect
from jobctl.terminal import escape
from jobctl.violations import count, make_error


def validate(arguments: Arguments) -> ExitCode:
    """Check a job file and tell every violation, or what would run."""
    file = JobFile.read(arguments.file)
    with connect(arguments) as client:
        answer = client.validate(file.content)
    if arguments.json:
        print(dump_document(to_json(answer)))
        return ExitCode.INVALID_JOB if answer.violations else ExitCode.SUCCEEDED
    if answer.violations:
        raise make_error(answer, file)
    steps = len(answer.plan.steps)
    entries = sum(len(step.entries) for step in answer.plan.steps)
    print(f"{escape(file.label)}: valid, {count(steps, 'step', 'steps')}, {count(entries, 'entry', 'entries')}")
    return ExitCode.SUCCEEDED
