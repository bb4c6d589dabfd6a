"""Talking to the service manager: that the daemon is up, what it does, and that it is alive.

The protocol is a datagram of `NAME=VALUE` lines to the socket that the environment names (sd_notify(3)).
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable

from structlog.typing import FilteringBoundLogger

_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_SHARE = 3
"""So many times within the watchdog's time it is told that the daemon is alive."""
_MICROSECONDS = 1_000_000


class Manager:
    """The service manager that started this process; without one, telling it something does nothing."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        """Read the environment, and take out of it what children must not use."""
        named, usec, pid = (os.environ.pop(name, "") for name in _VARIABLES)
        self._log = log
        self._address = f"\0{named[1:]}" if named.startswith("@") else named
        meant = not pid or pid == str(os.getpid())
        self.watchdog_seconds = int(usec) / _MICROSECONDS if usec.isdigit() and meant and named else 0.0
        """The daemon is killed when it is silent for so long; 0 where nobody does that."""

    def ready(self, status: str) -> None:
        """Say that calls are answered from now on, and what there is to say for people."""
        self._send("READY=1", f"STATUS={_line(status)}", f"MAINPID={os.getpid()}")

    def say(self, status: str) -> None:
        """Say for people what the daemon does."""
        self._send(f"STATUS={_line(status)}")

    def stopping(self) -> None:
        """Say that the daemon is about to end."""
        self._send("STOPPING=1", "STATUS=stopping; jobs that run go on")

    async def keep_alive(self, answer: Callable[[], Awaitable[object]]) -> None:
        """Tell the watchdog that the daemon is alive, each time after `answer` came back; until cancelled.

        Nothing is told while the event loop hangs, as this runs on it, or while `answer` does, or to nobody.
        """
        if not self.watchdog_seconds:
            await asyncio.Event().wait()
        while True:
            await answer()
            self._send("WATCHDOG=1")
            await asyncio.sleep(self.watchdog_seconds / _SHARE)

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as sender:
            try:
                sender.sendto("\n".join(lines).encode(), self._address)
            except OSError as error:
                self._log.warning("service_manager_not_told", what=lines[0], error=str(error))


def _line(text: str) -> str:
    return " ".join(text.splitlines())
