"""Taking the values of secrets out of a log, in the file itself, before anybody is shown it.

A module writes to its log file directly. Behind it every byte of a value is overwritten with `*`, so that offsets stay
what they are; what has not been looked through yet is shown to nobody. How far that is stands in a file beside the log.
"""

import base64
import contextlib
import errno
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

from jobd.log_mark import mark_path, write_mark
from jobd.module_log import ModuleLog, Reports
from jobd.secret_store import SHORTEST

_CHUNK = 1 << 20
_MOST_AT_ONCE = 8 << 20
"""So many bytes are looked through at a time, so that no flood holds up the one who is to end it."""


class Mask:
    """Finds the values of secrets, and what common encodings make of them."""

    def __init__(self, values: Iterable[str]) -> None:
        """Look for these values, each line of them, and their forms in base64, hexadecimal, JSON and addresses."""
        found = {form for value in values for form in _forms(value) if len(form) >= SHORTEST}
        self._forms = sorted(found, key=len, reverse=True)
        self.longest = max(map(len, self._forms), default=0)
        """In bytes, of what is looked for."""

    def spans(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Give where in the data something stands that is to be masked, as start and end; they may overlap."""
        for form in self._forms:
            start = data.find(form)
            while start >= 0:
                yield start, start + len(form)
                start = data.find(form, start + len(form))

    def ready(self, data: bytes, spans: Iterable[tuple[int, int]]) -> int:
        """Give how many bytes can be masked now: what follows may be the beginning of something, or reaches into it.

        Were a short value masked at once, the rest of a longer one that begins with it would not be known.
        """
        tail = data[-self.longest + 1 :] if self.longest > 1 else b""
        starts = (place for first in {form[:1] for form in self._forms} for place in _places(tail, first))
        could = (place for place in sorted(starts) if any(form.startswith(tail[place:]) for form in self._forms))
        begins = ready = len(data) - len(tail) + next(could, len(tail))
        for first, behind in sorted(spans, reverse=True):
            ready = first if first < ready < behind else ready
        # However they follow one another, something is done in each turn.
        return ready if ready > len(data) - 2 * self.longest else begins

    def cover(self, data: bytes) -> bytes:
        """Give the data with all that is to be masked in it overwritten."""
        covered = bytearray(data)
        for start, end in self.spans(data):
            covered[start:end] = b"*" * (end - start)
        return bytes(covered)


class MaskedLog(ModuleLog):
    """A log that is masked and then read, while its module writes it."""

    def __init__(self, path: Path, mask: Mask, limit: int) -> None:
        """Begin before the first byte, after `prepare`; at its end the log is cut to `limit` bytes."""
        super().__init__(path)
        self._mask = mask
        self._limit = limit
        self._masked = 0
        self._mark_fd = os.open(mark_path(path), os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)

    def look(self, *, last: bool = False) -> Reports:
        """Mask what is new, and read it."""
        if last:
            with contextlib.suppress(OSError):  # where it cannot be cut, there is more to look through
                self.cut(self._limit)
        self._advance(last=last)
        return super().look(last=last)

    def cut(self, limit: int) -> None:
        """Drop the middle of a log that is too long; what is dropped unmasked needs no masking."""
        super().cut(limit)
        if self._offset > self._masked:
            # What follows the gap may be the rest of a value that began in it.
            os.pwrite(self._fd, b"*" * min(self._mask.longest, self.size - self._offset), self._offset)

    def close(self) -> None:
        """Let go of the files."""
        super().close()
        os.close(self._mark_fd)

    def _readable(self) -> int:
        return max(self._masked, self._offset)  # it skips what was cut out

    def _advance(self, *, last: bool) -> None:
        if self.size < self._masked:
            self._masked = 0  # it was emptied, and is written anew
        end = self.size if last else min(self.size, self._masked + _MOST_AT_ONCE)
        while (start := _next_data(self._fd, self._masked)) < end:
            data = os.pread(self._fd, min(_CHUNK, end - start), start)
            at_end = start + len(data) >= end
            spans = tuple(self._mask.spans(data))
            ready = len(data) if last and at_end else self._mask.ready(data, spans)
            for first, behind in spans:
                if first < ready:
                    os.pwrite(self._fd, b"*" * (behind - first), start + first)
            self._masked = start + ready
            if at_end or not data:
                break
        write_mark(self._mark_fd, self._masked)


def prepare(log: Path) -> None:
    """Have nothing of a log shown that is about to be written, until it was masked."""
    log.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(mark_path(log), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        write_mark(fd, 0)
    finally:
        os.close(fd)


def _next_data(fd: int, offset: int) -> int:
    """Give where bytes stand from here on that were not cut out of the log."""
    try:
        return os.lseek(fd, offset, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:  # there are none
            raise
        return os.fstat(fd).st_size


def _places(data: bytes, byte: bytes) -> Iterator[int]:
    place = data.find(byte)
    while place >= 0:
        yield place
        place = data.find(byte, place + 1)


def _forms(value: str) -> Iterator[bytes]:
    """Give a value as it may stand in a log. A number of lines may be printed with other line ends, or one alone."""
    for text in {value, *value.splitlines(), value.strip()}:
        raw = text.strip().encode()
        if len(raw) < SHORTEST:
            continue
        yield raw
        yield from (form.encode() for form in (repr(text)[1:-1], quote(text, safe=""), quote(text), quote_plus(text)))
        yield from (json.dumps(text, ensure_ascii=plain)[1:-1].encode() for plain in (True, False))
        yield from (raw.hex().encode(), raw.hex().upper().encode())
        yield from _base64_forms(raw)
    whole = value.encode()
    yield from base64.encodebytes(whole).splitlines()
    yield from base64.encodebytes(whole + b"\n").splitlines()


def _base64_forms(raw: bytes) -> Iterator[bytes]:
    """Give what of a value is always the same in base64, whatever stands before and behind it."""
    for before in range(3):
        bits_before, bits = before * 8, (before + len(raw)) * 8
        encoded = base64.b64encode(bytes(before) + raw)
        kept = encoded[-(-bits_before // 6) : bits // 6]
        yield kept
        yield kept.replace(b"+", b"-").replace(b"/", b"_")
