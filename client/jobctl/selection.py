"""Which jobs a command line means."""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta

from jobapi.v1 import job_service_pb2

from jobctl.errors import UsageError
from jobctl.units import now

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_AGO = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")


def parse_selectors(texts: Iterable[str]) -> list[job_service_pb2.LabelSelector]:
    """Read `KEY=VALUE`, or `KEY` for any value; UsageError for one without a key."""
    found = []
    for text in texts:
        key, equals, value = text.partition("=")
        if not key:
            raise UsageError(f"--label {text!r} names no label", hint="give KEY=VALUE, or KEY for any value")
        found.append(job_service_pb2.LabelSelector(key=key, value=value if equals else None))
    return found


def parse_moment(text: str, option: str) -> datetime | None:
    """Read a time: so long ago, as `90m`, `2h`, `7d`; or a date and time, local unless it says otherwise.

    None for an empty text, UsageError for what is no time.
    """
    if not text:
        return None
    try:
        if ago := _AGO.fullmatch(text):
            return now() - timedelta(seconds=float(ago[1]) * _UNITS[ago[2]])
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError) as error:
        hint = "give how long ago, as 90m, 2h or 7d, or a time as 2026-01-31T14:00"
        raise UsageError(f"{option} {text!r} is no time", hint=hint) from error
