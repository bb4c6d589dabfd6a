"""How a warm interpreter makes a process that is the runner's child and in its own cgroup from its first instant.

To move a process into a cgroup takes the kernel 7 to 16 ms of waiting, to make it there nothing. `os.fork` cannot, so
the call is made here, with what `os.fork` does before and after it.

A part of the program of warm_host.py: standard library only, and little of it.
"""

from __future__ import annotations

import ctypes

_SYS_CLONE3 = 435
_CLONE_PARENT, _CLONE_CHILD_CLEARTID, _CLONE_CHILD_SETTID, _CLONE_INTO_CGROUP = 0x8000, 0x200000, 0x1000000, 1 << 33
_PR_GET_TID_ADDRESS = 40
_ARGUMENTS = 11
"""The fields of the kernel's struct clone_args, eight bytes each: see clone(2)."""

_libc = ctypes.PyDLL(None)
"""Called with the interpreter's lock held: between before and after, nothing else may run."""
_libc.syscall.restype = ctypes.c_long


class Birth:
    """Makes processes; there must be no thread but this one."""

    def __init__(self) -> None:
        """Find where the C library keeps the thread's number, which it must have anew in a new process."""
        address = ctypes.c_uint64(0)
        self._tid = 0 if _libc.prctl(_PR_GET_TID_ADDRESS, ctypes.byref(address), 0, 0, 0) else address.value

    def fork_into(self, group: int) -> int:
        """Fork a child of this process's parent, born in the cgroup whose folder is open as `group`.

        Gives what `os.fork` gives, or -1 where the kernel cannot, or must not, do that.
        """
        if not self._tid:
            return -1
        flags = _CLONE_PARENT | _CLONE_CHILD_CLEARTID | _CLONE_CHILD_SETTID | _CLONE_INTO_CGROUP
        arguments = (ctypes.c_uint64 * _ARGUMENTS)(flags, 0, self._tid, 0, 0, 0, 0, 0, 0, 0, group)
        ctypes.pythonapi.PyOS_BeforeFork()
        pid: int = _libc.syscall(ctypes.c_long(_SYS_CLONE3), arguments, ctypes.c_size_t(ctypes.sizeof(arguments)))
        if pid == 0:
            ctypes.pythonapi.PyOS_AfterFork_Child()
        else:
            ctypes.pythonapi.PyOS_AfterFork_Parent()
        return pid
