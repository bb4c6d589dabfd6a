"""Errors as a person or a script reads them on standard error."""

import json

from jobctl.errors import JobctlError
from jobctl.terminal import escape


def report_as_text(error: JobctlError) -> list[str]:
    """Give the lines for a person: each violation on its own, then what happened and how to go on."""
    lines = [escape(violation.locate(error.file or "job file")) for violation in error.violations]
    lines.append(f"jobctl: {escape(error.message)}")
    if error.hint:
        lines.append(f"  {escape(error.hint)}")
    return lines


def report_as_json(error: JobctlError) -> list[str]:
    """Give one line of JSON: exit code, the daemon's status code and reason, message, hint, details, violations."""
    violations = [
        {"path": item.path, "line": item.line, "message": item.message, "hint": item.hint} for item in error.violations
    ]
    return [
        json.dumps(
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
