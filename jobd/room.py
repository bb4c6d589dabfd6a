"""How much of a machine's capacity is free, in exact numbers."""

from collections.abc import Mapping
from typing import Self

from jobd.plan import Capacity, Resources

_UNIT = 1_000_000
"""Amounts are counted in whole millionths: ten times a tenth of a cpu is one cpu."""

Amounts = Mapping[str, int]
"""Millionths of cpus, bytes, gpus and named counters, by name; what is not named is none."""


def amounts(resources: Resources) -> Amounts:
    """Give what is asked for, without what is not."""
    asked = {"cpus": resources.cpus, "memory": resources.memory, "gpus": resources.gpus, **resources.counters}
    return {name: round(amount * _UNIT) for name, amount in asked.items() if amount}


class Room:
    """What of a capacity is free; below zero where more is held than there is. Memory of 0 is without bound."""

    def __init__(self, most: Amounts, *, bounds_memory: bool) -> None:
        """Begin with everything free."""
        self._most = most
        self._free = dict(most)
        self._bounds_memory = bounds_memory

    @classmethod
    def of(cls, capacity: Capacity) -> Self:
        """Give the room of a machine on which nothing runs."""
        most = {name: round(amount * _UNIT) for name, amount in _listed(capacity).items()}
        return cls(most, bounds_memory=bool(capacity.memory))

    def copy(self) -> "Room":
        """Give a copy to try things out on."""
        other = Room(self._most, bounds_memory=self._bounds_memory)
        other._free = dict(self._free)
        return other

    def short(self, wanted: Amounts) -> list[str]:
        """Name what there is too little of for this; nothing where it fits."""
        return [name for name, amount in wanted.items() if self._counts(name) and amount > self._free.get(name, 0)]

    def can_ever(self, wanted: Amounts) -> bool:
        """Tell whether this fits when everything is free."""
        return all(amount <= self._most.get(name, 0) for name, amount in wanted.items() if self._counts(name))

    def take(self, wanted: Amounts) -> None:
        """Count this as held."""
        for name, amount in wanted.items():
            self._free[name] = self._free.get(name, 0) - amount

    def give(self, held: Amounts) -> None:
        """Count this as free again."""
        for name, amount in held.items():
            self._free[name] = self._free.get(name, 0) + amount

    def share(self, wanted: Amounts) -> float:
        """Give the largest part that this is of anything the machine has; it may be more than 1."""
        return max(
            (
                amount / self._most[name]
                for name, amount in wanted.items()
                if self._most.get(name) and self._counts(name)
            ),
            default=0.0,
        )

    def describe(self, wanted: Amounts) -> str:
        """Say how much of each is wanted, free and there at all, for people."""
        return ", ".join(
            f"{amount / _UNIT:g} {'bytes of memory' if name == 'memory' else name}"
            f" ({self._free.get(name, 0) / _UNIT:g} of {self._most.get(name, 0) / _UNIT:g} free)"
            for name, amount in wanted.items()
            if self._counts(name)
        )

    def held(self) -> Resources:
        """Give what is held in all."""
        used = {name: (self._most.get(name, 0) - free) / _UNIT for name, free in self._free.items()}
        cpus, memory, gpus = used.pop("cpus", 0.0), int(used.pop("memory", 0)), int(used.pop("gpus", 0))
        return Resources(
            cpus=cpus, memory=memory, gpus=gpus, counters={name: amount for name, amount in used.items() if amount}
        )

    def _counts(self, name: str) -> bool:
        return name != "memory" or self._bounds_memory


def _listed(capacity: Capacity) -> dict[str, float]:
    return {"cpus": capacity.cpus, "memory": capacity.memory, "gpus": capacity.gpus, **capacity.counters}
