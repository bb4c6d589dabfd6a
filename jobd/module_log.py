"""Reading along in a module's log: what it reports of itself, its new lines, its last lines.

A line that begins with `openjd_progress:`, `openjd_status:` or `openjd_fail:` is a report, as in Open Job Description.
A module writes to the file itself, so that nothing stands between; what is too much is taken out behind it.
"""

import ctypes
import os
import re
from dataclasses import dataclass
from pathlib import Path

from jobd.log_mark import shown_size
from jobd.names import ascii_controls

_REPORT = re.compile(rb"^openjd_(progress|status|fail):(.*)$", re.MULTILINE)
_BLANK = b" \t\r"
_WORD = b"openjd_"
_TOLD = re.compile(rb"^openjd_", re.MULTILINE)
_CHUNK = 1 << 20
_UNREAD = 2 << 20
"""Of what was printed since the last look, the last so many bytes are read: no flood holds up the one who looks."""
_LOST = b"\0"
"""Stands for the beginning of a line that was not kept, so that its end is not taken for a report."""
_BLOCK = 4096
_PUNCH_HOLE = 3  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
_TAIL_BYTES = 16 << 10
_TAIL_LINES = 20
_LINE_LENGTH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports:
    """The latest of each kind of report since the last look; None where there was none."""

    progress: float | None = None
    """0 to 100."""
    status: str | None = None
    failure: str | None = None
    lines: tuple[str, ...] = ()
    """The first few new plain lines, for whoever shows a selection."""
    skipped: int = 0
    """How many more new plain lines there were."""


class ModuleLog:
    """A log being read while its module writes it."""

    def __init__(self, path: Path, *, lines_per_look: int = 20) -> None:
        """Begin before the first byte; the file must exist."""
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        self._rest = b""
        self._offset = 0
        self._lines_per_look = lines_per_look

    @property
    def size(self) -> int:
        """How many bytes were printed, those that were dropped included."""
        return os.fstat(self._fd).st_size

    def look(self, *, last: bool = False) -> Reports:
        """Read what is new, of a flood the end; with `last`, a line without its newline counts as well."""
        reports = Reports()
        end = self._readable()
        if not self._offset <= end <= self._offset + _UNREAD:
            self._skip_to(min(end, max(self._offset, end - _UNREAD)))
        while self._offset < end and (data := os.pread(self._fd, min(_CHUNK, end - self._offset), self._offset)):
            self._offset += len(data)
            reports = self._take(reports, self._rest + data)
        if last and self._rest not in (b"", _LOST):
            reports = self._take(reports, self._rest + b"\n")
        return reports

    def cut(self, limit: int) -> None:
        """Drop the middle of a log that holds more than `limit` bytes: a quarter of that is left at either end.

        Offsets stay as they are; the middle is a hole in the file. OSError where the file system makes none.
        """
        status, start = os.fstat(self._fd), limit // 4 // _BLOCK * _BLOCK
        if min(status.st_size, status.st_blocks * 512) <= limit:
            return
        note = f"\n(the log passed its limit of {limit} bytes: its middle is left out here)\n".encode()
        os.pwrite(self._fd, note, start - len(note))
        end = (status.st_size - limit // 4) // _BLOCK * _BLOCK
        _punch_hole(self._fd, start, end)
        if end > self._offset:
            self._skip_to(end)

    def _readable(self) -> int:
        """Give the offset up to which it may be read."""
        return self.size

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)

    def _skip_to(self, offset: int) -> None:
        self._offset = offset
        self._rest = _LOST

    def _take(self, reports: Reports, data: bytes) -> Reports:
        whole, newline, self._rest = data.rpartition(b"\n")
        if not newline:
            # A line longer than any report is read on, not kept.
            self._rest = data if len(data) < _CHUNK else _LOST
            return reports
        return _add(reports, whole, self._lines_per_look)


def _punch_hole(fd: int, start: int, end: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.fallocate(fd, _PUNCH_HOLE, ctypes.c_int64(start), ctypes.c_int64(end - start)) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def _add(reports: Reports, whole: bytes, limit: int) -> Reports:
    found: dict[str, str] = {}
    told = 0
    # Searching for the rare word first lets a flood of other output pass at memory speed.
    if _WORD in whole:
        found = {match[1].decode(): _text(match[2].strip(_BLANK)) for match in _REPORT.finditer(whole)}
        told = len(_TOLD.findall(whole))
    room = max(0, limit - len(reports.lines))
    # A report takes no room, so as many lines more are looked at as there are reports.
    head = whole.split(b"\n", room + told)[: room + told]
    plain = [_text(line) for line in head if not line.startswith(_WORD)][:room]
    percent = _percent(found.get("progress"))
    return Reports(
        progress=reports.progress if percent is None else percent,
        status=found.get("status", reports.status),
        failure=found.get("fail", reports.failure),
        lines=reports.lines + tuple(plain),
        skipped=reports.skipped + whole.count(b"\n") + 1 - told - len(plain),
    )


def _percent(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else -1.0
    except ValueError:
        return None
    return value if 0 <= value <= 100 else None


def _text(line: bytes) -> str:
    # It goes into events, Prefect's log and failures, none of which may forge a line or move a terminal.
    text = line[:_LINE_LENGTH].decode(errors="replace").removesuffix("\r")
    return "\t".join(map(ascii_controls, text.split("\t")))


def tail(path: Path) -> tuple[str, ...]:
    """Give the last lines of a log, oldest first, without the module's reports; none when there is no log."""
    try:
        with path.open("rb") as file:
            size = shown_size(path, file.seek(0, os.SEEK_END))
            data = os.pread(file.fileno(), min(size, _TAIL_BYTES), max(0, size - _TAIL_BYTES))
    except FileNotFoundError:
        return ()
    lines = data.splitlines()[1 if size > _TAIL_BYTES else 0 :]
    return tuple(_text(line) for line in lines if line.strip() and not line.startswith(_WORD))[-_TAIL_LINES:]
