"""Named places in the code at which a test has a process die or dawdle. Without JOBD_FAILPOINTS they do nothing.

The variable names a folder. A test arms a point by putting a file of the point's name there that holds `kill`, `stop`
or `delay SECONDS`. Whoever first comes by, of all processes, takes it: each arming counts once.
"""

import os
import signal
import time
from pathlib import Path

_FOLDER = os.environ.get("JOBD_FAILPOINTS")


def failpoint(name: str) -> None:
    """Do here what a test wants done; nothing unless this process was started with JOBD_FAILPOINTS."""
    if _FOLDER is not None:
        _come_by(Path(_FOLDER, name))


def _come_by(armed: Path) -> None:
    taken = armed.with_name(f"{armed.name}.taken")
    try:
        order = armed.read_text()
        armed.rename(taken)  # only one of several that come by at once can
    except FileNotFoundError:
        return
    word, _, seconds = order.strip().partition(" ")
    match word:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "delay":
            time.sleep(float(seconds))
        case _:
            raise ValueError(f"the failpoint {armed} holds {order!r}, not kill, stop or delay SECONDS")
