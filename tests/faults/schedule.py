"""A seeded schedule: which jobs are submitted when, and what is done to them and to whatever runs them."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shapes import Shape, draw

_KINDS = {
    "kill_daemon": 5,
    "restart_daemon": 1,
    "kill_daemon_twice": 2,
    "kill_runner": 4,
    "kill_runner_and_daemon": 2,
    "kill_module": 2,
    "kill_nursery": 2,
    "kill_prefect": 2,
    "stop_daemon": 2,
    "stop_runner": 2,
    "stop_nursery": 1,
    "stop_module": 1,
    "stop_prefect": 1,
    "cancel": 4,
    "cancel_twice": 2,
    "cancel_killed_runner": 2,
    "cut": 3,
}
"""What may be done, and how often in proportion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing that is done."""

    at: float
    """Seconds after the schedule's beginning."""
    kind: str
    job: int
    """The place of the job that it is done to, where it is done to one."""
    seconds: float = 0.0
    """How long something is paused or away."""

    def __str__(self) -> str:
        """Give it as a word."""
        return f"{self.at:.2f}:{self.kind}({self.job}{f',{self.seconds:.2f}' if self.seconds else ''})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Everything that a seed stands for."""

    seed: int
    shapes: tuple[Shape, ...]
    submits: tuple[float, ...]
    """When each job is submitted, in seconds after the beginning."""
    actions: tuple[Action, ...]
    retries: tuple[bool, ...]
    """Whether each job, if it fails or is cancelled, is retried."""

    def __str__(self) -> str:
        """Give it as a line."""
        sizes = " ".join(f"{len(shape.step_of)}{'!' if shape.doomed else ''}" for shape in self.shapes)
        return f"jobs of {sizes} entries; " + " ".join(map(str, self.actions))


def make(seed: int, ledger: Path, *, prefect: bool) -> Schedule:
    """Draw a schedule; `prefect` tells whether there is a server of Prefect's that may be killed and paused."""
    chance = random.Random(seed)
    count = chance.choice((1, 2, 2, 3))
    shapes = tuple(draw(chance, f"seed{seed}-{number}", ledger) for number in range(count))
    submits = tuple(sorted(round(chance.uniform(0, 1.5), 3) for _ in range(count)))
    actions = sorted(_draw_actions(chance, count, prefect=prefect), key=lambda action: action.at)
    retries = tuple(chance.random() < 0.5 for _ in range(count))
    return Schedule(seed=seed, shapes=shapes, submits=submits, actions=tuple(actions), retries=retries)


def _draw_actions(chance: random.Random, jobs: int, *, prefect: bool) -> Iterator[Action]:
    kinds = [kind for kind in _KINDS if prefect or "prefect" not in kind]
    for kind in chance.choices(kinds, [_KINDS[kind] for kind in kinds], k=chance.choice((1, 2, 3, 3, 4, 5))):
        at, job = round(chance.uniform(0.1, 4.0), 3), chance.randrange(jobs)
        yield Action(at=at, kind=kind, job=job, seconds=round(chance.uniform(0.1, 3.0), 3))
