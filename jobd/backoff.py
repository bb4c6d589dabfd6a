"""How long to wait before trying again."""

import random


def delay_before(failures: int, *, first: float = 1.0, most: float = 60.0) -> float:
    """Give the seconds to wait after so many failures: doubling from `first` up to `most`, less up to half by chance.

    The chance keeps entries that failed together from failing together again.
    """
    delay = min(most, first * 2.0 ** (failures - 1))
    return delay * random.uniform(0.5, 1.0)  # noqa: S311 - nothing secret about it
