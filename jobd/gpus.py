"""Which gpu is whose: each is lent to one entry at a time, by its id."""

from collections.abc import Collection, Iterable, Sequence


class Gpus:
    """The gpus of a machine; how many may be asked for is the room's affair."""

    def __init__(self, ids: Sequence[str]) -> None:
        """Begin with all of them free."""
        self._ids = list(ids)
        self._free = list(ids)

    def lend(self, count: int) -> tuple[str, ...] | None:
        """Lend so many, or as many as are free; None where there are none at all."""
        if not self._ids:
            return None
        lent, self._free = self._free[:count], self._free[count:]
        return tuple(lent)

    def take_back(self, ids: Iterable[str]) -> None:
        """Have these back; what was free already, or is not of this machine, changes nothing."""
        self._free += [gpu for gpu in ids if gpu in self._ids and gpu not in self._free]

    def know_lent(self, ids: Collection[str]) -> None:
        """Learn that just these are lent."""
        self._free = [gpu for gpu in self._ids if gpu not in ids]
