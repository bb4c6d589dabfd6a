"""What is kept in memory of jobs that have not ended: each job as it is now, and how many there are in each state."""

import random
from dataclasses import replace

from jobd.jobs import Job
from jobd.live_jobs import Live, LiveJobs
from jobd.states import LIVE_JOB_STATES, JobState


def job(number: int, state: JobState) -> Job:
    """Give a job."""
    return Job(id=f"job{number}", name="example", version="1", state=state)


def test_jobs_are_counted_by_their_states_through_any_changes():
    """After 2,000 random changes the counts and the order are those that a search through all jobs finds."""
    chance, known = random.Random(5), dict[int, Live]()
    jobs = LiveJobs([])
    for _ in range(2000):
        number = chance.randrange(50)
        live = Live(number, job(number, chance.choice(list(JobState))))
        jobs.put(live)
        known.pop(number, None)
        if not live.job.terminal:
            known[number] = live
        assert jobs.get(f"job{number}") == known.get(number)
    assert known
    for state in LIVE_JOB_STATES:
        assert jobs.count(state) == sum(live.job.state is state for live in known.values())
    assert jobs.all() == [known[number] for number in sorted(known)]


def test_a_job_that_changes_is_counted_once():
    """A job that moves from the queue to a runner and to its end is in one count at a time, and then in none."""
    queued = job(1, JobState.QUEUED)
    jobs = LiveJobs([Live(1, queued)])
    assert (jobs.count(JobState.QUEUED), jobs.count(JobState.RUNNING)) == (1, 0)
    jobs.put(Live(1, replace(queued, state=JobState.RUNNING)))
    assert (jobs.count(JobState.QUEUED), jobs.count(JobState.RUNNING)) == (0, 1)
    jobs.put(Live(1, replace(queued, state=JobState.SUCCEEDED)))
    assert (jobs.count(JobState.QUEUED), jobs.count(JobState.RUNNING), jobs.get("job1")) == (0, 0, None)
