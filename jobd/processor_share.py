"""The daemon's share of the processors, beside those of the work that it runs.

A call is answered in many small pieces, and each waits its turn among runners and modules: on a machine that is full, a
submit waited four times as long as it worked.
"""

import os
import resource

from jobd import procfs

_AUTOGROUP = procfs.PROC / "self/autogroup"
"""Where the kernel gives every session a share of its own, the nice value of this one; see sched(7)."""
NICE = -15
"""Enough that a busy daemon is hardly held up; it takes a fraction of one processor."""


def take_more() -> bool:
    """Have the kernel let this process's session go before others that are busy; tell whether it does.

    It does where sessions have shares, this process leads one, which nobody's shell is in, and it is root or was given
    RLIMIT_NICE. Neither the share nor that limit goes to processes that are started in sessions of their own later.
    """
    try:
        if os.getsid(0) != os.getpid():
            return False
        procfs.write(_AUTOGROUP, str(NICE))
    except OSError:  # a kernel without such shares, or one that does not allow it
        return False
    finally:
        resource.setrlimit(resource.RLIMIT_NICE, (0, 0))
    return True
