"""Forks until there are 128 of it, none of which ends by itself."""

import os
import signal

for _ in range(7):
    os.fork()
print("up", flush=True)
while True:
    signal.pause()
