"""A seeded schedule: which jobs are submitted when, and what is done to them and to whatever runs them."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from prefect_proxy import Breakage
from shapes import Shape, draw


class Place(StrEnum):
    """In what kind of world a schedule runs. A seed stands for one of them."""

    PROXY = "proxy"
    """Prefect's server is shared, at the end of a line that breaks."""
    DISK = "disk"
    """The same, and the state directory is on a small disk."""
    OWN = "own"
    """The daemon has a Prefect server of its own, which is killed and paused."""


_KINDS = {
    "kill_daemon": 5,
    "restart_daemon": 1,
    "kill_daemon_twice": 2,
    "kill_runner": 4,
    "kill_runner_and_daemon": 2,
    "kill_module": 2,
    "kill_nursery": 2,
    "kill_recorder": 2,
    "kill_prefect": 2,
    "stop_daemon": 2,
    "stop_runner": 2,
    "stop_nursery": 1,
    "stop_recorder": 1,
    "stop_module": 1,
    "stop_prefect": 1,
    "cancel": 4,
    "cancel_twice": 2,
    "cancel_killed_runner": 2,
    "cut": 3,
    "reboot": 2,
    "second_daemon": 1,
    "break_prefect": 5,
    "fill_disk": 6,
    "reboot_read_only": 2,
}
"""What may be done, and how often in proportion."""

_ONLY = {
    "kill_prefect": {Place.OWN},
    "stop_prefect": {Place.OWN},
    "break_prefect": {Place.PROXY, Place.DISK},
    "fill_disk": {Place.DISK},
    "reboot_read_only": {Place.DISK},
}
"""What can be done in some places only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing that is done."""

    at: float
    """Seconds after the schedule's beginning."""
    kind: str
    job: int
    """The place of the job that it is done to, where it is done to one."""
    seconds: float = 0.0
    """How long something is paused, broken or away."""
    how: str = ""
    """In which way it is broken."""

    def __str__(self) -> str:
        """Give it as a word."""
        how = f",{self.how}" if self.how else ""
        return f"{self.at:.2f}:{self.kind}({self.job},{self.seconds:.2f}{how})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Everything that a seed stands for."""

    seed: int
    place: Place
    shapes: tuple[Shape, ...]
    submits: tuple[float, ...]
    """When each job is submitted, in seconds after the beginning."""
    actions: tuple[Action, ...]
    retries: tuple[bool, ...]
    """Whether each job, if it fails or is cancelled, is retried."""

    def __str__(self) -> str:
        """Give it as a line."""
        sizes = " ".join(f"{len(shape.step_of)}{'!' if shape.doomed else ''}" for shape in self.shapes)
        return f"{self.place}; jobs of {sizes} entries; " + " ".join(map(str, self.actions))


def place_of(seed: int) -> Place:
    """Tell in what kind of world a seed's schedule runs."""
    return Place.OWN if seed % 10 == 9 else Place.DISK if seed % 10 in (2, 5, 8) else Place.PROXY


def make(seed: int, ledger: Path) -> Schedule:
    """Draw the schedule of a seed."""
    chance, place = random.Random(seed), place_of(seed)
    count = chance.choice((1, 2, 2, 3))
    shapes = tuple(draw(chance, f"seed{seed}-{number}", ledger) for number in range(count))
    submits = tuple(sorted(round(chance.uniform(0, 1.5), 3) for _ in range(count)))
    actions = sorted(_draw_actions(chance, count, place), key=lambda action: action.at)
    retries = tuple(chance.random() < 0.5 for _ in range(count))
    return Schedule(seed=seed, place=place, shapes=shapes, submits=submits, actions=tuple(actions), retries=retries)


def _draw_actions(chance: random.Random, jobs: int, place: Place) -> Iterator[Action]:
    kinds = [kind for kind in _KINDS if place in _ONLY.get(kind, {place})]
    breakages = [breakage.value for breakage in Breakage if breakage is not Breakage.NONE]
    for kind in chance.choices(kinds, [_KINDS[kind] for kind in kinds], k=chance.choice((1, 2, 3, 3, 4, 5))):
        at, job, seconds = round(chance.uniform(0.1, 4.0), 3), chance.randrange(jobs), chance.uniform(0.1, 3.0)
        if kind == "break_prefect":
            yield Action(at=at, kind=kind, job=job, seconds=round(seconds * 4, 3), how=chance.choice(breakages))
        else:
            yield Action(at=at, kind=kind, job=job, seconds=round(seconds, 3))
