"""One runner's work on one job: it drives the steps, runs the entries and writes down what happens.

It knows neither Prefect nor threads of its own: an engine (jobd.flow, jobd.plain) calls `drive` and, for every entry of
a step, `run_entry`, from as many threads as it likes. `drive` may be called again by another engine if one breaks down:
what has ended stays ended.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import monotonic, time
from typing import Protocol

from jobd import events
from jobd.artifact_uses import ArtifactUses
from jobd.artifacts import ArtifactStore
from jobd.attempt import Attempt, Cancelled, Failed, Succeeded
from jobd.attempt_run import run_attempt
from jobd.backoff import delay_before
from jobd.errors import JobdError
from jobd.events import Failure, FailureKind, JobEvent, Occurrence
from jobd.failpoints import failpoint
from jobd.journal import Journal
from jobd.layout import JobDirectory
from jobd.link import Link
from jobd.messages import Assignment
from jobd.plan import Plan, PlanEntry, PlanStep
from jobd.states import EntryState, JobState
from jobd.warm_hosts import WarmHosts

log = logging.getLogger("jobd.runner")

Key = tuple[str, str]

_CANCEL_SECONDS = 2.0
"""How long, at least, a job that is cancelled before it has begun may still begin, so that its flow run ends as it
does."""


class Doorbell(Protocol):
    """Tells the daemon that the journal has grown."""

    def __call__(self) -> None:
        """Ring, without waiting; nobody may be there."""


class TooLateError(JobdError):
    """The job has begun with another engine."""

    reason = "TOO_LATE"


@dataclass(frozen=True, slots=True)
class _Stop:
    """Why nothing more is started."""

    state: JobState
    reason: str
    failure: Failure | None = None


class JobRun:
    """The work on one job."""

    def __init__(
        self,
        *,
        plan: Plan,
        assignment: Assignment,
        directory: JobDirectory,
        journal: Journal,
        link: Link,
        ring: Doorbell,
        clear: Callable[[], object] = lambda: None,
        hosts: WarmHosts | None = None,
        past: Iterable[JobEvent] = (),
    ) -> None:
        """Take over where `assignment` says that earlier runners stopped; `past` is what they have written down.

        `clear` is called before the terminal event, to end whatever entries have left in spite of all.
        """
        self.plan = plan
        self.job_id = assignment.job_id
        self._containment = assignment.containment
        self.cpus = assignment.cpus
        self.artifacts = ArtifactStore(directory.artifacts)
        self._directory = directory
        self._journal = journal
        self._link = link
        self._ring = ring
        self._clear = clear
        self._hosts = hosts
        self._lock = threading.Lock()
        self._stop: _Stop | None = None
        self._open: set[str] = set()
        past = tuple(past)
        self._succeeded = {event.step for event in past if isinstance(event, events.StepSucceeded)}
        self._failures = Counter((event.step, event.entry) for event in past if isinstance(event, events.EntryRetrying))
        self._begun = threading.Event()
        self.at_work = threading.Event()
        """Set when the first module has started, or none will."""
        self._verdict: JobState | None = None
        self._ended: dict[Key, EntryState] = dict.fromkeys(assignment.finished, EntryState.SUCCEEDED)
        self._ended |= {(step, entry): state for step, entry, state in assignment.ended}
        if assignment.ended:
            # An earlier runner had begun to end the job as failed, and this one ends it so.
            failure = assignment.failure or _unknown("its runner died while it ended the job")
            where = f"{failure.step}/{failure.entry} failed: " if failure.entry else ""
            self._stop = _Stop(JobState.FAILED, where + failure.message, failure)
        self._attempts: dict[Key, int] = {(step, entry): count for step, entry, count in assignment.attempts}
        self._started = assignment.started
        self._uses = ArtifactUses(plan, present=assignment.present, ended=self._ended.keys())

    @property
    def verdict(self) -> JobState | None:
        """The terminal state that was written down; None before."""
        return self._verdict

    @property
    def verdict_message(self) -> str:
        """One sentence on how the job ended."""
        return self._stop.reason if self._stop else "every entry succeeded"

    def prepare(self) -> None:
        """Ask ahead for what the first entry will need, while the engine is chosen."""
        todo = (entry for step in self.plan.steps for entry in step.entries if not self.finished(entry))
        if (first := next(todo, None)) is not None and not self._stopped():
            self._link.want(f"{first.step}/{first.name}", first.resources)

    def finished(self, entry: PlanEntry) -> bool:
        """Tell whether an entry has ended, under this runner or an earlier one."""
        return (entry.step, entry.name) in self._ended

    def begin(self, flow_run_id: str) -> None:
        """Write down that the job's flow run has begun; TooLateError when another engine was given the job."""
        if not self._begin(flow_run_id):
            raise TooLateError(f"job {self.job_id} has begun without this flow run")

    def begin_without_flow(self) -> bool:
        """Write down that the job has begun without Prefect, unless it has begun; tell whether it was so."""
        return self._begin("")

    def _begin(self, flow_run_id: str) -> bool:
        with self._lock:
            if self._begun.is_set():
                return False
            self._begun.set()
        self._record(events.JobStarted(flow_run_id=flow_run_id))
        return True

    def drive(self, run_step: Callable[[PlanStep], None]) -> JobState:
        """Take the job through its steps to its end; `run_step` calls run_entry for every entry of a step."""
        self.begin_without_flow()
        timer = self._arm_timeout()
        self._remove_unneeded(artifact.name for artifact in self.plan.artifacts if artifact.consumers)
        for step in self.plan.steps:
            if self._stopped() or not self._open_step(step):
                break
            run_step(step)
            if step.name not in self._succeeded and self._has_succeeded(step):
                self._succeeded.add(step.name)
                self._record(events.StepSucceeded(step=step.name))
        if timer is not None:
            timer.cancel()
        return self._finish()

    def _has_succeeded(self, step: PlanStep) -> bool:
        return all(self._ended.get((step.name, entry.name)) is EntryState.SUCCEEDED for entry in step.entries)

    def wait_begun(self, seconds: float) -> bool:
        """Wait until the job has begun, its cancel is a while old, or the time is up; tell whether it has begun."""
        deadline = monotonic() + seconds
        while not self._begun.wait(max(0.0, min(_CANCEL_SECONDS, deadline - monotonic()))):
            if self._link.cancel_reason is not None:
                return self._begun.wait(_CANCEL_SECONDS)
            if monotonic() >= deadline:
                return False
        return True

    def run_entry(self, entry: PlanEntry, show: Callable[[str], None]) -> tuple[EntryState, str]:
        """Bring one entry to its end; give its terminal state and a sentence on it. `show` gets lines of its log."""
        key = (entry.step, entry.name)
        if key in self._ended:
            return self._ended[key], "it had ended under an earlier runner"
        last: Failed | None = None
        while True:
            outcome = self._next_attempt(entry, show)
            if isinstance(outcome, Succeeded):
                return self._succeed_entry(entry, outcome)
            if not isinstance(outcome, Failed):
                return self._stop_entry(entry, outcome, last)
            last = outcome
            self._failures[key] += 1
            if self._failures[key] > entry.retries or not last.may_be_retried(entry) or self._stopped():
                return self._fail_entry(entry, last)
            self._pause(entry, last, self._failures[key])

    # -- entries -----------------------------------------------------------------------------------------------

    def _next_attempt(self, entry: PlanEntry, show: Callable[[str], None]) -> "Succeeded | Failed | Cancelled | None":
        key = f"{entry.step}/{entry.name}"
        if self._stopped():
            self._link.want_no_more(key)
            return None
        if (lease := self._link.acquire(key, entry.resources)) is None:
            return None
        try:
            if self._stopped():
                return None
            return run_attempt(self._attempt(entry, lease.gpus), show)
        finally:
            failpoint("entry.release")
            self._link.release(key)

    def _attempt(self, entry: PlanEntry, gpus: tuple[str, ...] | None) -> Attempt:
        key = (entry.step, entry.name)
        self._attempts[key] = number = self._attempts.get(key, 0) + 1
        return Attempt(
            job_id=self.job_id,
            entry=entry,
            number=number,
            directory=self._directory,
            artifacts=self.artifacts,
            record=self._record,
            wake_fd=self._link.wake_fd,
            stop_reason=self._stop_reason,
            gpus=gpus,
            hosts=self._hosts,
            containment=self._containment,
        )

    def _succeed_entry(self, entry: PlanEntry, outcome: Succeeded) -> tuple[EntryState, str]:
        number = self._attempts[entry.step, entry.name]
        published = [
            events.ArtifactPublished(name=name, size_bytes=stored.size_bytes, folder=stored.folder)
            for name, stored in outcome.outputs.items()
        ]
        succeeded = events.EntrySucceeded(step=entry.step, entry=entry.name, attempt=number, usage=outcome.usage)
        self._record(*published, succeeded, durable=True)
        self._uses.note_success(entry, outcome.outputs)
        self._mark_ended(entry, EntryState.SUCCEEDED)
        self._remove_unneeded(name for binding in entry.inputs for name in binding.artifacts)
        return EntryState.SUCCEEDED, f"attempt {number} succeeded"

    def _stop_entry(self, entry: PlanEntry, outcome: Cancelled | None, last: Failed | None) -> tuple[EntryState, str]:
        """End an entry that was cut short, or got no (further) attempt because the job stops."""
        self._note_cancel()
        stop = self._stop or _Stop(JobState.CANCELLED, "the job stops")
        if outcome is None and last is None:
            return self._skip_entry(entry, stop.reason)
        if outcome is None and last is not None and stop.state is JobState.FAILED:
            return self._fail_entry(entry, last)
        reason = outcome.reason if outcome else stop.reason
        usage = outcome.usage if outcome else None
        cancelled = events.EntryCancelled(step=entry.step, entry=entry.name, reason=reason, usage=usage)
        self._record(cancelled, durable=True)
        self._mark_ended(entry, EntryState.CANCELLED)
        return EntryState.CANCELLED, reason

    def _skip_entry(self, entry: PlanEntry, reason: str) -> tuple[EntryState, str]:
        self._record(events.EntrySkipped(step=entry.step, entry=entry.name, reason=reason))
        self._mark_ended(entry, EntryState.SKIPPED)
        return EntryState.SKIPPED, reason

    def _fail_entry(self, entry: PlanEntry, outcome: Failed) -> tuple[EntryState, str]:
        number = self._attempts[entry.step, entry.name]
        failed = events.EntryFailed(
            step=entry.step, entry=entry.name, attempt=number, failure=outcome.failure, usage=outcome.usage
        )
        self._record(failed, durable=True)
        self._mark_ended(entry, EntryState.FAILED)
        message = f"{entry.step}/{entry.name} failed: {outcome.failure.message}"
        self._stop_with(_Stop(JobState.FAILED, message, outcome.failure))
        return EntryState.FAILED, outcome.failure.message

    def _pause(self, entry: PlanEntry, outcome: Failed, failed: int) -> None:
        delay = delay_before(failed)
        number = self._attempts[entry.step, entry.name]
        self._record(
            events.EntryRetrying(
                step=entry.step,
                entry=entry.name,
                attempt=number,
                failure=outcome.failure,
                delay_seconds=delay,
                usage=outcome.usage,
            )
        )
        if not self._link.wait_cancelled(delay):
            self._record(events.EntryWaiting(step=entry.step, entry=entry.name))

    def _mark_ended(self, entry: PlanEntry, state: EntryState) -> None:
        with self._lock:
            self._ended[entry.step, entry.name] = state

    # -- artifacts ---------------------------------------------------------------------------------------------

    def _remove_unneeded(self, used: Iterable[str]) -> None:
        self._remove(self._uses.give_up_unneeded(used), "its last consumer has succeeded")

    def _remove(self, names: list[str], reason: str) -> None:
        removed = [name for name in names if self._is_removed(name)]
        failpoint("remove.removed")
        if removed:
            self._record(*(events.ArtifactRemoved(name=name, reason=reason) for name in removed))

    def _is_removed(self, name: str) -> bool:
        try:
            self.artifacts.remove(name)
        except OSError as error:
            # It stays, on disk and in the record: nothing that has succeeded fails of it.
            log.warning("artifact_not_removed name=%s error=%s", name, error)
            return False
        return True

    # -- the job -----------------------------------------------------------------------------------------------

    def _open_step(self, step: PlanStep) -> bool:
        todo = [entry for entry in step.entries if not self.finished(entry)]
        if step.name not in self._open and todo:
            waiting = (events.EntryWaiting(step=step.name, entry=entry.name) for entry in todo)
            self._record(events.StepStarted(step=step.name), *waiting)
            # The answers come while the engine makes ready for the entries. What is granted to one for which there is
            # no thread is lost to all, and the others may wait for it.
            for entry in todo[: min(max(1, int(self.cpus)), step.threads(self.cpus))]:
                self._link.want(f"{entry.step}/{entry.name}", entry.resources)
        self._open.add(step.name)
        return not self._stopped()

    def _stopped(self) -> bool:
        self._note_cancel()
        return self._stop is not None

    def _stop_reason(self) -> str:
        self._note_cancel()
        return self._stop.reason if self._stop else "the job stops"

    def _arm_timeout(self) -> threading.Timer | None:
        if self.plan.timeout is None:
            return None
        left = self.plan.timeout - (time() - (self._started or time()))
        timer = threading.Timer(max(0.0, left), self._time_out)
        timer.daemon = True
        timer.start()
        return timer

    def _time_out(self) -> None:
        message = f"the job ran longer than its timeout of {self.plan.timeout:g} s"
        self._stop_with(_Stop(JobState.FAILED, message, Failure(kind=FailureKind.TIMEOUT, message=message)))
        self._link.interrupt()

    def _note_cancel(self) -> None:
        reason = self._link.cancel_reason
        if reason is not None:
            self._stop_with(_Stop(JobState.CANCELLED, reason))

    def _stop_with(self, stop: _Stop) -> None:
        with self._lock:
            if self._stop is not None:
                return  # the first reason decides
            self._stop = stop
        self._link.abandon()

    def _finish(self) -> JobState:
        if self._verdict is not None:
            return self._verdict
        rest = [entry for step in self.plan.steps for entry in step.entries if not self.finished(entry)]
        if self._stop is None and rest:
            raise RuntimeError(
                f"the engine left {len(rest)} entries without an end, {rest[0].step}/{rest[0].name} first"
            )
        for entry in rest:
            self._skip_entry(entry, self._stop.reason if self._stop else "")
        self._clear()
        if self._stop is None:
            self._remove(self._uses.give_up_rest(), "the job has succeeded and it is not public")
            verdict: JobEvent = events.JobSucceeded()
        elif self._stop.state is JobState.CANCELLED:
            verdict = events.JobCancelled(reason=self._stop.reason)
        else:
            verdict = events.JobFailed(failure=self._stop.failure or _unknown(self._stop.reason))
        self._record(verdict, durable=True)
        self._verdict = self._stop.state if self._stop else JobState.SUCCEEDED
        return self._verdict

    def _record(self, *happened: JobEvent, durable: bool = False, wait: bool = True) -> bool:
        failpoint(f"journal.before.{happened[-1].kind}")
        now = time()
        occurrences = [Occurrence(time=now, event=event) for event in happened]
        written = self._journal.append(occurrences, durable=durable, wait=wait)
        failpoint(f"journal.after.{happened[-1].kind}")
        self._ring()
        if isinstance(happened[-1], events.EntryStarted):
            self.at_work.set()
        return written


def _unknown(reason: str) -> Failure:
    return Failure(kind=FailureKind.SYSTEM, message=reason)
