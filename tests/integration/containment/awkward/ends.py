"""Ends with the exit code or by the signal that it is told."""

import argparse
import os
import signal
import sys

parser = argparse.ArgumentParser()
parser.add_argument("--code", type=int)
parser.add_argument("--signal", type=int)
told = parser.parse_args()
if told.signal:
    signal.signal(told.signal, signal.SIG_DFL) if told.signal not in {signal.SIGKILL, signal.SIGSTOP} else None
    os.kill(os.getpid(), told.signal)
    signal.pause()
sys.exit(told.code)
