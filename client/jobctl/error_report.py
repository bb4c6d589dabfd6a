"""Errors as a person or a script reads them on standard error."""

from json import dumps

from jobctl.errors import JobctlError
from jobctl.terminal import escape, say


def report_as_text(error: JobctlError) -> list[str]:
    """Give the lines for a person: each violation on its own, then what happened and how to go on."""
    lines = [escape(violation.locate()) for violation in error.violations]
    lines.append(f"jobctl: {escape(error.message)}")
    if error.hint:
        lines.append(f"  {escape(error.hint)}")
    return lines


def report_as_json(error: JobctlError) -> list[str]:
    """Give one line of JSON: exit code, the daemon's status code and reason, message, hint, details, violations."""
    violations = [
        {"file": item.file, "path": item.path, "line": item.line, "message": item.message, "hint": item.hint}
        for item in error.violations
    ]
    return [
        dumps(
            {
                "error": {
                    "exit_code": int(error.exit_code),
                    "code": error.code,
                    "reason": error.reason,
                    "message": error.message,
                    "hint": error.hint,
                    "metadata": error.metadata,
                    "violations": violations,
                }
            }
        )
    ]


def report(error: JobctlError, *, json: bool) -> None:
    """Write the error to standard error, for a person or as JSON."""
    for line in report_as_json(error) if json else report_as_text(error):
        say(line)
