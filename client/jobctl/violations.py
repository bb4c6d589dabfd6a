"""What a daemon finds wrong with a job file, as this package's errors have it."""

from jobapi.v1 import job_service_pb2

from jobctl.errors import InvalidJobError, Violation
from jobctl.job_file import JobFile


def read_violations(answer: job_service_pb2.ValidateResponse, file: JobFile) -> tuple[Violation, ...]:
    """Give the answer's violations, each with the file that it is about."""
    return tuple(
        Violation(path=item.path, line=item.line, message=item.message, hint=item.hint, file=file.label)
        for item in answer.violations
    )


def make_error(answer: job_service_pb2.ValidateResponse, file: JobFile) -> InvalidJobError:
    """Make the error that holds the answer's violations."""
    violations = read_violations(answer, file)
    return InvalidJobError(f"{file.label} has {count(len(violations), 'problem', 'problems')}", violations=violations)


def count(number: int, one: str, many: str) -> str:
    """Write a number with what it counts."""
    return f"{number} {one if number == 1 else many}"
