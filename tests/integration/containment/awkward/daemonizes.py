"""Ends well, and leaves a process behind that has cut every tie: session, parent, folder, descriptors, environment."""

import os
import sys

reader, writer = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.chdir("/")
        os.write(writer, b"%d" % os.getpid())
        os.closerange(0, 64)
        os.execve(sys.executable, ["sleeper", "-c", "import time; time.sleep(1000)"], {})
    os._exit(0)
os.wait()
print("left", os.read(reader, 20).decode())
