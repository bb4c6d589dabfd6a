"""How fast entries go, and so how long they will take."""

from dataclasses import dataclass
from datetime import datetime

from jobapi.v1 import job_pb2

from jobctl.units import to_datetime

_LEAST_SECONDS = 1.0
_LEAST_PERCENT = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How far an attempt had come at a moment."""

    start: datetime
    """When the attempt began."""
    time: datetime
    """When it reported."""
    percent: float
    """What it reported, 0 to 100."""

    def left(self, now: datetime) -> float | None:
        """Estimate the seconds left, at a steady pace; None when it is too early, or it takes longer than it should."""
        spent = (self.time - self.start).total_seconds()
        if spent < _LEAST_SECONDS or not _LEAST_PERCENT <= self.percent < 100:
            return None
        left = spent * (100 - self.percent) / self.percent - (now - self.time).total_seconds()
        return left if left >= 1 else None


class Paces:
    """The pace of every running entry, from its events."""

    def __init__(self) -> None:
        """Begin without any."""
        self._starts: dict[tuple[str, str], datetime] = {}
        self._paces: dict[tuple[str, str], Pace] = {}

    def take(self, event: job_pb2.Event) -> None:
        """Take an event in; only starts and progress matter."""
        match event.WhichOneof("kind"):
            case "entry_started":
                key = (event.entry_started.step, event.entry_started.entry)
                self._starts[key] = to_datetime(event.time)
                self._paces.pop(key, None)
            case "entry_progress" if event.entry_progress.HasField("percent"):
                self._note(event.entry_progress, to_datetime(event.time))

    def left(self, step: str, entry: str, now: datetime) -> float | None:
        """Estimate the seconds that an entry will still run; None where nothing can be said."""
        pace = self._paces.get((step, entry))
        return pace.left(now) if pace else None

    def _note(self, progress: job_pb2.EntryProgress, time: datetime) -> None:
        key = (progress.step, progress.entry)
        # Who did not see the attempt begin knows no pace.
        if key in self._starts:
            self._paces[key] = Pace(start=self._starts[key], time=time, percent=progress.percent)
