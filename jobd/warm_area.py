"""What the kernel shows of a process that was forked and not started: its environment and its command line.

A part of the program of warm_host.py: standard library only, and little of it.
"""

# ruff: noqa: PTH123 - pathlib would be imported in every module that is run

from __future__ import annotations

import ctypes

_PR_SET_MM, _PR_SET_MM_MAP = 35, 14
_MAP = (
    ("start_code", 26),
    ("end_code", 27),
    ("start_data", 45),
    ("end_data", 46),
    ("start_brk", 47),
    ("brk", 0),
    ("start_stack", 28),
    ("arg_start", 48),
    ("arg_end", 49),
    ("env_start", 50),
    ("env_end", 51),
)
"""The fields of the kernel's struct prctl_mm_map in their order, and their numbers in /proc/self/stat: see proc(5)."""
_NO_FILE = 0xFFFFFFFF << 32
_WORDS = 4096
"""Bytes of a command line that are shown without more memory."""

# All that is made here is not made in every fork: a type takes long, and its memory is new.
_Block = ctypes.c_uint64 * 13
_BLOCK_BYTES = ctypes.c_ulong(ctypes.sizeof(_Block))
_ZERO, _ONE_MAP = ctypes.c_ulong(0), ctypes.c_ulong(_PR_SET_MM_MAP)
_libc = ctypes.CDLL(None, use_errno=True)
_libc.sbrk.restype = ctypes.c_void_p
_prctl, _sbrk = _libc.prctl, _libc.sbrk


class ShownArea:
    """The memory that is shown as a process's environment, by which others know whose process it is.

    Nothing else tells that of a process that has left its session, where there are no cgroups.
    """

    def __init__(self, slot: str) -> None:
        """Find it. The variable `slot` is its last, and its length the room for what differs between entries."""
        with open("/proc/self/environ", "rb") as file:
            content = file.read()
        with open("/proc/self/stat", "rb") as file:
            fields = [0, 0, 0, *map(int, file.read().rpartition(b")")[2].split()[1:])]
        self._map = {name: fields[number - 1] if number else 0 for name, number in _MAP}
        offset = content.index(f"\0{slot}=".encode()) + 1
        self._start = self._map["env_start"] + offset
        self._room = len(content) - offset
        self._words = ctypes.create_string_buffer(_WORDS)
        """Read by the kernel for as long as the process lives."""

    def show(self, own: bytes, command: bytes) -> None:
        """Show the variables `own`, each ended by a zero, in the place of the slot, and `command` as the command line.

        What does not fit is cut off.
        """
        own = own[: self._room - 1]
        ctypes.memset(self._start, 0, self._room)
        ctypes.memmove(self._start, own, len(own))
        if len(command) > _WORDS:
            self._words = ctypes.create_string_buffer(len(command))
        begin = ctypes.addressof(self._words)
        ctypes.memmove(begin, command, len(command))
        shown = {"brk": _sbrk(0), "arg_start": begin, "arg_end": begin + len(command)}
        shown = self._map | shown | {"env_end": self._start + len(own)}
        block = _Block(*(shown[name] for name, _number in _MAP), 0, _NO_FILE)
        # A help to who looks: a kernel without this shows the warm interpreter's command line, and zeros after `own`.
        _prctl(_PR_SET_MM, _ONE_MAP, block, _BLOCK_BYTES, _ZERO)
