"""Whether Prefect can be used, and since when it cannot."""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefectStatus:
    """Whether Prefect can be used now."""

    ready: bool
    reason: str
    """Why not, as a sentence for people without a full stop; empty when it is ready."""
    away_since: float = math.inf
    """On the monotonic clock, since when it cannot, for whatever reasons; infinite when it is ready."""


class Prefect(Protocol):
    """A Prefect server, wherever it runs."""

    api_url: str
    ui_url: str
    auth: str
    """`user:password`, where it wants one."""
    key: str
    """An API key, where it wants that instead."""
    needed: Callable[[], bool]
    """Says whether anybody waits for it now; while nobody does, it is asked seldom how it is."""

    @property
    def status(self) -> PrefectStatus:
        """Tell whether it can be used now."""

    async def run(self) -> None:
        """Watch over it until cancelled."""

    async def wait_ready(self) -> None:
        """Return as soon as it answers."""


def always() -> bool:
    """Say that somebody waits."""
    return True


class Readiness:
    """The last thing known about a server, since when."""

    def __init__(self, reason: str) -> None:
        """Begin as not ready, for this reason."""
        self._ready = asyncio.Event()
        self._reason = reason
        self._since = self._away_since = time.monotonic()

    @property
    def status(self) -> PrefectStatus:
        """Give the status as of now."""
        if self._ready.is_set():
            return PrefectStatus(ready=True, reason="")
        reason = f"{self._reason} ({time.monotonic() - self._since:.0f} s)"
        return PrefectStatus(ready=False, reason=reason, away_since=self._away_since)

    def say(self, reason: str) -> None:
        """Become not ready; said again, the reason keeps its age."""
        if self._ready.is_set():
            self._away_since = time.monotonic()
        if self._ready.is_set() or reason != self._reason:
            self._since = time.monotonic()
        self._reason = reason
        self._ready.clear()

    def answer(self) -> None:
        """Become ready."""
        self._ready.set()

    async def wait(self) -> None:
        """Return as soon as it is ready."""
        await self._ready.wait()
