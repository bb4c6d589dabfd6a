"""Which jobs a client asks for."""

from collections.abc import Mapping
from dataclasses import dataclass

from jobd.states import JobState


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSelector:
    """A label that a job must have."""

    key: str
    value: str | None = None
    """What it must be; None for anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """What must hold of a job; what is empty or None holds of every job."""

    states: frozenset[JobState] = frozenset()
    """The job is in one of these."""
    name: str = ""
    name_prefix: str = ""
    owner: str = ""
    labels: tuple[LabelSelector, ...] = ()
    """It has all of these."""
    submitted_after: float | None = None
    """It was accepted then or later, in seconds since the epoch."""
    submitted_before: float | None = None
    """It was accepted before, in seconds since the epoch."""

    def admits(self, *, name: str, owner: str, labels: Mapping[str, str]) -> bool:
        """Tell whether a job fits by what never changes of it."""
        return (
            self.name in ("", name)
            and name.startswith(self.name_prefix)
            and self.owner in ("", owner)
            and all(
                selector.key in labels and selector.value in (None, labels[selector.key]) for selector in self.labels
            )
        )


EVERY_JOB = JobFilter()
