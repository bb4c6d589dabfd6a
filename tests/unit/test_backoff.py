"""The wait between attempts: doubling, bounded, and never the same for all."""

import pytest

from jobd.backoff import delay_before


@pytest.mark.parametrize(
    ("failures", "most"), [(1, 1.0), (2, 2.0), (3, 4.0), (6, 32.0), (7, 60.0), (50, 60.0), (1000, 60.0)]
)
def test_a_delay_is_between_half_and_all_of_its_bound(failures: int, most: float):
    """After each number of failures the wait lies within its bounds, and differs from time to time."""
    delays = [delay_before(failures) for _ in range(200)]
    assert most / 2 <= min(delays)
    assert max(delays) <= most
    assert len(set(delays)) > 100


def test_the_bounds_can_be_chosen():
    """The first and the longest wait are the caller's."""
    assert all(0.05 <= delay_before(1, first=0.1, most=0.2) <= 0.1 for _ in range(50))
    assert all(0.1 <= delay_before(9, first=0.1, most=0.2) <= 0.2 for _ in range(50))
