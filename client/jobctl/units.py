"""Sizes, durations and times as people read them."""

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

_KILO = 1024


def format_size(count: int) -> str:
    """Write a number of bytes with three digits or so: `17 B`, `1.5 KiB`, `230 MiB`."""
    if count < _KILO:
        return f"{count} B"
    size = float(count)
    for unit in ("KiB", "MiB", "GiB"):
        size /= _KILO
        if size < _KILO:
            return f"{size:.1f} {unit}" if size < 100 else f"{size:.0f} {unit}"
    return f"{size / _KILO:.1f} TiB"


def format_duration(seconds: float) -> str:
    """Write a duration as `M:SS`, or `H:MM:SS` from an hour on; below ten seconds with a tenth, as `4.2 s`."""
    if seconds < 10:
        return f"{max(seconds, 0.0):.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def format_estimate(seconds: float) -> str:
    """Write a duration that is not known well: in whole seconds, `12 s`, and as `M:SS` from a minute on."""
    return f"{seconds:.0f} s" if seconds < 59.5 else format_duration(round(seconds))


def to_datetime(stamp: Timestamp) -> datetime:
    """Give a timestamp as an aware time in UTC."""
    return stamp.ToDatetime(tzinfo=UTC)


def to_timestamp(moment: datetime | None) -> Timestamp | None:
    """Give an aware time as a timestamp; None stays none."""
    if moment is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def format_clock(stamp: Timestamp) -> str:
    """Write a timestamp as the local time of day, `14:03:59`."""
    return to_datetime(stamp).astimezone().strftime("%H:%M:%S")


def format_time(stamp: Timestamp) -> str:
    """Write a timestamp as local date and time, `2026-01-31 14:03:59`."""
    return to_datetime(stamp).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def now() -> datetime:
    """Give the current time, aware, in UTC."""
    return datetime.now(UTC)
