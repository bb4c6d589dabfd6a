"""A list of jobs that is fetched page by page."""

from collections import deque
from dataclasses import dataclass, field

from jobapi.v1 import job_pb2, job_service_pb2

from jobctl.talk import Talk, ask

_PAGE = 200


@dataclass(slots=True)
class JobPages:
    """The jobs of a list, fetched page by page."""

    request: job_service_pb2.ListRequest
    """Which jobs are asked for."""
    left: int | None
    """How many are still to be given; None for all."""
    _jobs: deque[job_pb2.Job] = field(default_factory=deque)
    _more: bool = True

    def next(self) -> Talk[job_pb2.Job | None]:
        """Fetch the next job; None when there is no more."""
        while self._more and not self._jobs and self.left != 0:
            self.request.page_size = _PAGE if self.left is None else min(self.left, _PAGE)
            answer = yield from ask(lambda to: to.jobs.List, self.request)
            self._jobs.extend(answer.jobs if self.left is None else answer.jobs[: self.left])
            self.left = None if self.left is None else max(0, self.left - len(answer.jobs))
            self.request.page_token = answer.next_page_token
            self._more = bool(answer.next_page_token)
        return self._jobs.popleft() if self._jobs else None
