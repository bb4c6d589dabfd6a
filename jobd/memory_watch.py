"""Whether a module failed for want of memory, which an exit code or a SIGKILL alone does not tell."""

import re
from collections.abc import Sequence
from pathlib import Path
from signal import Signals

from jobd.process import Exit

_VMSTAT = Path("/proc/vmstat")
_OOM_KILLS = re.compile(rb"^oom_kill (\d+)$", re.MULTILINE)
_MEMORY_ERROR = re.compile(r"[\w.]*MemoryError\b")
"""The last line of a Python program that was refused memory."""


class MemoryWatch:
    """Knows how many processes the kernel had killed for want of memory when an attempt began."""

    def __init__(self, memory: int) -> None:
        """Begin; `memory` is what the module may have, in bytes, 0 when it has no limit."""
        self._memory = memory
        self._before = _machine_oom_kills()

    def ran_out(self, exit_: Exit, oom_kills: int, tail: Sequence[str]) -> str:
        """Say how memory ran out, given what its cgroup counted and its last lines; empty when it failed otherwise."""
        if exit_.code == 0:
            return ""
        if oom_kills:
            return "the kernel ended it: it needed more memory than it may have"
        if exit_.signal == Signals.SIGKILL and _machine_oom_kills() > self._before:
            return "the kernel ended it: the machine ran out of memory"
        if self._memory and tail and _MEMORY_ERROR.match(tail[-1]):
            return f"it asked for more memory than the {self._memory} bytes that it may have"
        return ""


def _machine_oom_kills() -> int:
    found = _OOM_KILLS.search(_VMSTAT.read_bytes())
    return int(found[1]) if found is not None else 0  # kernels before 4.13 do not count them
