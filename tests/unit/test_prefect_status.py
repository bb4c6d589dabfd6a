"""Whether Prefect can be used, why not, and since when: one outage has one beginning, however its reasons change."""

import math

import pytest

from jobd import prefect_status
from jobd.prefect_status import Readiness


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """Give the time, to be set on."""
    now = [1000.0]
    monkeypatch.setattr(prefect_status.time, "monotonic", lambda: now[0])
    return now


def test_an_outage_begins_once(clock):
    """Another reason has an age of its own, but the outage is as old as its first one; an answer ends it."""
    readiness = Readiness("it is starting")
    clock[0] += 10
    readiness.say("it does not answer")
    clock[0] += 5
    assert readiness.status.reason == "it does not answer (5 s)"
    assert readiness.status.away_since == 1000.0
    readiness.answer()
    assert readiness.status.away_since == math.inf
    clock[0] += 100
    readiness.say("it does not answer")
    clock[0] += 1
    readiness.say("it does not answer")
    assert (readiness.status.away_since, readiness.status.reason) == (1115.0, "it does not answer (1 s)")
