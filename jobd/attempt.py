"""One attempt of an entry, and how it can end."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from jobd import invocation, module_log
from jobd.artifacts import ArtifactStore, Stored
from jobd.confinement import Confinement
from jobd.containment import NOTHING_ASKED, Containment
from jobd.events import Failure, FailureKind, JobEvent, Usage
from jobd.layout import JobDirectory
from jobd.plan import PlanEntry
from jobd.warm_hosts import WarmHosts


class Record(Protocol):
    """Writes events down."""

    def __call__(self, *happened: JobEvent, durable: bool = False, wait: bool = True) -> bool:
        """Write in one piece; on disk when it returns and `durable` is set. Tell whether there was room.

        Without `wait` nothing is waited for, and what there is no room for is dropped.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What is to be run, and where."""

    job_id: str
    entry: PlanEntry
    number: int
    """From 1."""
    directory: JobDirectory
    artifacts: ArtifactStore
    record: Record
    wake_fd: int
    """Readable from the moment that the attempt is to be ended."""
    stop_reason: Callable[[], str]
    """Says why, then."""
    hosts: WarmHosts | None = None
    """From which its process may be forked."""
    gpus: tuple[str, ...] | None = None
    """The gpus that are its own, by id; None where the daemon hands out none."""
    containment: Containment = NOTHING_ASKED
    """What the operator wants it held back by."""

    @property
    def log(self) -> Path:
        """The file that receives the module's output."""
        return self.directory.log(self.entry.step, self.entry.name, self.number)

    @property
    def scratch(self) -> Path:
        """The attempt's own folder, removed at its end."""
        return self.directory.scratch(self.entry.step, self.entry.name, self.number)

    @property
    def confinement(self) -> Confinement:
        """How it is held back; made anew each time."""
        root = self.directory.root
        return Confinement(
            entry=self.entry,
            containment=self.containment,
            state=root.parents[1] if root.parent.name == "jobs" else root,
            scratch=self.scratch,
            inputs=tuple(self.artifacts.path(name) for binding in self.entry.inputs for name in binding.artifacts),
            log=self.log,
        )

    @property
    def mark(self) -> bytes:
        """The environment variable by which its processes are known; two attempts of an entry never live at once."""
        return f"JOBD_IDEMPOTENCY_KEY={invocation.idempotency_key(self.job_id, self.entry)}".encode()

    def failed(
        self, kind: FailureKind, message: str, *, exit_code: int | None = None, signal: int | None = None
    ) -> "Failed":
        """Say that it failed, with the last lines of its log."""
        return Failed(
            Failure(
                kind=kind,
                message=message,
                step=self.entry.step,
                entry=self.entry.name,
                exit_code=exit_code,
                signal=signal,
                log_tail=module_log.tail(self.log),
            )
        )


@dataclass(frozen=True, slots=True)
class Succeeded:
    """Exit code 0, and every output was taken."""

    outputs: Mapping[str, Stored]
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """It failed, for this reason."""

    failure: Failure
    usage: Usage | None = None
    lives: bool = False
    """Whether a process of it may still live: two attempts of an entry never do, so no other may follow."""

    def may_be_retried(self, entry: PlanEntry) -> bool:
        """Tell whether another attempt may mend this."""
        return not self.lives and (not entry.retry_on or self.failure.kind in entry.retry_on)


@dataclass(frozen=True, slots=True)
class Cancelled:
    """It was ended because the job is cancelled."""

    reason: str
    usage: Usage | None = None
