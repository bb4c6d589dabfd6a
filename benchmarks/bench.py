"""What every measure is given: how much to do, where, and a warm daemon to do it on."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.daemon import Daemon, serving
from benchmarks.row import Row
from benchmarks.workload import Workload, copies, job


@dataclass
class Bench:
    """A run of some measures."""

    workload: Workload
    quick: bool
    rounds: int
    _stack: ExitStack = field(default_factory=ExitStack)
    _shared: Daemon | None = None

    @property
    def folder(self) -> Path:
        """A folder for anything, removed at the end."""
        return self.workload.folder

    def pick(self, full: int, quick: int) -> int:
        """Choose an amount."""
        return quick if self.quick else full

    def say(self, text: str) -> None:
        """Tell whoever waits how far it is."""
        print(f"  {text}", file=sys.stderr, flush=True)

    def daemon(self) -> Daemon:
        """Give the daemon that measures share; it is warm."""
        if self._shared is None:
            self.say("starting a daemon")
            self._shared = self._stack.enter_context(self.serving())
            for module in ("copy", "imports"):
                self._shared.run(job("warming", copies(4, module), copies=True), self._shared.copy_input())
        return self._shared

    def serving(self, *options: str) -> AbstractContextManager[Daemon]:
        """Give a daemon for one measure alone; the shared one should be released before."""
        return serving(self.workload, *options)

    def release(self) -> None:
        """End the shared daemon, so that what follows has the machine for itself."""
        self._shared = None
        self._stack.close()

    @contextlib.contextmanager
    def closing(self) -> Iterator["Bench"]:
        """End everything after the block."""
        try:
            yield self
        finally:
            self.release()


Measure = Callable[[Bench], list[Row]]
"""Measures and gives its rows; raises only when it breaks down."""
