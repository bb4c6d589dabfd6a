"""The witness: what the modules themselves wrote down."""

from dataclasses import dataclass
from pathlib import Path

Key = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One thing that a module said."""

    kind: str
    """start, end, overlap, torn or secret."""
    job_id: str
    key: Key
    attempt: int
    pid: int
    time: float
    """Seconds since the epoch."""
    note: str


def read(path: Path) -> list[Line]:
    """Read all that was said, in order."""
    return [_line(text.split()) for text in path.read_text().splitlines()] if path.exists() else []


def _line(words: list[str]) -> Line:
    kind, job_id, step, entry, attempt, pid, _ticks, time, note = words
    return Line(
        kind=kind, job_id=job_id, key=(step, entry), attempt=int(attempt), pid=int(pid), time=float(time), note=note
    )
