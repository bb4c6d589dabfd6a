"""Prints in every way, and nothing may change its place."""

# ruff: noqa: B028, LOG015 - as scripts are

import logging
import os
import signal
import sys
import warnings

import helper_of_prints

print("to out")
print("to err", file=sys.stderr)
os.write(1, b"raw\n")
sys.stdout.write("no end")
os.write(2, b" raw\n")
sys.stdout.buffer.write(bytes(range(256)))
print("\udcff\u20ac", file=sys.stderr)
try:
    print("\udcff")
except UnicodeEncodeError as error:
    print(error)
print("x" * 100_000)
logging.warning("a warning")
logging.getLogger("it").error("an error", exc_info=ValueError("shown"))
warnings.warn("careful")
warnings.warn("old", DeprecationWarning)
helper_of_prints.shout()
signal.signal(signal.SIGTERM, lambda number, frame: print("heard", number, frame.f_code.co_name))
os.kill(os.getpid(), signal.SIGTERM)
signal.setitimer(signal.ITIMER_REAL, 0.01)
signal.signal(signal.SIGALRM, signal.SIG_IGN)
reader, writer = os.pipe()
os.close(reader)
try:
    os.write(writer, b"x")
except BrokenPipeError as error:
    print(error)
print(sys.stdin.read() == "", sys.stdin.readline() == "")
