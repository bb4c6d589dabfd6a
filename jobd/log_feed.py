"""Reading on in the logs of several entries, in the order in which they were written."""

import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from jobd.jobs import Entry
from jobd.layout import JobDirectory
from jobd.log_files import PIECE, read_piece, readable_size
from jobd.log_times import read_marks
from jobd.states import TERMINAL_ENTRY_STATES

Key = tuple[str, str]
"""A step and an entry of it."""


@dataclass(frozen=True, slots=True)
class Place:
    """How far the logs of an entry have been read."""

    attempt: int
    """From 1; 0 for the first that there will be."""
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Some bytes of one log."""

    step: str
    entry: str
    attempt: int
    offset: int
    """Where in the log they begin."""
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stretch:
    """What came to a log up to a time."""

    time: float
    key: Key
    path: Path
    place: Place
    """Where its attempt begins to be read, should that be a later one than the last."""
    end: int
    last: bool
    """Whether nothing will follow in this log."""


class LogFeed:
    """The logs of some entries, from their places on."""

    def __init__(
        self, directory: JobDirectory, places: Mapping[Key, Place], *, starts: Mapping[tuple[Key, int], int], one: bool
    ) -> None:
        """Begin at `places`, later attempts at `starts` or their beginning; with `one`, no attempt follows another.

        Where there are several entries, pieces end with lines.
        """
        self._directory = directory
        self._places = dict(places)
        self._starts = starts
        self._one = one
        self._whole_lines = len(places) > 1

    @property
    def open(self) -> tuple[Key, ...]:
        """The entries of which something may follow."""
        return tuple(self._places)

    def read(self, entries: Iterable[Entry], *, follow: bool) -> Iterator[Piece]:
        """Give all that is new; `entries` are those that are open, as they were before. Without `follow`, all is last.

        What belongs to an entry that has ended is read to its end, and the entry is open no longer.
        """
        entries = [entry for entry in entries if entry.attempt or entry.state in TERMINAL_ENTRY_STATES]
        stretches = [self._stretches(entry, follow=follow) for entry in entries]
        for stretch in heapq.merge(*stretches, key=lambda stretch: stretch.time):
            yield from self._read_stretch(stretch)
        for entry in entries:
            if entry.state in TERMINAL_ENTRY_STATES:
                del self._places[entry.step, entry.name]

    def _stretches(self, entry: Entry, *, follow: bool) -> Iterator[_Stretch]:
        key = (entry.step, entry.name)
        first = self._places[key]
        if first.attempt == 0:
            first = Place(1, 0)
        latest = first.attempt if self._one else entry.attempt
        for attempt in range(first.attempt, latest + 1):
            place = first if attempt == first.attempt else Place(attempt, self._starts.get((key, attempt), 0))
            path = self._directory.log(entry.step, entry.name, attempt)
            last = not follow or attempt < entry.attempt or entry.state in TERMINAL_ENTRY_STATES
            yield from _stretches_of(key, path, place, last=last)

    def _read_stretch(self, stretch: _Stretch) -> Iterator[Piece]:
        step, entry = stretch.key
        place = self._places[stretch.key]
        attempt = stretch.place.attempt
        offset = place.offset if place.attempt == attempt else stretch.place.offset
        while offset < stretch.end:
            offset, data = read_piece(stretch.path, offset)
            data = data[: max(0, stretch.end - offset)]
            if self._whole_lines and not (stretch.last and offset + len(data) == stretch.end):
                data = _cut(data)
            if not data:
                break
            yield Piece(step=step, entry=entry, attempt=attempt, offset=offset, data=data)
            offset += len(data)
        self._places[stretch.key] = Place(attempt, offset)


def _stretches_of(key: Key, path: Path, place: Place, *, last: bool) -> Iterator[_Stretch]:
    found = readable_size(path)
    if found is None:
        return
    size, changed = found
    for time, end in read_marks(path, place.offset):
        if end < size:
            yield _Stretch(time=time, key=key, path=path, place=place, end=end, last=False)
    yield _Stretch(time=changed, key=key, path=path, place=place, end=size, last=last)


def _cut(data: bytes) -> bytes:
    """Leave out a line that has no end yet, unless it is longer than a piece."""
    end = data.rfind(b"\n") + 1
    return data[:end] if end or len(data) < PIECE else data
