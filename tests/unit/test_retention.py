"""What retention decides, from what is known of ended jobs."""

from typing import Any

import pytest

from jobd.retention import EndedJob, Removal, RemovalKind, RetentionPolicy, plan_removals
from jobd.states import JobState

DAY = 86400.0
NOW = 1000 * DAY
UNBOUND = RetentionPolicy(keep_jobs=None, most_jobs=None, most_bytes=None, keep_failed=None, keep_logs=None)


def ended(name: str, days: float, state: JobState = JobState.FAILED, **rest: Any) -> EndedJob:
    """Describe a job that ended so many days ago."""
    return EndedJob(id=name, state=state, ended=NOW - days * DAY, **rest)


def decide(*jobs: EndedJob, **bounds: Any) -> list[tuple[str, str]]:
    """Decide under these bounds and no other, and give what goes in order."""
    policy = RetentionPolicy(**{name: getattr(UNBOUND, name) for name in _BOUNDS} | bounds)
    return [(removal.kind.value, removal.job_id) for removal in plan_removals(jobs, policy, NOW)]


_BOUNDS = ("keep_jobs", "most_jobs", "most_bytes", "keep_failed", "keep_logs")


def test_without_a_bound_everything_stays():
    """A policy that bounds nothing removes nothing, whatever the age and the size."""
    job = ended("old", 999, private=("a",), has_logs=True, size_bytes=1 << 50)
    assert decide(job) == []


def test_a_job_goes_after_its_time_and_not_before():
    """A job goes whole when it ended longer ago than jobs are kept; one exactly at the bound stays."""
    assert decide(ended("a", 31), ended("b", 30), ended("c", 29), keep_jobs=30 * DAY) == [("job", "a")]


@pytest.mark.parametrize(("most", "gone"), [(3, []), (2, ["old"]), (1, ["old", "mid"]), (0, ["old", "mid", "new"])])
def test_beyond_a_number_the_oldest_go_first(most: int, gone: list[str]):
    """Of more jobs than are kept the oldest go, in the order of their end and not of the list."""
    jobs = (ended("new", 1), ended("old", 3), ended("mid", 2))
    assert decide(*jobs, most_jobs=most) == [("job", name) for name in gone]


@pytest.mark.parametrize(("most", "gone"), [(60, []), (59, ["old"]), (50, ["old"]), (49, ["old", "mid"]), (0, None)])
def test_beyond_a_size_the_oldest_go_first(most: int, gone: list[str] | None):
    """As many of the oldest go as bring the rest below the size, and no more."""
    jobs = (ended("new", 1, size_bytes=20), ended("old", 3, size_bytes=10), ended("mid", 2, size_bytes=30))
    expected = ["old", "mid", "new"] if gone is None else gone
    assert decide(*jobs, most_bytes=most) == [("job", name) for name in expected]


def test_jobs_that_go_for_their_age_count_no_more():
    """What goes for its age is neither counted nor measured for the other bounds, and goes once."""
    jobs = (ended("old", 40, size_bytes=100), ended("mid", 2, size_bytes=5), ended("new", 1, size_bytes=5))
    assert decide(*jobs, keep_jobs=30 * DAY, most_jobs=2, most_bytes=10) == [("job", "old")]


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELLED])
def test_a_failed_job_keeps_its_artifacts_for_a_retry(state: JobState):
    """What is not public of a job that failed or was cancelled stays for the stated time, then goes with a reason."""
    young, old = ended("young", 7, state, private=("a", "b")), ended("old", 7.1, state, private=("a", "b"))
    removals = plan_removals([young, old], RetentionPolicy(), NOW)
    expected = "the job ended more than 7 days ago and it is not public"
    assert removals == (Removal(kind=RemovalKind.ARTIFACTS, job_id="old", reason=expected, names=("a", "b")),)


def test_a_job_that_succeeded_keeps_nothing_that_is_not_public():
    """What its runner did not come to remove goes at once."""
    assert decide(ended("a", 0.1, JobState.SUCCEEDED, private=("a",))) == [("artifacts", "a")]


def test_logs_have_a_time_of_their_own():
    """Logs go after their time while the job stays, and not twice."""
    jobs = (ended("a", 11, has_logs=True), ended("b", 11), ended("c", 9, has_logs=True))
    assert decide(*jobs, keep_jobs=30 * DAY, keep_logs=10 * DAY) == [("logs", "a")]


def test_a_job_that_goes_whole_goes_only_whole():
    """No part of it is removed by itself as well."""
    job = ended("a", 99, private=("a",), has_logs=True)
    assert decide(job, keep_jobs=DAY, keep_failed=DAY, keep_logs=DAY) == [("job", "a")]


def test_a_clock_that_was_set_back_removes_nothing():
    """A job that ended in the future is young."""
    assert decide(ended("a", -400, private=("a",), has_logs=True), keep_jobs=DAY, keep_failed=DAY, keep_logs=DAY) == []
