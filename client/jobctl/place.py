"""Where in a job something is, as a person writes it."""

from dataclasses import dataclass
from typing import Self

from jobctl.errors import UsageError


@dataclass(frozen=True, slots=True)
class Place:
    """A step, an entry of a step, or, when both are empty, a whole job."""

    step: str
    entry: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `STEP`, `STEP/ENTRY` or nothing; raise `UsageError` for anything else."""
        step, slash, entry = text.partition("/")
        if slash and not (step and entry):
            raise UsageError(f"{text}: not of the form STEP/ENTRY")
        return cls(step, entry)
