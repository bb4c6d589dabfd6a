"""Does not end on SIGTERM, and neither does its child."""

import os
import signal

signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.fork()
while True:
    signal.pause()
