"""Calls that are made again while the daemon is away."""

from collections.abc import Callable
from typing import TypeVar

from jobctl.errors import JobctlError
from jobctl.patience import Outage, Patience
from jobctl.talk import Talk, pause

_T = TypeVar("_T")


def insist(call: Callable[[], Talk[_T]], patience: Patience) -> Talk[_T]:
    """Make a call that is safe to repeat, again and again while the daemon is away and the patience lasts."""
    outage = Outage(patience)
    while True:
        try:
            return (yield from call())
        except JobctlError as error:
            if error.code != "UNAVAILABLE":
                raise
            yield from pause(outage.delay(error))
