"""Ends well, and leaves a process of another session that goes on writing to the output."""

import os
import sys
import time

output = os.open(sys.argv[sys.argv.index("--output") + 1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
os.write(output, b"made\n")
ready, done = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() != 0:
        os._exit(0)
    print("left", os.getpid(), flush=True)
    os.write(done, b".")
    while True:
        os.write(output, b"changed\n")
        time.sleep(0.001)
os.read(ready, 1)
