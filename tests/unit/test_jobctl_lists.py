"""What a watched list tells of its changes."""

from jobapi.v1 import job_pb2
from jobctl.batch import choose_worst
from jobctl.errors import JobNotFoundError
from jobctl.exit_codes import ExitCode
from jobctl.job_list import JobList
from jobctl.list_display import Change, format_change

HOSTILE = "a\x1b[2J\u202eb"
SAFE = r"a\x1b[2J\u202eb"


class Jobs:
    """A daemon's jobs, of which the newest few are listed."""

    def __init__(self, **states):
        self.jobs = {name: job_pb2.Job(id=name, name="demo", state=state) for name, state in states.items()}
        self.window = 50
        self.hidden = set()

    def fetch(self):
        """Give the listed ones, newest first."""
        listed = [self.copy(name) for name in reversed(self.jobs) if name not in self.hidden]
        return listed[: self.window]

    def look(self, name):
        """Give one of all."""
        if name not in self.jobs:
            raise JobNotFoundError
        return self.copy(name)

    def copy(self, name):
        """Give a job as it is now."""
        job = job_pb2.Job()
        job.CopyFrom(self.jobs[name])
        return job


def tell(changes):
    """Give what changed, in short."""
    return [(change.job.id, "deleted" if change.deleted else int(change.job.state)) for change in changes]


def test_only_changes_are_told_older_jobs_first():
    """At first every job is told; then those that are new or not as they were, each once."""
    jobs = Jobs(a=4, b=2)
    listed = JobList(fetch=jobs.fetch, look=jobs.look)

    assert tell(listed.refresh()) == [("a", 4), ("b", 2)]
    assert tell(listed.refresh()) == []
    jobs.jobs["b"].ended_entry_count = 1
    jobs.jobs["c"] = job_pb2.Job(id="c", state=1)
    assert tell(listed.refresh()) == [("b", 2), ("c", 1)]
    assert [job.id for job in listed.jobs] == ["c", "b", "a"]


def test_what_leaves_the_list_is_told_when_something_happened_to_it():
    """A job that is gone, or no longer in the state asked for, is told; one that made room for others is not."""
    jobs = Jobs(a=2, b=2, c=2)
    listed = JobList(fetch=jobs.fetch, look=jobs.look)
    listed.refresh()

    jobs.window = 2
    assert tell(listed.refresh()) == []
    jobs.jobs["b"].state = 4
    jobs.hidden.add("b")
    assert [item for item in tell(listed.refresh()) if item[0] == "b"] == [("b", 4)]
    del jobs.jobs["c"]
    assert tell(listed.refresh()) == [("c", "deleted")]
    assert tell(listed.refresh()) == []


def test_a_change_is_one_safe_line():
    """The line has the id, state, entries, name and reason, with nothing that moves a cursor."""
    job = job_pb2.Job(id="j1", name=HOSTILE, state=1, reason=HOSTILE, entry_count=3)

    assert format_change(Change(job=job)).partition("  ")[2] == f"j1  QUEUED      0/3  {SAFE}  {SAFE}"
    assert "DELETED" in format_change(Change(job=job, deleted=True))


def test_the_worst_end_of_several_jobs_counts():
    """A failed job is worse than a cancelled one, which is worse than one that succeeded."""
    good, bad, ended = ExitCode.SUCCEEDED, ExitCode.FAILED, ExitCode.CANCELLED

    assert [good, good, ended, bad, bad] == [
        choose_worst(codes) for codes in ([], [good], [good, ended, good], [ended, bad], [bad, ended, good])
    ]
