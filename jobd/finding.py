"""What a check of a state directory finds."""

from collections.abc import Callable
from dataclasses import dataclass, field

from jobd.names import ascii_controls
from jobd.store import Store

Mend = Callable[[Store], object]
"""Puts one finding right; JobdError or OSError when that fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as it should be."""

    where: str
    """The job, as `job abc`, or the file."""
    what: str
    """What is wrong."""
    repair: str
    """What a repair does, or what a person is to do where it does nothing."""
    mend: Mend | None = field(default=None, compare=False, repr=False)
    """Does it; None where nothing can be done safely."""

    def __str__(self) -> str:
        """Give one line."""
        how = "repair" if self.mend else "by hand"
        return ascii_controls(f"{self.where}: {self.what} ({how}: {self.repair})")
