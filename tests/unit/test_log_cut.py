"""A log that grows beyond its limit: its middle goes, its two ends stay, and reading along goes on."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobd import module_log
from jobd.module_log import ModuleLog

LIMIT = 64 << 10
QUARTER = LIMIT // 4
MIB = 1 << 20


class Growing:
    """A log that a test writes as a module does, with the same descriptor all the time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.log = ModuleLog(path)

    def write(self, data: bytes) -> None:
        os.write(self._fd, data)

    def empty(self) -> None:
        os.ftruncate(self._fd, 0)

    @property
    def held(self) -> int:
        return self.path.stat().st_blocks * 512

    def close(self) -> None:
        self.log.close()
        os.close(self._fd)


@pytest.fixture
def growing(tmp_path: Path) -> Iterator[Growing]:
    """Give an empty log."""
    made = Growing(tmp_path / "1.log")
    yield made
    made.close()


def test_a_log_within_its_limit_is_left_alone(growing: Growing):
    """Up to the very limit every byte stays."""
    growing.write(b"x" * LIMIT)
    growing.log.cut(LIMIT)
    assert growing.path.read_bytes() == b"x" * LIMIT


def test_both_ends_of_a_cut_log_stay(growing: Growing):
    """What was first and what was last can be read where it was; between them is a note, and nothing is held."""
    growing.write(b"first\n" + b"-" * MIB + b"\nlast\n")
    growing.log.cut(LIMIT)
    data = growing.path.read_bytes()
    assert len(data) == MIB + 12
    assert data.startswith(b"first\n")
    assert b"-" * (QUARTER - 100) in data[:QUARTER]
    assert f"limit of {LIMIT} bytes".encode() in data[:QUARTER]
    assert data.endswith(b"-" * (QUARTER - 100) + b"\nlast\n")
    assert growing.held <= LIMIT


def test_data_can_be_told_from_the_hole(growing: Growing):
    """A reader finds where the data goes on behind the hole, and no filler on either side."""
    growing.write(b"x" * MIB)
    growing.log.cut(LIMIT)
    fd = os.open(growing.path, os.O_RDONLY)
    begin = os.lseek(fd, 0, os.SEEK_HOLE)
    end = os.lseek(fd, begin, os.SEEK_DATA)
    assert begin == QUARTER
    assert b"\0" not in os.pread(fd, begin, 0) + os.pread(fd, MIB, end)
    os.close(fd)


def test_a_log_is_cut_again_and_again(growing: Growing):
    """However much is printed in however many pieces, no more than the limit is held after any look."""
    for _ in range(100):
        growing.write(b"y" * (MIB // 10))
        growing.log.look()
        growing.log.cut(LIMIT)
        assert growing.held <= LIMIT
    assert growing.path.read_bytes().count(b"left out here") == 1


def test_reports_behind_a_cut_are_heard(growing: Growing):
    """Reading along goes on behind the hole, with whole lines."""
    growing.write(b"x" * MIB)
    growing.log.cut(LIMIT)
    growing.write(b" openjd_fail: not at the beginning of a line\nopenjd_status: alive\n")
    reports = growing.log.look()
    assert (reports.status, reports.failure) == ("alive", None)


def test_the_end_of_a_flood_is_heard(growing: Growing):
    """Of more than can be read in a moment the last part is read, so that the last word counts."""
    growing.write(b"openjd_status: early\n")
    for _ in range(20):
        growing.write((b"z" * 1023 + b"\n") * 1024)
    growing.write(b"openjd_fail: late\n")
    reports = growing.log.look()
    assert (reports.status, reports.failure) == (None, "late")
    assert reports.skipped < 17 * 1024


def test_a_log_that_its_module_emptied_is_read_on(growing: Growing):
    """Neither reading nor cutting is confused by a log that begins anew."""
    growing.write(b"x" * MIB)
    growing.log.look()
    growing.log.cut(LIMIT)
    growing.empty()
    growing.log.look()
    growing.write(b"\nopenjd_status: again\n")
    assert growing.log.look().status == "again"
    growing.write(b"x" * MIB)
    growing.log.cut(LIMIT)
    assert growing.held <= LIMIT


def test_the_tail_of_a_cut_log_is_its_end(growing: Growing):
    """A failure shows the last lines of a log whose middle is gone."""
    growing.write(b"line\n" * MIB + b"the end\n")
    growing.log.cut(LIMIT)
    assert module_log.tail(growing.path)[-2:] == ("line", "the end")


def test_a_log_is_not_a_link(tmp_path: Path):
    """A log that was put aside for a link is not followed to where that leads."""
    (tmp_path / "elsewhere").write_text("")
    (tmp_path / "1.log").symlink_to("elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        ModuleLog(tmp_path / "1.log")
