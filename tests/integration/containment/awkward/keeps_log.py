"""Ends well, and leaves a process in another session with an empty environment that goes on to write to the log."""

import os
import sys

WRITE = "import os, time\nwhile os.write(1, b'.'): time.sleep(0.001)"

reader, writer = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.write(writer, b"%d" % os.getpid())
        os.execve(sys.executable, ["writer", "-c", WRITE], {})
    os._exit(0)
os.wait()
print("left", os.read(reader, 20).decode(), flush=True)
