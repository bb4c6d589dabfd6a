"""How much callers may have at once, and how many denials are written down."""

import pytest

from jobd.call_limits import CallLimits, Seats, check_labels, check_request_id, list_limits
from jobd.denials import DenialGate
from jobd.errors import InvalidRequestError, LimitExceededError, TooManyError


def test_seats_are_counted_in_all_and_for_each_caller():
    """One caller cannot take every place, and all together cannot take more than there are."""
    seats = Seats("streams", most=3, most_per_caller=2)
    with seats.take("a"), seats.take("a"):
        with pytest.raises(TooManyError, match="a has too many streams") as caught, seats.take("a"):
            pass
        assert (caught.value.limit, caught.value.value) == ("streams_per_caller", 2)
        with seats.take("b"):
            with pytest.raises(TooManyError, match="the daemon has too many") as caught, seats.take("c"):
                pass
            assert (caught.value.limit, caught.value.value) == ("streams", 3)
        with seats.take("c"):
            assert seats.taken == 3
    assert seats.taken == 0


def test_a_seat_is_given_back_after_an_error():
    """However a call ends, its place is free again."""
    seats = Seats("uploads", most=1, most_per_caller=1)
    with pytest.raises(ZeroDivisionError), seats.take("a"):
        raise ZeroDivisionError
    with seats.take("a"):
        assert seats.taken == 1


def test_each_limit_is_named_once():
    """Clients look limits up by their names."""
    limits = list_limits(CallLimits(max_queued=7))
    names = [limit.name for limit in limits]
    assert len(names) == len(set(names))
    assert {limit.value for limit in limits if limit.name == "queued"} == {7}
    assert all(limit.value > 0 and limit.unit for limit in limits)


def test_what_a_request_may_hold_is_bounded():
    """What is too long is refused with the limit's name and value; what is just as long as allowed is taken."""
    check_request_id("x" * 128)
    check_labels({str(number): "x" * 255 for number in range(64)})
    for check, given, limit in (
        (check_request_id, "x" * 129, ("request_id", 128)),
        (check_labels, {str(number): "" for number in range(65)}, ("labels", 64)),
        (check_labels, {"a": "é" * 128}, ("label", 255)),
        (check_labels, {"é" * 128: ""}, ("label", 255)),
    ):
        with pytest.raises(LimitExceededError) as caught:
            check(given)
        assert (caught.value.limit, caught.value.value) == limit
        assert not isinstance(caught.value, TooManyError)


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "\x1b[2J", "\u202e"])
def test_the_name_of_a_label_is_a_visible_line(name: str):
    """A name that could disturb a terminal or a log is refused."""
    with pytest.raises(InvalidRequestError, match="name of a label"):
        check_labels({name: "x"})


def test_a_flood_of_denials_is_counted_and_not_written():
    """A source has a burst, then a trickle; the next line that is written tells how many were left out."""
    now = [0.0]
    gate = DenialGate(burst=3, rate=1.0, burst_in_all=100, now=lambda: now[0])
    assert [gate.enter("ipv4:10.0.0.1:5") for _ in range(5)] == [0, 0, 0, None, None]
    now[0] = 1.0
    assert gate.enter("ipv4:10.0.0.1:6") == 2
    assert gate.enter("ipv4:10.0.0.1:7") is None


def test_a_flood_does_not_hide_others():
    """The ports of one host share its burst; another host has its own."""
    gate = DenialGate(burst=2, rate=0.0, burst_in_all=100, now=lambda: 0.0)
    flood = [gate.enter(f"ipv4:10.0.0.1:{port}") for port in range(50)]
    assert flood.count(None) == 48
    assert gate.enter("ipv4:10.0.0.2:1") == 48
    assert gate.enter("ipv6:[::1]:1") == 0


def test_many_sources_together_are_bounded():
    """A flood from everywhere is written down no faster than the bound for all, and remembered in bounded memory."""
    gate = DenialGate(burst=5, rate=0.0, burst_in_all=10, rate_in_all=0.0, now=lambda: 0.0)
    written = [gate.enter(f"ipv4:10.{n >> 8}.{n & 255}.1:1") for n in range(5000)]
    assert len(written) - written.count(None) == 10
    assert len(gate._sources) <= 1024
