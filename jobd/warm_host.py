"""The program of a warm interpreter: it holds a module's libraries imported and forks a process for each entry.

It is started like the module itself, `python warm_host.py FD SECONDS SCRIPT [LIBRARY …]`, by the module's own
interpreter with the module's own environment, so it needs nothing but the standard library. It obeys the socket FD and
ends when that is closed, or nothing was asked of it for so many seconds.

A fork is the runner's child from the beginning (warm_birth.py). Where the kernel cannot do that it is an orphan: the
process between it and this one ends at once, so that it belongs to the nearest subreaper, the runner. It waits for its
request, which the runner sends once it is where it belongs.
"""

# ruff: noqa: PTH116, PTH120, PTH123, PTH208, E402 - pathlib would be loaded in every module; the path is cleaned first

from __future__ import annotations

import sys

_plain = frozenset(sys.modules)
"""What any interpreter imports at its start: before a script's folder can stand in the way."""
_home = __file__.rpartition("/")[0]
if sys.path and sys.path[0] == _home:
    del sys.path[0]  # it has names of its own for many things

import _socket
import _thread
import contextlib
import gc
import importlib
import os
import select
import time
import warnings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType
    from typing import NoReturn

    from jobd import warm_area, warm_birth, warm_entry
else:
    sys.path.insert(0, _home)
    import warm_area
    import warm_birth
    import warm_entry

    del sys.path[0]

SLOT = "JOBD_IDEMPOTENCY_KEY"
"""The last variable of this program's environment, which only holds room."""
_SETTLED_NS = 2_000_000_000
"""A file that changed so lately may change again within the same tick of its clock."""
_ONLY_AST = 0x400
_STATEFUL = frozenset(
    {"antigravity", "idlelib", "readline", "rlcompleter", "this", "tkinter", "turtle", "turtledemo", "__main__"}
)
"""What the standard library has that does something, or holds something, from its import on."""


class Script:
    """A module's script, compiled once for as long as its file stays the same."""

    def __init__(self, path: str) -> None:
        """Know where it is."""
        self._path = path
        self._state: tuple[int, ...] | None = None
        self._code: CodeType | None = None

    def load(self) -> CodeType:
        """Give its code as the file is now; raises what reading and compiling raise."""
        found = os.stat(self._path)
        state = (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)
        if self._code is None or state != self._state:
            self._code = compile(self._read(), self._path, "exec", dont_inherit=True)
            self._state = state if _is_settled(found) else None
        return self._code

    def imports(self) -> list[str]:
        """Name what its first level imports of the standard library."""
        tree = compile(self._read(), self._path, "exec", _ONLY_AST, dont_inherit=True)
        names: list[str] = []
        for node in tree.body:
            if type(node).__name__ == "Import":
                names += [alias.name for alias in node.names]
            elif type(node).__name__ == "ImportFrom" and not node.level:
                names.append(node.module)
        known: frozenset[str] = getattr(sys, "stdlib_module_names", frozenset()) - _STATEFUL
        return [name for name in names if name.partition(".")[0] in known]

    def hides(self, names: set[str]) -> str:
        """Give a file beside it that, in a fresh interpreter, would be imported in the place of one of these."""
        for file in os.listdir(os.path.dirname(self._path)):
            if file.partition(".")[0] in names:
                return file
        return ""

    def _read(self) -> bytes:
        with open(self._path, "rb") as file:
            return file.read()


def _is_settled(found: os.stat_result) -> bool:
    return time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) > _SETTLED_NS


class Host:
    """Forks entries of one module."""

    def __init__(self, line: _socket.socket, script: Script, area: warm_area.ShownArea) -> None:
        """Obey `line`."""
        self._line = line
        self._script = script
        self._area = area
        self._birth = warm_birth.Birth()
        self._inherited = warm_entry.Inherited()
        self._early = {name.partition(".")[0] for name in self._inherited.names - _plain} - set(
            sys.builtin_module_names
        )

    def serve(self, idle_seconds: float) -> None:
        """Fork what is asked for until nobody asks any more; a fork comes out of here by its end, an exception."""
        poller = select.poll()
        poller.register(self._line.fileno(), select.POLLIN)
        while poller.poll(idle_seconds * 1000):
            _word, found, _flags, _from = self._line.recvmsg(1, _socket.CMSG_SPACE(12))
            if not found:
                return
            channel, log, *group = memoryview(found[0][2]).cast("i")
            self._fork(channel, log, *group)
            for fd in group:
                os.close(fd)

    def _fork(self, channel: int, log: int, group: int | None = None) -> None:
        """Make one process, which tells its pid over `channel`, and tell there when it has become the runner's."""
        try:
            code = self._script.load()
            hidden = self._script.hides(self._early)
        except Exception as error:  # noqa: BLE001 - a fresh interpreter says what is wrong with it
            _answer(channel, log, f"cold {type(error).__name__}")
            return
        if hidden:
            _answer(channel, log, f"cold {hidden} stands in for a library")
            return
        if group is not None and (pid := self._birth.fork_into(group)) >= 0:
            if pid == 0:
                os.close(group)
                self._run(code, channel, log)
            _answer(channel, log, "placed\nready")
            return
        between = os.fork()
        if between == 0:
            if os.fork() == 0:
                self._run(code, channel, log)
            os._exit(0)
        os.waitpid(between, 0)
        _answer(channel, log, "ready")

    def _run(self, code: CodeType, channel: int, log: int) -> NoReturn:
        os.setsid()
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        self._line.close()
        os.write(channel, f"{os.getpid()}\n".encode())
        text = b""
        while data := os.read(channel, 1 << 16):
            text += data
        os.close(channel)
        if not text.endswith(warm_entry.END):
            os._exit(1)
        warm_entry.become(warm_entry.Request(text), self._area)
        warm_entry.end(warm_entry.run(code), self._inherited)


def _answer(channel: int, log: int, text: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # who asked is gone, and the fork will learn it too
        os.write(channel, f"{text}\n".encode())
    os.close(channel)
    os.close(log)


def warm_up(script: Script, libraries: list[str]) -> None:
    """Import what was asked for, and what the script will ask for of the standard library.

    Raises what an import raises, and RuntimeError when one of them leaves a thread behind.
    """
    for name in libraries:
        importlib.import_module(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in script.imports():
            with contextlib.suppress(Exception):  # the script's own affair, and what it is warned of is for its own log
                importlib.import_module(name)
    if "argparse" in sys.modules:
        # What the first parser of a process makes is more than the parser: it imports, and compiles expressions.
        sys.modules["argparse"].ArgumentParser(prog="warm").parse_args([])
    if _thread._count():  # noqa: SLF001 - threading itself may not be loaded, and shall not be
        raise RuntimeError("an import started a thread, and threads are lost in a fork")
    gc.collect()
    gc.freeze()


def main() -> None:
    """Get ready, say so, and serve; what ends it besides is the end of a fork."""
    line = _socket.socket(fileno=int(sys.argv[1]))
    line.setblocking(True)
    os.set_inheritable(line.fileno(), False)
    script = Script(sys.argv[3])
    try:
        area = warm_area.ShownArea(SLOT)
        warm_up(script, sys.argv[4:])
    except Exception as error:  # noqa: BLE001 - each is told, and then the entries are started cold
        line.send(f"{type(error).__name__}: {error}".encode()[:1000])
        return
    line.send(b"ready")
    Host(line, script, area).serve(float(sys.argv[2]))


if __name__ == "__main__":
    main()
