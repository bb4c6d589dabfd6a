"""The journal: what was written is read back, and what is damaged is not taken for something else."""

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from jobd import events, journal
from jobd.events import Failure, FailureKind, Occurrence
from jobd.journal import Journal

Write = Callable[..., bytes]


def happened(number: int) -> Occurrence:
    """Make the occurrence of a number, with text that could be mistaken for a line's frame."""
    failure = Failure(kind=FailureKind.MODULE, message=f"{number}\n\r\u2028 é 🎬 \x00", log_tail=("a\nb", ""))
    event = events.EntryRetrying(step="s", entry="e", attempt=number, failure=failure, delay_seconds=0.1)
    return Occurrence(time=1_700_000_000.123456 + number, event=event)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give the path of a journal that does not exist yet."""
    return tmp_path / "journal"


@pytest.fixture
def write(path: Path) -> Write:
    """Give a function that appends the occurrences of a range of numbers as a runner does, and gives the file."""

    def append(first: int, last: int, *, durable: bool = True) -> bytes:
        with Journal(path, end=journal.read_all(path).offset) as lines:
            lines.append([happened(number) for number in range(first, last)], durable=durable)
        return path.read_bytes()

    return append


def numbers(chunk: journal.Chunk) -> list[int]:
    """Give the numbers of what was read, each checked to be whole."""
    found = [occurrence.event.attempt for occurrence in chunk.occurrences]
    assert [happened(number) for number in found] == list(chunk.occurrences)
    return found


def test_what_was_written_is_read(path: Path, write: Write):
    """Every occurrence comes back equal and in order, a line each."""
    data = write(0, 50)
    chunk = journal.read_all(path)
    assert (numbers(chunk), chunk.offset) == ([*range(50)], len(data))
    assert data.count(b"\n") == 50


def test_every_kind_of_event_is_read_back():
    """An event of any kind is the same after a journey through a line."""
    at = {"step": "s", "entry": "e"}
    failure = Failure(kind=FailureKind.SIGNAL, message="m", signal=9, log_tail=("x",))
    samples = [
        events.JobStarted(flow_run_id=""),
        events.EntryProgress(**at, percent=0.0),
        events.EntryProgress(**at, status=""),
        events.EntryFailed(**at, attempt=1, failure=failure),
        events.ArtifactPublished(name="日本", size_bytes=1 << 60, folder=True),
        events.JobSucceeded(),
    ]
    for event in samples:
        occurrence = Occurrence(time=0.1, event=event)
        assert journal.decode(journal.encode(occurrence)[:-1]) == occurrence


def test_no_journal_has_nothing(path: Path):
    """A journal that does not exist is read as an empty one."""
    assert journal.read_all(path) == journal.Chunk(occurrences=(), offset=0)
    assert journal.read(path, 100) == journal.Chunk(occurrences=(), offset=100)


def test_a_torn_last_line_is_no_line(path: Path, write: Write):
    """Wherever the last line was torn, the lines before it are read, and only they."""
    data = write(0, 3)
    start = len(data) - len(data.splitlines(keepends=True)[-1])
    for size in range(start, len(data)):
        path.write_bytes(data[:size])
        chunk = journal.read_all(path)
        assert (len(chunk.occurrences), chunk.offset) == (2, start)


def test_a_writer_cuts_a_torn_line_off(path: Path, write: Write):
    """The next runner writes in the place of a torn line, so that nothing after it is lost."""
    whole = write(0, 3)
    path.write_bytes(whole[:-7])
    write(2, 5)
    assert numbers(journal.read_all(path)) == [0, 1, 2, 3, 4]


def test_a_flipped_bit_ends_the_reading(path: Path, write: Write):
    """A line in which any one bit is another is not read, and neither is what stands behind it."""
    data = write(0, 3)
    first = data.index(b"\n") + 1
    second = data.index(b"\n", first) + 1
    chance = random.Random(4)
    for _ in range(300):
        place = chance.randrange(first, second - 1)
        damaged = bytearray(data)
        damaged[place] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        assert numbers(journal.read_all(path)) == [0], (place, bytes(damaged[first:second]))


@pytest.mark.parametrize(
    "line", [b"", b" ", b"00000000 ", b"zzzzzzzz {}", b"{}", b"\xff\xff", b"00000000", b"a3804d38 {}"]
)
def test_what_is_no_line_is_none(line: bytes):
    """Lines that nobody wrote, some with the right checksum, are refused without an error."""
    assert journal.decode(line) is None


def test_a_growing_journal_is_read_in_pieces(path: Path, write: Write):
    """A reader that comes back after each write, with any limit, sees each line exactly once."""
    seen: list[int] = []
    offset = 0
    for turn in range(20):
        write(turn * 10, turn * 10 + 10, durable=False)
        while (chunk := journal.read(path, offset, limit=200 + 97 * turn)).occurrences:
            seen += numbers(chunk)
            assert chunk.offset > offset
            offset = chunk.offset
    assert seen == [*range(200)]


def test_a_half_written_line_is_read_when_it_is_whole(path: Path, write: Write):
    """A reader that looks in the middle of a write takes the line at its next look."""
    data = write(0, 2)
    path.write_bytes(data[:-10])
    first = journal.read(path)
    assert numbers(first) == [0]
    with path.open("ab") as file:
        file.write(data[-10:])
    assert numbers(journal.read(path, first.offset)) == [1]


def test_a_line_longer_than_the_limit_is_read(path: Path):
    """A line of any length is one line."""
    event = events.JobCancelling(reason="x" * 100_000)
    with Journal(path, end=0) as lines:
        lines.append([Occurrence(time=1.0, event=event)] * 2, durable=False)
    assert [occurrence.event for occurrence in journal.read(path, limit=10).occurrences] == [event]
    assert len(journal.read_all(path).occurrences) == 2


def test_short_writes_are_finished(path: Path, monkeypatch: pytest.MonkeyPatch):
    """A kernel that takes a few bytes at a time gets all of them."""
    write = os.write
    monkeypatch.setattr(journal.os, "write", lambda fd, data: write(fd, bytes(data[:7])))
    with Journal(path, end=0) as lines:
        lines.append([happened(1), happened(2)], durable=True)
    assert numbers(journal.read_all(path)) == [1, 2]


def test_a_refused_write_swallows_no_later_one(path: Path, monkeypatch: pytest.MonkeyPatch):
    """When the disk refuses in the middle of a line, whatever is said to be written later can be read."""
    write = os.pwrite
    with Journal(path, end=0) as lines:
        lines.append([happened(0)], durable=True)

        def refuse(*_arguments: object) -> int:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        def half(fd: int, data: bytes, offset: int) -> int:
            return write(fd, bytes(data[:-20]), offset)

        with monkeypatch.context() as patch:
            patch.setattr(journal, "sleep", lambda _seconds: patch.setattr(journal.os, "pwrite", refuse))
            patch.setattr(journal.os, "pwrite", half)
            with pytest.raises(OSError, match="Input/output error"):
                lines.append([happened(1)], durable=True)
        written = [0]
        try:
            lines.append([happened(2)], durable=True)
        except OSError:
            pass  # to refuse from then on is as good: what is not written did not happen
        else:
            written.append(2)
    assert numbers(journal.read_all(path)) == written


def test_a_journal_is_private(path: Path, write: Write):
    """Nobody else may read what modules said."""
    write(0, 1)
    assert path.stat().st_mode & 0o777 == 0o600
