"""A module that means harm: it changes what it has handed over."""

import pytest

from jobd.attempt import Succeeded

pytestmark = pytest.mark.timeout(120)


def test_one_that_changes_its_output_afterwards_is_ended_before(awkward):
    """What is published is what is there later: whoever still writes to it is killed before it is looked at."""
    outcome = awkward.run("writes_after_its_end.py", outputs=["out"])
    assert isinstance(outcome, Succeeded), outcome
    published = outcome.outputs["out"]
    data = (awkward.directory.artifacts / "out").read_bytes()
    assert data.startswith(b"made\n")
    assert len(data) == published.size_bytes
