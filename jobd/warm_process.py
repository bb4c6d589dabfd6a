"""A warm interpreter of a module as its runner sees it, and a process that was forked from one."""

import contextlib
import os
import select
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from time import monotonic

ANSWER_SECONDS = 10.0
"""A host that has not forked by then is given up."""
SLOT = "JOBD_IDEMPOTENCY_KEY"
"""The last variable in a host's environment, which only holds room."""
ROOM = 8192
"""Bytes of it into which a fork may write its own variables, for those who look for its mark."""

_END_SECONDS = 1.0
"""For the end of one that has hung up."""
_PROGRAM = Path(__file__).with_name("warm_host.py")
_END = b"\0\0"

expected: set[int] = set()
"""The hosts and their forks that live. They are handed to this process like orphans, and are not to be treated so."""


class Parked:
    """A fork that waits for its request before it runs the first line of the module."""

    def __init__(self, pid: int, channel: socket.socket, *, placed: bool) -> None:
        """Know it by its pid; whoever takes its exit removes that from `expected`."""
        self.pid = pid
        self.placed = placed
        """Whether it was born in the cgroup that it was asked for."""
        self._channel = channel

    def go(self, argv: Sequence[str], cwd: Path, env: Mapping[str, str]) -> None:
        """Have it run; one that was killed meanwhile is no error, as its exit tells it."""
        words = [os.fsencode(word) for word in argv[1:]]
        # The one by which its processes are known comes first: it is shown whatever room there is for the rest.
        own = sorted(filter(is_own, env), key=lambda name: name != SLOT)
        variables = [os.fsencode(f"{name}={env[name]}") for name in own]
        text = b"\0".join([os.fsencode(cwd), str(len(words)).encode(), *words, *variables]) + _END
        with self._channel, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._channel.sendall(text)

    def drop(self) -> None:
        """Have it end without running anything, and take its exit."""
        self._channel.close()
        os.waitpid(self.pid, 0)
        expected.discard(self.pid)


class State(StrEnum):
    """What is known of a host."""

    STARTING = "starting"
    READY = "ready"
    REFUSED = "refused"
    GONE = "gone"


class WarmHost:
    """One warm interpreter."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], idle_seconds: float) -> None:
        """Start it, without waiting until it is ready; OSError when that fails."""
        self.state = State.STARTING
        self.reason = ""
        self._line, end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with end:
            self._process = subprocess.Popen(
                [command[0], str(_PROGRAM), str(end.fileno()), str(idle_seconds), *command[1:]],
                cwd="/",
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                umask=0o077,
                pass_fds=[end.fileno()],
            )
        self.pid = self._process.pid
        expected.add(self.pid)

    def look(self) -> State:
        """Tell how it is, as far as it has said."""
        if self.state in {State.STARTING, State.READY} and _ready([self._line], 0):
            self._hear(self._line.recv(4096))
        return self.state

    def _hear(self, word: bytes) -> None:
        if word == b"ready":
            self.state = State.READY
        elif word:
            self.state, self.reason = State.REFUSED, word.decode(errors="replace")
        else:
            self.state = State.GONE

    def fork(self, log_fd: int, group: Path | None = None) -> Parked | None:
        """Have a process forked that writes to the log, if it can be in a cgroup; None when there was none to be had.

        Then `reason` says why.
        """
        channel, end = socket.socketpair()
        try:
            with end, _opened(group) as fds:
                socket.send_fds(self._line, [b"f"], [end.fileno(), log_fd, *fds])
            if (parked := self._await_fork(channel)) is not None:
                return parked
        except (OSError, ValueError) as error:  # it died, or was let go for another module's just now
            self.state, self.reason = State.GONE, str(error)
        channel.close()
        return None

    def _await_fork(self, channel: socket.socket) -> Parked | None:
        """Wait until the fork has told its pid and the host that it is an orphan, in whichever order."""
        deadline = monotonic() + ANSWER_SECONDS
        text, pid = b"", 0
        while (ready := _ready([channel, self._line], deadline - monotonic())) and channel in ready:
            data = channel.recv(4096)
            text += data
            for word in text.decode(errors="replace").split("\n")[:-1]:
                if word.startswith("cold"):
                    self.reason = word.removeprefix("cold ")
                    return None
                if word.isdigit():
                    pid = int(word)
                    expected.add(pid)
            if pid and b"ready\n" in text:
                return Parked(pid, channel, placed=b"placed\n" in text)
            if not data:
                break
        expected.discard(pid)  # what waits now for a request reads of its channel's end, and ends too
        self.state, self.reason = State.GONE, "it died while it forked" if ready else "it did not answer"
        return None

    def crashed(self) -> bool:
        """Take the exit of one that is gone; tell whether it ended otherwise than by itself."""
        self._line.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        return self.close() != 0

    def close(self) -> int:
        """End it if it lives: it holds nothing that could be lost. Gives its exit, negative for a signal."""
        self._line.close()
        self._process.kill()
        code = self._process.wait()
        expected.discard(self.pid)
        return code


@contextlib.contextmanager
def _opened(folder: Path | None) -> Iterator[list[int]]:
    if folder is None:
        yield []
        return
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield [fd]
    finally:
        os.close(fd)


def is_own(name: str) -> bool:
    """Tell whether a variable differs between the entries of a module; the job's id marks a host as the job's."""
    return name == "TMPDIR" or (name.startswith("JOBD_") and name != "JOBD_JOB_ID")


def _ready(sockets: list[socket.socket], seconds: float) -> list[socket.socket]:
    poller = select.poll()
    for one in sockets:
        poller.register(one, select.POLLIN)
    found = {fd for fd, _event in poller.poll(max(0.0, seconds) * 1000)}
    return [one for one in sockets if one.fileno() in found]
