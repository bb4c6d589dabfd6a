"""A list of jobs that is asked for again and again, and what changed in it."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from jobapi.v1 import job_pb2

from jobctl.errors import JobctlError, NotFoundError
from jobctl.exit_codes import ExitCode
from jobctl.list_display import Change, ListDisplay
from jobctl.patience import Outage, Patience

_EVERY_SECONDS = 1.0
_News = tuple[int, int, str, str]


@dataclass(slots=True, kw_only=True)
class JobList:
    """Knows the jobs of a list as they were when it was last asked for."""

    fetch: Callable[[], Iterable[job_pb2.Job]]
    """Asks for the list, newest first; raises this package's errors."""
    look: Callable[[str], job_pb2.Job]
    """Asks for one job by its id."""
    jobs: Sequence[job_pb2.Job] = ()
    """The jobs, newest first."""
    asked: bool = False
    """Whether the daemon has answered once."""
    _known: dict[str, job_pb2.Job] = field(default_factory=dict, init=False)

    def refresh(self) -> list[Change]:
        """Ask again and give what changed, older jobs first: at first every job."""
        jobs = list(self.fetch())
        present = {job.id: job for job in jobs}
        left = [self._look_after(job) for job_id, job in self._known.items() if job_id not in present]
        changed = [
            Change(job=job)
            for job in reversed(jobs)
            if job.id not in self._known or _news(job) != _news(self._known[job.id])
        ]
        self.jobs, self._known, self.asked = jobs, present, True
        return [*(change for change in left if change), *changed]

    def _look_after(self, job: job_pb2.Job) -> Change | None:
        """Find out whether a job that is no longer listed is gone, is no longer asked for, or made room for others."""
        try:
            found = self.look(job.id)
        except NotFoundError:
            return Change(job=job, deleted=True)
        return None if _news(found) == _news(job) else Change(job=found)


def follow_list(jobs: JobList, display: ListDisplay, *, every: float = _EVERY_SECONDS) -> ExitCode:
    """Show the list and its changes until Ctrl-C; a daemon that restarts meanwhile is waited for."""
    outage = Outage(Patience())
    try:
        with display:
            while True:
                try:
                    changes = jobs.refresh()
                except JobctlError as error:
                    if not (jobs.asked and error.transient):
                        raise
                    display.show_outage(error)
                    time.sleep(outage.delay(error))
                    continue
                outage.end()
                display.show(jobs.jobs, changes)
                time.sleep(every)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


def _news(job: job_pb2.Job) -> _News:
    """Give what a person would call a change of a job."""
    return (int(job.state), job.ended_entry_count, job.reason, job.failure.message)
