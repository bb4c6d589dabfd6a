"""Starts processes of its own in each way that there is."""

# ruff: noqa: PTH109 - as scripts are

import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor

how = sys.argv[-1].removeprefix("--how=")


class Box:
    def __init__(self, value):
        self.value = value


def work(box):
    return Box((__name__, box.value * 2, os.getcwd(), sys.argv, sys.path[0]))


def pool(method):
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as executor:
        for result in executor.map(work, [Box(1), Box(2), Box(3)]):
            print(result.value)


def queue():
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=lambda: results.put(os.getppid()))
    child.start()
    print(results.get(timeout=30) == os.getpid())
    child.join()
    print(child.exitcode)


def fork():
    pid = os.fork()
    if pid == 0:
        print("in the child")
        sys.exit(6)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def python():
    code = "import sys, os; print(sys.argv, sys.flags.isolated, os.environ['JOBD_ENTRY'], sys.stdin.read())"
    print(subprocess.run([sys.executable, "-c", code, "word"], capture_output=True, text=True, check=False))
    print(os.system("exit 3"), subprocess.run(["sh", "-c", "kill -9 $$"], check=False).returncode)


def session():
    try:
        os.setsid()
    except OSError as error:
        print(error)


if __name__ == "__main__":
    if how in ("spawn", "pool fork"):
        pool(how.removeprefix("pool "))
    else:
        globals()[how]()
