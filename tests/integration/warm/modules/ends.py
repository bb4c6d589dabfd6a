"""Leaves much to do for the end of the interpreter."""

# ruff: noqa: PTH123, SIM115, PLW0603 - as scripts are

import atexit
import concurrent.futures
import ctypes
import pathlib
import sys
import threading
import time
import weakref

how = sys.argv[-1].removeprefix("--how=")
made = sys.argv[sys.argv.index("--output") + 1]


class Loud:
    def __init__(self, name):
        self.name = name

    def __del__(self):
        print("gone", self.name)


class Ring:
    def __init__(self):
        self.loud = Loud("ring")
        self.me = self


def unclosed():
    global file
    file = open(made, "w")
    file.write("never flushed " * 3)


def held_elsewhere():
    file = open(made, "w")
    file.write("held by a library")
    pathlib.held = file


def finalizers():
    global loud, ring, _private
    loud, ring, _private = Loud("global"), Ring(), Loud("private")
    weakref.finalize(ring, print, "finalized")
    atexit.register(print, "first registered")
    atexit.register(print, "last registered")


def thread():
    def late():
        time.sleep(0.2)
        print("late", flush=True)
        pathlib.Path(made).write_text("late")

    threading.Thread(target=late).start()


def daemon():
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()


def pool():
    global executor
    executor = concurrent.futures.ThreadPoolExecutor(2)
    executor.submit(lambda: (time.sleep(0.2), pathlib.Path(made).write_text("from a pool")))


def libc():
    ctypes.CDLL(None).printf(b"in the buffer of libc\n")


def closed():
    sys.stdout.close()


def replaced():
    sys.stdout = open(made, "w")
    print("to a stream of its own")


def buffered():
    sys.stdout = open(1, "w", closefd=False)
    print("in a buffer")


def broken():
    sys.stdout = open("/dev/full", "w")
    print("nowhere to go")


pathlib.Path(made).write_text("")
globals()[how]()
