"""Tells all that a process can see of how it was started."""

# ruff: noqa: PTH109, PTH115, PTH208 - as scripts are

import gc
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import threading
import time
import warnings


def tell(name, value):
    print(f"{name}: {value}")


tell("globals", sorted(globals()))
for name in ("__name__", "__file__", "__package__", "__spec__", "__cached__", "__doc__", "__annotations__"):
    tell(name, globals()[name])
tell("loader", (type(__loader__), __loader__.name, __loader__.path))
tell("builtins", type(__builtins__))
tell("main", sys.modules["__main__"].__dict__ is globals())
tell("argv", sys.argv)
tell("orig_argv", sys.orig_argv)
tell("path", sys.path)
tell("flags", sys.flags)
tell("executable", (sys.executable, sys.prefix, sys.base_prefix, os.readlink("/proc/self/exe")))
tell("options", (sys.warnoptions, sys._xoptions, sys.dont_write_bytecode, sys.pycache_prefix))
tell("cwd", os.getcwd())
tell("umask", oct(os.umask(0o077)))
tell("environ", json.dumps(dict(sorted(os.environ.items()))))
tell("environ of the kernel", sorted(pathlib.Path("/proc/self/environ").read_bytes().split(b"\0")))
tell("command line", pathlib.Path("/proc/self/cmdline").read_bytes())
tell("environ of children", sorted(subprocess.check_output(["env", "-0"]).split(b"\0")))
tell("name", pathlib.Path("/proc/self/comm").read_text())
tell("leads", (os.getpgrp() == os.getpid(), os.getsid(0) == os.getpid()))
tell("parent", os.getppid())
tell("descriptors", sorted(os.listdir("/proc/self/fd")))
tell("streams", [os.readlink(f"/proc/self/fd/{number}") for number in range(3)])
for stream in (sys.stdin, sys.stdout, sys.stderr):
    facts = [stream.encoding, stream.errors, stream.line_buffering, stream.write_through, stream.isatty()]
    tell(stream.name, [*facts, stream.mode, stream.newlines, stream.fileno(), type(stream.buffer).__name__])
    tell("beneath", (stream.seekable(), stream.buffer.name, stream.buffer.mode, stream.closed))
tell("same", (sys.stdout is sys.__stdout__, sys.stderr is sys.__stderr__, sys.stdin is sys.__stdin__))
tell("nothing to read", sys.stdin.read())
for number in sorted(signal.valid_signals()):
    tell(number, signal.getsignal(number))
tell("blocked", signal.pthread_sigmask(signal.SIG_BLOCK, []))
tell("wakeup", signal.set_wakeup_fd(-1))
tell("timers", [signal.getitimer(kind) for kind in (signal.ITIMER_REAL, signal.ITIMER_PROF)])
limits = sorted(name for name in dir(resource) if name.startswith("RLIMIT"))
tell("limits", [(name, resource.getrlimit(getattr(resource, name))) for name in limits])
status = pathlib.Path("/proc/self/status").read_text()
wanted = (
    "Uid",
    "Gid",
    "Groups",
    "NoNewPrivs",
    "Seccomp",
    "CapEff",
    "SigIgn",
    "SigCgt",
    "SigBlk",
    "Threads",
    "TracerPid",
)
tell("status", [line for line in status.splitlines() if line.split(":")[0] in wanted])
tell("score", pathlib.Path("/proc/self/oom_score_adj").read_text())
tell("nice", (os.nice(0), os.sched_getaffinity(0), os.sched_getscheduler(0)))
tell("thread", (threading.main_thread() is threading.current_thread(), threading.enumerate()[0].name))
tell("threads", (threading.active_count(), threading.main_thread().native_id == os.getpid()))
tell("collector", (gc.isenabled(), gc.get_threshold(), gc.get_debug(), gc.callbacks))
tell("recursion", sys.getrecursionlimit())
tell("hooks", (sys.excepthook is sys.__excepthook__, sys.displayhook is sys.__displayhook__, sys.gettrace()))
tell("warnings", warnings.filters)
tell("time zone", time.tzname)
tell("processor time", time.process_time() < 5)
tell("used before", resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime < 5)
tell("exceptions", (sys.exc_info(), getattr(sys, "last_type", None)))
