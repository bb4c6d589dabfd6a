"""A line of the result: figures of several rounds, what they are compared with, and the goal."""

import statistics
from dataclasses import dataclass
from enum import StrEnum


class Holds(StrEnum):
    """Whether a goal is met."""

    YES = "yes"
    NO = "no"
    NONE = ""
    """There is no goal."""


@dataclass(frozen=True, slots=True)
class Series:
    """Figures of the same thing from several rounds; never empty."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    @property
    def least(self) -> float:
        """The smallest one."""
        return min(self.values)

    @property
    def most(self) -> float:
        """The largest one."""
        return max(self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measure. With a baseline the figure is ours divided by it, round by round; without, ours alone."""

    key: str
    """The measure it belongs to, as `P1`."""
    what: str
    unit: str
    """Of `ours` and `baseline`."""
    ours: Series
    against: str = ""
    """What the baseline is; empty where there is none."""
    baseline: Series | None = None
    goal: float | None = None
    """The figure must not be greater."""
    note: str = ""
    """What else the run has shown."""

    @property
    def figure(self) -> Series:
        """What the goal is about: the ratio of each round, or ours where there is no baseline."""
        if self.baseline is None:
            return self.ours
        pairs = zip(self.ours.values, self.baseline.values, strict=True)
        return Series(tuple(mine / other for mine, other in pairs))

    @property
    def holds(self) -> Holds:
        """Whether the median of the figure meets the goal."""
        if self.goal is None:
            return Holds.NONE
        return Holds.YES if self.figure.median <= self.goal else Holds.NO


def row(key: str, what: str, unit: str, ours: list[float], **more: str | float | None) -> Row:
    """Make a row without a baseline."""
    return Row(key=key, what=what, unit=unit, ours=Series(tuple(ours)), **more)  # type: ignore[arg-type]
