"""The two tables of moves hold exactly the moves that the design names, and nothing follows an end."""

import itertools

import pytest

from jobd.errors import IllegalTransitionError
from jobd.states import (
    ENTRY_MOVES,
    JOB_MOVES,
    LIVE_JOB_STATES,
    TERMINAL_ENTRY_STATES,
    TERMINAL_JOB_STATES,
    EntryState,
    JobState,
    check_entry_move,
    check_job_move,
)

LEGAL_JOB_MOVES = {
    ("queued", "running"),
    ("queued", "cancelling"),
    ("queued", "failed"),
    ("running", "cancelling"),
    ("running", "succeeded"),
    ("running", "failed"),
    ("cancelling", "cancelled"),
    ("cancelling", "succeeded"),
    ("cancelling", "failed"),
}

LEGAL_ENTRY_MOVES = {
    ("pending", "waiting"),
    ("pending", "skipped"),
    ("pending", "succeeded"),
    ("waiting", "running"),
    ("waiting", "retrying"),
    ("waiting", "failed"),
    ("waiting", "cancelled"),
    ("waiting", "skipped"),
    ("waiting", "pending"),
    ("running", "succeeded"),
    ("running", "failed"),
    ("running", "cancelled"),
    ("running", "retrying"),
    ("running", "pending"),
    ("retrying", "waiting"),
    ("retrying", "failed"),
    ("retrying", "cancelled"),
    ("retrying", "pending"),
}


@pytest.mark.parametrize(("old", "new"), [*itertools.product(JobState, JobState)])
def test_a_job_makes_a_move_only_if_it_is_legal(old: JobState, new: JobState):
    """Every pair of job states is allowed or refused as the list above says."""
    if (old.value, new.value) in LEGAL_JOB_MOVES:
        check_job_move(old, new)
    else:
        with pytest.raises(IllegalTransitionError, match=f"{old} cannot become {new}"):
            check_job_move(old, new)


@pytest.mark.parametrize(("old", "new"), [*itertools.product(EntryState, EntryState)])
def test_an_entry_makes_a_move_only_if_it_is_legal(old: EntryState, new: EntryState):
    """Every pair of entry states is allowed or refused as the list above says."""
    if (old.value, new.value) in LEGAL_ENTRY_MOVES:
        check_entry_move(old, new)
    else:
        with pytest.raises(IllegalTransitionError, match=f"{old} cannot become {new}"):
            check_entry_move(old, new)


def test_every_state_has_a_row():
    """A new state cannot be forgotten in the tables."""
    assert set(JOB_MOVES) == set(JobState)
    assert set(ENTRY_MOVES) == set(EntryState)


def test_terminal_states_are_the_ones_users_know():
    """Exactly the documented states are ends, and the others are live."""
    assert {"succeeded", "failed", "cancelled"} == TERMINAL_JOB_STATES
    assert {"succeeded", "failed", "cancelled", "skipped"} == TERMINAL_ENTRY_STATES
    assert {"queued", "running", "cancelling"} == LIVE_JOB_STATES


def test_every_state_can_be_left_for_an_end():
    """From every live state an end can be reached, so that no job or entry can be stuck by the tables."""
    for table, ends in ((JOB_MOVES, TERMINAL_JOB_STATES), (ENTRY_MOVES, TERMINAL_ENTRY_STATES)):
        for start in table:
            reached, found = {start}, {start}
            while found:
                found = {new for old in found for new in table[old]} - reached
                reached |= found
            assert reached & ends
