"""One attempt of an entry: a private folder, a process, its reports, its outputs.

Outputs are made in the attempt's own folder and renamed into the job's artifacts once the process has ended well,
so that nothing half-written is ever visible and a late writer of a killed attempt can reach nothing.
"""

import contextlib
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from signal import Signals
from typing import Protocol

from jobd import events, invocation, job_cgroup, module_log
from jobd.artifacts import ArtifactStore, OutputError, Stored, check_output
from jobd.confinement import Confinement, ConfinementError
from jobd.containment import NOTHING_ASKED, Containment
from jobd.deadlines import Deadlines
from jobd.events import Failure, FailureKind, JobEvent, Usage
from jobd.layout import JobDirectory
from jobd.limits import Limits
from jobd.log_times import LogTimes
from jobd.memory_watch import MemoryWatch
from jobd.module_log import Reports
from jobd.plan import LogOverflow, PlanEntry
from jobd.process import Awaited, Exit, ModuleProcess, signal_name
from jobd.secret_store import SecretError
from jobd.warm_hosts import WarmHosts
from jobd.warm_process import Parked

_LOOK_SECONDS = 0.25
"""How often a module's log is read for reports; also the most often that progress is told."""
_FOLDERS = ("cwd", "out", "tmp")
"""What a scratch folder has when a module begins."""
_FLOOD_BYTES = 1 << 20
"""A log that has grown by so much since the last look is looked at ten times as often."""


class Record(Protocol):
    """Writes events down."""

    def __call__(self, *happened: JobEvent, durable: bool = False) -> None:
        """Write in one piece; on disk when it returns and `durable` is set."""


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


@dataclass(frozen=True, slots=True)
class Cancelled:
    """It was ended because the job is cancelled."""

    reason: str
    usage: Usage | None = None


def run_attempt(attempt: Attempt, show: Callable[[str], None]) -> Succeeded | Failed | Cancelled:
    """Run one attempt to its end; when it returns, nothing of it lives and its folder is gone."""
    try:
        _make_folders(attempt)
        confinement = attempt.confinement
        try:
            confinement.prepare()
            process = _start(attempt, confinement)
        except (OSError, SecretError, ConfinementError) as error:
            return _failed(attempt, FailureKind.SPAWN, f"{attempt.entry.entrypoint} could not be started: {error}")
        with process:
            return _Watch(attempt, confinement, process, show).run()
    except OSError as error:
        return _failed(attempt, FailureKind.SYSTEM, f"jobd could not run it: {error}")
    finally:
        _remove(attempt.scratch)


def _make_folders(attempt: Attempt) -> None:
    scratch = attempt.scratch
    scratch.parent.mkdir(parents=True, exist_ok=True)
    try:
        scratch.mkdir()
    except FileExistsError:  # what an earlier runner left
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
    for name in _FOLDERS:
        os.mkdir(f"{scratch}/{name}")  # noqa: PTH102 - a Path for each is waste
    attempt.log.parent.mkdir(parents=True, exist_ok=True)


def _remove(scratch: Path) -> None:
    """Remove a scratch folder; of what most modules leave, which is empty folders, at a tenth of the cost."""
    try:
        for name in _FOLDERS:
            os.rmdir(f"{scratch}/{name}")  # noqa: PTH106 - a Path for each is waste
        scratch.rmdir()
    except OSError:
        shutil.rmtree(scratch, ignore_errors=True)


def _start(attempt: Attempt, confinement: Confinement) -> ModuleProcess:
    entry = attempt.entry
    # Its log is a file that it writes as well, and has a limit of its own.
    file_size = max(entry.output_limit, entry.log_limit) if entry.output_limit else 0
    limits = Limits(memory=entry.resources.memory, file_size=file_size, inherited=attempt.containment.user is not None)
    cgroup = job_cgroup.make(attempt.job_id)
    plain = invocation.command(entry, attempt.artifacts, attempt.scratch)
    argv = confinement.command(plain, limits, data=cgroup is None or "memory" not in cgroup.available())
    env = confinement.environment(
        invocation.environment(attempt.job_id, entry, attempt.number, attempt.scratch, attempt.gpus)
    )

    def fork(log_fd: int) -> Parked | None:
        group = cgroup.path if cgroup is not None else None
        return attempt.hosts.fork(entry, argv, env, log_fd, group) if attempt.hosts is not None else None

    return ModuleProcess(
        argv,
        cwd=attempt.scratch / "cwd",
        env=env,
        log=attempt.log,
        mark=attempt.mark,
        cgroup=cgroup,
        limits=limits,
        fork=None if confinement.starts_cold else fork,
    )


def _failed(
    attempt: Attempt, kind: FailureKind, message: str, *, exit_code: int | None = None, signal: int | None = None
) -> Failed:
    return Failed(
        Failure(
            kind=kind,
            message=message,
            step=attempt.entry.step,
            entry=attempt.entry.name,
            exit_code=exit_code,
            signal=signal,
            log_tail=module_log.tail(attempt.log),
        )
    )


class _Watch:
    """Follows one process to its end."""

    def __init__(
        self, attempt: Attempt, confinement: Confinement, process: ModuleProcess, show: Callable[[str], None]
    ) -> None:
        self._attempt = attempt
        self._confinement = confinement
        self._process = process
        self._show = show
        self._log = confinement.open_log()
        self._times = LogTimes(attempt.log)
        self._told: tuple[float | None, str | None] = (None, None)
        self._failure_text: str | None = None
        entry = attempt.entry
        self._deadlines = Deadlines(timeout=entry.timeout, silence=entry.silence)
        self._memory = MemoryWatch(entry.resources.memory)
        self._look_seconds = _LOOK_SECONDS

    def run(self) -> Succeeded | Failed | Cancelled:
        entry = self._attempt.entry
        self._attempt.record(
            events.EntryStarted(step=entry.step, entry=entry.name, attempt=self._attempt.number, pid=self._process.pid)
        )
        try:
            cut_short = self._follow()
            exit_ = self._process.reap()
            self._process.kill_leftovers()
            self._report(self._log.look(last=True))
            overrun = self._bound_log()
        finally:
            self._log.close()
            self._times.close()
        inner = self._confinement.read_exit(exit_)
        told = inner or exit_
        usage = Usage(cpu_seconds=told.cpu_seconds, max_rss_bytes=told.max_rss_bytes)
        judged = cut_short or overrun or (self._judge(inner) if inner is not None else self._judge_sandbox())
        return replace(judged, usage=usage)

    def _follow(self) -> Failed | Cancelled | None:
        while (awaited := self._await()) is not Awaited.END:
            if awaited is Awaited.WAKE:
                return Cancelled(self._end(self._attempt.stop_reason()))
            grown = self._deadlines.hear(self._log.size)
            self._times.note(self._log.size)
            self._look_seconds = _LOOK_SECONDS / (10 if grown > _FLOOD_BYTES else 1)
            self._report(self._log.look())
            if why := self._deadlines.passed():
                why = self._end(why)
                self._report(self._log.look())
                return _failed(self._attempt, FailureKind.TIMEOUT, why)
            if (overrun := self._bound_log()) is not None:
                return overrun
        return None

    def _await(self) -> Awaited:
        return self._process.wait(self._deadlines.left(self._look_seconds), self._attempt.wake_fd)

    def _bound_log(self) -> Failed | None:
        """Keep the log within its limit; a failure if the entry is to end over that, or the log cannot be cut."""
        entry = self._attempt.entry
        if self._log.size <= entry.log_limit:
            return None
        why = f"it printed more than its log_limit of {entry.log_limit} bytes"
        stop = entry.log_overflow is LogOverflow.STOP
        if stop:
            self._process.end(0)  # at once: who prints so much must not print on through the grace
        try:
            self._log.cut(entry.log_limit)
        except OSError as error:
            self._process.end(0)
            stop, why = True, f"{why}, and this file system cannot drop the middle of a file ({error.strerror})"
        return _failed(self._attempt, FailureKind.INVALID_OUTPUT, why) if stop else None

    def _end(self, why: str) -> str:
        killed = self._process.end(self._attempt.entry.grace, meanwhile=self._cut_log)
        if not killed:
            return f"{why}; its processes ended on SIGTERM"
        count = "1 process" if len(killed) == 1 else f"{len(killed)} processes"
        return f"{why}; {count} had to be killed"

    def _cut_log(self) -> None:
        # Where it cannot be cut, it is being ended anyway.
        with contextlib.suppress(OSError):
            self._log.cut(self._attempt.entry.log_limit)

    def _report(self, reports: Reports) -> None:
        entry = self._attempt.entry
        self._failure_text = reports.failure or self._failure_text
        told = (
            self._told[0] if reports.progress is None else reports.progress,
            self._told[1] if reports.status is None else reports.status,
        )
        if told != self._told:
            self._told = told
            self._attempt.record(
                events.EntryProgress(step=entry.step, entry=entry.name, percent=reports.progress, status=reports.status)
            )
        for line in reports.lines:
            self._show(line)
        if reports.skipped:
            self._show(f"({reports.skipped} more lines are in the entry's log)")

    def _judge_sandbox(self) -> Failed:
        why = (module_log.tail(self._attempt.log) or ("it gave no reason",))[-1]
        return _failed(self._attempt, FailureKind.SPAWN, f"its sandbox could not be made: {why}")

    def _judge(self, exit_: Exit) -> Succeeded | Failed:
        tail = module_log.tail(self._attempt.log) if exit_.code != 0 else ()
        if message := self._memory.ran_out(exit_, self._process.oom_kills, tail):
            kind = FailureKind.OUT_OF_MEMORY
            return _failed(self._attempt, kind, message, exit_code=exit_.code, signal=exit_.signal)
        if exit_.signal == Signals.SIGXFSZ and self._attempt.entry.output_limit:
            message = f"a file that it wrote passed its output_limit of {self._attempt.entry.output_limit} bytes"
            return _failed(self._attempt, FailureKind.INVALID_OUTPUT, message, signal=exit_.signal)
        if exit_.signal is not None:
            message = f"it was ended by {signal_name(exit_.signal)}, which jobd did not send"
            return _failed(self._attempt, FailureKind.SIGNAL, message, signal=exit_.signal)
        if exit_.code != 0:
            kind = FailureKind.MODULE if self._failure_text else FailureKind.EXIT_CODE
            message = self._failure_text or f"it exited with code {exit_.code}"
            return _failed(self._attempt, kind, message, exit_code=exit_.code)
        try:
            return Succeeded(self._publish())
        except OutputError as error:
            return _failed(self._attempt, error.kind, error.message, exit_code=0)

    def _publish(self) -> dict[str, Stored]:
        """Check every output before the first becomes visible."""
        self._confinement.take_back()
        limit = self._attempt.entry.output_limit
        paths = [path for _param, path in invocation.outputs(self._attempt.entry, self._attempt.scratch)]
        checked = {path: check_output(path, path.name) for path in paths}
        size = sum(stored.size_bytes for stored in checked.values())
        if 0 < limit < size:
            message = f"its outputs have {size} bytes, more than its output_limit of {limit}"
            raise OutputError(FailureKind.INVALID_OUTPUT, message)
        for path in paths:
            self._attempt.artifacts.publish(path, path.name)
        return {path.name: stored for path, stored in checked.items()}
