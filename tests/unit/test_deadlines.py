"""The clocks of an attempt: the time in all, and the time without output."""

import pytest

from jobd.deadlines import Deadlines


class Clock:
    """A clock that a test turns."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Give a clock that stands at 100."""
    return Clock()


def test_without_bounds_no_time_passes(clock: Clock):
    """With neither a timeout nor a silence limit nothing ever runs out, and a wait is as long as is asked."""
    deadlines = Deadlines(timeout=None, silence=None, clock=clock)
    clock.now += 1e9
    assert (deadlines.passed(), deadlines.left(0.25)) == ("", 0.25)


def test_a_timeout_runs_from_the_start(clock: Clock):
    """Output does not prolong it; a wait ends when it does, and is never negative."""
    deadlines = Deadlines(timeout=10, silence=None, clock=clock)
    clock.now += 9.9
    assert deadlines.hear(500) == 500
    assert deadlines.passed() == ""
    assert deadlines.left(0.25) == pytest.approx(0.1)
    clock.now += 0.1
    assert "timeout of 10 s" in deadlines.passed()
    clock.now += 5
    assert deadlines.left(0.25) == 0


def test_silence_runs_from_the_last_byte(clock: Clock):
    """Every new byte begins it anew; the same number of bytes as before does not."""
    deadlines = Deadlines(timeout=None, silence=10, clock=clock)
    clock.now += 9
    assert deadlines.hear(1) == 1
    clock.now += 9
    assert deadlines.passed() == ""
    assert deadlines.hear(1) == 0
    clock.now += 1
    assert "printed nothing for 10 s" in deadlines.passed()


def test_a_log_that_was_emptied_is_no_silence(clock: Clock):
    """A module that cuts its own log has been heard of."""
    deadlines = Deadlines(timeout=None, silence=10, clock=clock)
    deadlines.hear(100)
    clock.now += 9
    assert deadlines.hear(0) == -100
    clock.now += 9
    assert deadlines.passed() == ""


def test_the_first_clock_that_runs_out_is_told(clock: Clock):
    """Of a timeout and a silence limit the wait is for the nearer one, and that one is the reason."""
    deadlines = Deadlines(timeout=60, silence=10, clock=clock)
    assert deadlines.left(100) == 10
    clock.now += 10
    assert "silent" in deadlines.passed()
    deadlines.hear(1)
    clock.now += 50
    assert "timeout" in deadlines.passed()
