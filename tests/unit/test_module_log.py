"""What jobd reads in a module's log: reports, a few lines to show, and the end of it."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobd import module_log
from jobd.module_log import ModuleLog, Reports


class Reading:
    """A log that a test writes while it is read along."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self._path = path
        self.log = ModuleLog(path)

    def write(self, data: bytes) -> None:
        with self._path.open("ab") as file:
            file.write(data)

    def look(self, data: bytes = b"", *, last: bool = False) -> Reports:
        self.write(data)
        return self.log.look(last=last)


@pytest.fixture
def reading(tmp_path: Path) -> Iterator[Reading]:
    """Give an empty log, open for reading along."""
    made = Reading(tmp_path / "1.log")
    yield made
    made.log.close()


def test_reports_and_lines_are_told_apart(reading: Reading):
    """Reports are taken out, plain lines are shown in order, and the latest report of a kind counts."""
    reports = reading.look(
        b"hello\nopenjd_progress: 10\nopenjd_status: reading\nopenjd_progress: 20.5\nworld\nopenjd_fail: no sound\n"
    )
    assert Reports(progress=20.5, status="reading", failure="no sound", lines=("hello", "world")) == reports
    assert Reports() == reading.look()


@pytest.mark.parametrize("cut", range(1, len("openjd_progress: 42\n")))
def test_a_report_that_comes_in_two_pieces_is_whole(reading: Reading, cut: int):
    """Wherever a line is cut between two looks, it is taken once, as one line."""
    line = b"openjd_progress: 42\n"
    assert Reports() == reading.look(line[:cut])
    assert Reports(progress=42) == reading.look(line[cut:])


def test_a_last_line_without_newline_counts_at_the_end(reading: Reading):
    """What a module wrote last is read even if it wrote no newline after it."""
    assert Reports() == reading.look(b"openjd_fail: out of tape")
    assert Reports(failure="out of tape") == reading.look(last=True)


def test_windows_line_ends_are_no_part_of_a_report(reading: Reading):
    """A carriage return before the newline belongs to neither text nor number."""
    reports = reading.look(b"openjd_status: half way \r\nopenjd_progress: 50\r\nopenjd_fail:tight\r\n")
    assert (reports.status, reports.progress, reports.failure) == ("half way", 50, "tight")


def test_what_is_not_utf8_is_shown_with_marks(reading: Reading):
    """Bytes that are no text reach people as replacement characters and stop nothing."""
    reports = reading.look(b"openjd_status: caf\xe9\n\xff\xfe plain\nopenjd_progress: 5\n")
    assert (reports.status, reports.progress, reports.lines) == ("caf\ufffd", 5, ("\ufffd\ufffd plain",))


@pytest.mark.parametrize("text", [b"-1", b"101", b"nan", b"inf", b"-inf", b"much", b"", b"1 2", b"\xff"])
def test_a_percentage_out_of_range_is_no_report(reading: Reading, text: bytes):
    """A progress that is not a number from 0 to 100 is left out, and the one before it stands."""
    assert reading.look(b"openjd_progress: 7\n").progress == 7
    assert None is reading.look(b"openjd_progress: " + text + b"\n").progress


@pytest.mark.parametrize(("text", "value"), [(b"0", 0), (b"100", 100), (b"1e1", 10), (b"  33.3  ", 33.3)])
def test_a_percentage_in_range_is_taken(reading: Reading, text: bytes, value: float):
    """The bounds themselves and any way of writing a number count."""
    assert value == reading.look(b"openjd_progress:" + text + b"\n").progress


@pytest.mark.parametrize(
    "line", [b" openjd_progress: 5\n", b"x openjd_fail: y\n", b"50%\ropenjd_progress: 5\n", b"OPENJD_STATUS: x\n"]
)
def test_a_report_stands_at_the_beginning_of_a_line(reading: Reading, line: bytes):
    """The word anywhere else in a line makes no report, and the line is shown."""
    reports = reading.look(line)
    assert (reports.progress, reports.status, reports.failure, len(reports.lines)) == (None, None, None, 1)


def test_a_flood_is_counted_not_shown(reading: Reading):
    """Of very many lines the first few are shown, the rest is counted, and reports among them are still heard."""
    flood = b"".join(b"line %d\n" % number for number in range(50_000))
    reports = reading.look(b"openjd_progress: 1\n" + flood + b"openjd_progress: 99\n" + flood)
    assert (len(reports.lines), reports.skipped, reports.progress) == (20, 99_980, 99)
    assert (reports.lines[0], reports.lines[-1]) == ("line 0", "line 19")


def test_a_flood_of_reports_hides_no_line(reading: Reading):
    """Lines between thousands of reports are shown as if the reports were not there."""
    reports = reading.look(b"".join(b"openjd_progress: %d\n" % (n % 100) for n in range(5000)) + b"here\n")
    assert (reports.lines, reports.skipped, reports.progress) == (("here",), 0, 99)


@pytest.mark.parametrize("megabytes", [1, 2, 5])
def test_an_endless_line_is_read_on(reading: Reading, megabytes: int):
    """A line of megabytes is one line; what it holds is never taken for a report, and the next line is."""
    size = megabytes << 20
    assert Reports() == reading.look(b"x" * (size - 5))
    assert Reports() == reading.look(b"openjd_fail: not a report")
    reports = reading.look(b"\nopenjd_status: alive\n")
    assert (reports.failure, reports.status, len(reports.lines) + reports.skipped) == (None, "alive", 1)


def test_an_endless_line_is_not_kept(reading: Reading):
    """However long a line is, at most a few megabytes of it are held."""
    for _ in range(16):
        reading.look(b"x" * (1 << 20))
    assert len(reading.log._rest) <= 2 << 20


def test_a_long_report_is_shortened(reading: Reading):
    """A text of a megabyte does not become an event of a megabyte."""
    reports = reading.look(b"openjd_status: " + b"s" * 500_000 + b"\n" + b"p" * 500_000 + b"\n")
    assert (len(reports.status), len(reports.lines[0])) == (500, 500)


def test_blanks_in_a_report_do_not_stop_the_clock(reading: Reading):
    """A report with a very long run of blanks is read in a moment: a module must not be able to hold up its runner."""
    begun = time.monotonic()
    reading.look(b"openjd_status: a" + b" " * 30_000 + b"b\n")
    assert time.monotonic() - begun < 0.5


@pytest.fixture
def tail(tmp_path: Path) -> Callable[[bytes], tuple[str, ...]]:
    """Give a function that tells the tail of a log of given content."""

    def of(data: bytes) -> tuple[str, ...]:
        (tmp_path / "2.log").write_bytes(data)
        return module_log.tail(tmp_path / "2.log")

    return of


def test_a_tail_is_the_last_lines_without_reports(tail):
    """The last twenty lines that say something, oldest first, without blank lines and reports."""
    lines = [b"line %d\n\nopenjd_progress: %d\n" % (number, number) for number in range(40)]
    assert tuple(f"line {number}" for number in range(20, 40)) == tail(b"".join(lines) + b"openjd_fail: x\n")


def test_a_tail_of_a_huge_log_is_small(tail):
    """Of a log of megabytes only whole lines at its end are read, each of at most 500 characters."""
    found = tail(b"y" * (3 << 20) + b"\nlast \xff\n" + b"z" * 600)
    assert found == ("last \ufffd", "z" * 500)


def test_no_log_has_no_tail(tmp_path: Path, tail):
    """A log that is missing or empty has no last lines."""
    assert module_log.tail(tmp_path / "missing.log") == ()
    assert tail(b"") == ()
