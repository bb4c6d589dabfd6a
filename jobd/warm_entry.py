"""What a fork of a warm interpreter does to be a fresh `python main.py` for the module, and how it ends as one.

A part of the program of warm_host.py: standard library only, and little of it, as it is loaded in every module.
"""

# ruff: noqa: PTH109, PTH120, SLF001 - pathlib would be loaded in every module; the end of an interpreter is private

from __future__ import annotations

import _frozen_importlib_external as importers
import _io
import _thread
import atexit
import contextlib
import ctypes
import gc
import os
import signal
import sys
import time
from _weakref import ref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType
    from typing import Any, NoReturn

    from jobd.warm_area import ShownArea

ModuleType = type(sys)
_libc = ctypes.CDLL(None)

END = b"\0\0"
"""Ends a whole request: one without it was cut short by the death of who sent it, and is not run."""


class Request:
    """What one entry is run with."""

    def __init__(self, text: bytes) -> None:
        """Read it: the working directory, the number of words, the words after the interpreter, NAME=value …

        Of the environment it has what differs from the warm interpreter's own.
        """
        folder, count, *rest = text.removesuffix(END).split(b"\0")
        self.folder = folder
        self.words = rest[: int(count)]
        self.variables = rest[int(count) :]


def become(request: Request, area: ShownArea) -> None:
    """Take over the folder, the environment and the command line of an entry."""
    os.chdir(request.folder)
    own = request.variables
    for name, _equals, value in (variable.partition(b"=") for variable in own):
        os.environ[os.fsdecode(name)] = os.fsdecode(value)
    command = [os.fsencode(sys.executable), *request.words]
    area.show(b"".join(text + b"\0" for text in own), b"".join(word + b"\0" for word in command))
    sys.argv = [os.fsdecode(word) for word in request.words]
    sys.orig_argv = [os.fsdecode(word) for word in command]
    if not getattr(sys.flags, "safe_path", False):
        sys.path.insert(0, os.path.dirname(sys.argv[0]))
    _renew_libraries()


def _renew_libraries() -> None:
    """Have libraries that noted something when they were imported note it anew."""
    loaded: dict[str, Any] = sys.modules
    if "threading" in loaded:
        loaded["threading"].main_thread()._set_native_id()
    if "numpy.random" in loaded:
        loaded["numpy.random"].seed()
    if "logging" in loaded:
        loaded["logging"]._startTime = time.time()
    if "multiprocessing.process" in loaded:
        loaded["multiprocessing.process"].ORIGINAL_DIR = os.getcwd()
        loaded["multiprocessing.process"].current_process().authkey = os.urandom(32)


def run(code: CodeType) -> int:
    """Run a module's script as the main one; give its exit code, or minus the number of the signal to end by."""
    main = ModuleType("__main__")
    path = sys.argv[0]
    loader = importers.SourceFileLoader("__main__", path)
    main.__dict__.update(
        __annotations__={}, __builtins__=sys.modules["builtins"], __cached__=None, __file__=path, __loader__=loader
    )
    sys.modules["__main__"] = main
    if "__mp_main__" in sys.modules:  # multiprocessing's other name for it
        sys.modules["__mp_main__"] = main
    try:
        exec(code, main.__dict__)  # noqa: S102 - this is what it is for
    except BaseException as error:  # noqa: BLE001 - whatever the module raises, as an interpreter does
        return judge(error.with_traceback(error.__traceback__ and error.__traceback__.tb_next))
    return 0


def judge(error: BaseException) -> int:
    """Say about an exception that nobody caught what an interpreter says; give the exit code as `run` does."""
    if isinstance(error, SystemExit):
        return _read_code(error.code)
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, error.__traceback__
    _print(error)
    return -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1


def _read_code(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF if abs(code) < 1 << 31 else 0xFF
    if getattr(sys, "stderr", None) is not None:
        print(code, file=sys.stderr)
    else:
        os.write(2, f"{code}\n".encode(errors="backslashreplace"))
    return 1


def _print(error: BaseException) -> None:
    try:
        sys.excepthook(type(error), error, error.__traceback__)
    except SystemExit as exit_:
        raise exit_.with_traceback(None) from None
    except BaseException as other:  # noqa: BLE001 - as an interpreter does
        trace = other.__traceback__ and other.__traceback__.tb_next
        print("Error in sys.excepthook:", file=sys.stderr)
        other.__context__ = None
        sys.__excepthook__(type(other), other.with_traceback(trace), trace)
        print("\nOriginal exception was:", file=sys.stderr)
        sys.__excepthook__(type(error), error, error.__traceback__)


class Inherited:
    """The libraries that a warm interpreter has imported, which a fork must not take for its own."""

    def __init__(self) -> None:
        """Take all that are imported now."""
        self.names = frozenset(sys.modules)
        self._last = next(reversed(sys.modules))
        self._last_module = sys.modules[self._last]

    def later(self) -> list[str]:
        """Name what was imported since, the latest first."""
        last = next(reversed(sys.modules), "")
        if last == self._last and len(sys.modules) == len(self.names) and sys.modules[last] is self._last_module:
            return []  # to look at each name is to count a reference to it: a page of memory copied for most of them
        return [name for name in reversed(sys.modules) if name not in self.names]


def end(status: int, inherited: Inherited) -> NoReturn:
    """End this process as an interpreter ends; `inherited` are the libraries that it did not import itself."""
    if _thread._count() or not _finish():
        leave(status)  # the long way: threads are waited for or stopped, what cannot be written is complained of
    try:
        _drop_modules(inherited)
    except Exception:  # noqa: BLE001 - a module may have put anything there; the interpreter copes with all of it
        leave(status)
    _flush()
    _libc.fflush(None)
    _exit(status)


def leave(status: int) -> NoReturn:
    """End this process by way of the interpreter's own end."""
    if status == -signal.SIGINT:
        sys.excepthook = lambda *_: None  # it has been told
        raise KeyboardInterrupt
    raise SystemExit(status)


def _exit(status: int) -> NoReturn:
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


def _finish() -> bool:
    """Do what is due before modules are taken apart; tell whether it went without a complaint."""
    if "threading" in sys.modules:
        sys.modules["threading"]._shutdown()
    atexit._run_exitfuncs()
    return not _thread._count() and _flush()


def _flush() -> bool:
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not stream.closed:
                stream.flush()
    except Exception:  # noqa: BLE001 - the interpreter's own end meets it again, and says what it says
        return False
    return True


def _drop_modules(inherited: Inherited) -> None:
    """Let go of what the module made, so that files are written and finalizers run, in an interpreter's order."""
    if gc.isenabled():
        gc.collect()  # this orders what is left so that a stream is ended before what it writes to
    for name in ("last_type", "last_value", "last_traceback"):
        vars(sys).pop(name, None)
    own = ["__main__", "__mp_main__", *inherited.later()]
    left = [ref(sys.modules.pop(name)) for name in own if isinstance(sys.modules.get(name), ModuleType)]
    gc.collect()
    for module in left:
        if (living := module()) is not None:
            _clear(living.__dict__)
    gc.collect()
    # What hangs on a library is let go of with that, by an interpreter; here it is enough that nothing is lost.
    for found in gc.get_objects():
        if isinstance(found, _io.TextIOWrapper | _io.BufferedWriter | _io.BufferedRandom) and not found.closed:
            with contextlib.suppress(Exception):
                found.flush()


def _clear(names: dict[str, object]) -> None:
    for private in (True, False):
        for name in list(names):
            if (name.startswith("_") and not name.startswith("__")) is private and name != "__builtins__":
                names[name] = None
