"""Reading what a machine has to give."""

import os

import pytest

from jobd.capacity import parse_capacity
from jobd.plan import Capacity

OWN = float(len(os.sched_getaffinity(0)))


@pytest.mark.parametrize(
    ("text", "capacity"),
    [
        ("", Capacity(cpus=OWN)),
        ("cpus=4", Capacity(cpus=4)),
        ("cpus=0.5", Capacity(cpus=0.5)),
        ("memory=8GiB", Capacity(cpus=OWN, memory=8 << 30)),
        (" cpus = 4 , memory = 512 MiB , ", Capacity(cpus=4, memory=512 << 20)),
        ("cpus=4,gpus=1,licences=2", Capacity(cpus=4, gpus=1, counters={"licences": 2})),
        ("memory=8589934592", Capacity(cpus=OWN, memory=8 << 30)),
        ("tape-drives=0", Capacity(cpus=OWN, counters={"tape-drives": 0})),
    ],
)
def test_a_capacity_is_read(text: str, capacity: Capacity):
    """What is named is taken, what is not is this machine's cpus, any memory and none of the rest."""
    assert capacity == parse_capacity(text)


@pytest.mark.parametrize(
    "text",
    [
        "cpus",
        "cpus=",
        "=4",
        "cpus=many",
        "cpus=0",
        "cpus=-1",
        "cpus=inf",
        "cpus=nan",
        "licences=-1",
        "memory=lots",
        "memory=-1",
        "cpus:4",
        "gpus=1.5",
    ],
)
def test_a_capacity_that_makes_no_sense_is_refused(text: str):
    """What cannot be read, or could not be meant, is an error instead of a guess."""
    with pytest.raises(ValueError, match=r"\S"):
        parse_capacity(text)
