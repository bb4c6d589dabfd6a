"""Ends in the way that its last option names."""

# ruff: noqa: PLR1722, B009, N818 - as scripts are

import atexit
import os
import signal
import sys
import threading

how = sys.argv[-1].removeprefix("--how=")
print("before", flush=True)


def fail():
    raise ValueError("a text\nof two lines")


def chain():
    try:
        fail()
    except ValueError as error:
        raise RuntimeError("another") from error


def context():
    try:
        fail()
    finally:
        {}["key"]


class Silent(Exception):
    def __str__(self):
        raise TypeError("cannot be shown")


def raise_in_hook(*_):
    raise LookupError("of the hook")


def recurse(depth):
    return recurse(depth + 1)


WAYS = {
    "falls off": lambda: None,
    "exit": sys.exit,
    "none": lambda: sys.exit(None),
    "0": lambda: sys.exit(0),
    "3": lambda: sys.exit(3),
    "-1": lambda: sys.exit(-1),
    "263": lambda: sys.exit(263),
    "large": lambda: sys.exit(1 << 70),
    "true": lambda: sys.exit(True),
    "text": lambda: sys.exit("a last word"),
    "tuple": lambda: sys.exit((1, "two")),
    "quit": lambda: quit(4),
    "os": lambda: os._exit(5),
    "raise": fail,
    "chain": chain,
    "context": context,
    "group": lambda: (_ for _ in ()).throw(ExceptionGroup("several", [ValueError("one"), TypeError("two")])),
    "unshown": lambda: (_ for _ in ()).throw(Silent()),
    "note": lambda: (_ for _ in ()).throw(getattr(ValueError("it"), "with_traceback")(None)),
    "interrupt": lambda: (_ for _ in ()).throw(KeyboardInterrupt()),
    "interrupted": lambda: os.kill(os.getpid(), signal.SIGINT),
    "base": lambda: (_ for _ in ()).throw(BaseException("of the base")),
    "generator exit": lambda: (_ for _ in ()).throw(GeneratorExit()),
    "memory": lambda: bytearray(1 << 60),
    "assert": lambda: exec("assert not 1, 'no'"),
    "syntax": lambda: exec(compile("a b", "other.py", "exec")),
    "import": lambda: __import__("no_such_library"),
    "terminate": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "abort": os.abort,
    "segv": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "hook": lambda: (setattr(sys, "excepthook", lambda *found: print("hooked", found[:2])), fail()),
    "hook raises": lambda: (setattr(sys, "excepthook", raise_in_hook), fail()),
    "hook exits": lambda: (setattr(sys, "excepthook", lambda *_: sys.exit(9)), fail()),
    "atexit raises": lambda: atexit.register(fail),
    "atexit exits": lambda: atexit.register(lambda: sys.exit(7)),
    "last": lambda: (atexit.register(lambda: print(sys.last_type, sys.last_value)), fail()),
    "no stderr": lambda: (setattr(sys, "stderr", None), sys.exit("nobody hears")),
    "thread raises": lambda: threading.Thread(target=fail, name="other").start(),
    "thread exits": lambda: threading.Thread(target=sys.exit, args=(3,)).start(),
}
if __name__ == "__main__":
    WAYS[how]()
