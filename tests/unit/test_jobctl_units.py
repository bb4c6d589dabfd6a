"""Sizes and times as people read them."""

import pytest
from jobctl.units import format_duration, format_estimate, format_size


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (230 << 20, "230 MiB"), (5 << 40, "5.0 TiB")]
)
def test_sizes_are_read_by_people(size, text):
    """Sizes have a unit and few digits."""
    assert text == format_size(size)


@pytest.mark.parametrize(("seconds", "text"), [(-1, "0.0 s"), (4.23, "4.2 s"), (75, "1:15"), (3725, "1:02:05")])
def test_durations_are_read_by_people(seconds, text):
    """Durations are short; a clock that is behind gives nothing negative."""
    assert text == format_duration(seconds)


@pytest.mark.parametrize(("seconds", "text"), [(1.2, "1 s"), (59.4, "59 s"), (59.6, "1:00"), (3725, "1:02:05")])
def test_estimates_do_not_pretend(seconds, text):
    """An estimate has no tenths."""
    assert text == format_estimate(seconds)
