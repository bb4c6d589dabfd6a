"""One attempt of an entry: a private folder, a process, its reports, its outputs.

Outputs are made in the attempt's own folder and renamed into the job's artifacts once the process has ended well,
so that nothing half-written is ever visible and a late writer of a killed attempt can reach nothing.
"""

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Protocol

from jobd import events, module_log
from jobd.artifacts import ArtifactStore, OutputError, Stored, check_output
from jobd.events import Failure, FailureKind, JobEvent
from jobd.layout import JobDirectory
from jobd.module_log import ModuleLog, Reports
from jobd.plan import PlanEntry
from jobd.process import Awaited, Exit, ModuleProcess, signal_name

_LOOK_SECONDS = 0.25
"""How often a module's log is read for reports; also the most often that progress is told."""

_PASSED_ON = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ")
"""What a module sees of the daemon's environment."""

_THREAD_HINTS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


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

    @property
    def log(self) -> Path:
        """The file that receives the module's output."""
        return self.directory.log(self.entry.step, self.entry.name, self.number)

    @property
    def scratch(self) -> Path:
        """The attempt's own folder, removed at its end."""
        return self.directory.scratch(self.entry.step, self.entry.name, self.number)

    @property
    def mark(self) -> bytes:
        """The environment variable by which its processes are known; two attempts of an entry never live at once."""
        return f"JOBD_IDEMPOTENCY_KEY={_idempotency_key(self)}".encode()


@dataclass(frozen=True, slots=True)
class Succeeded:
    """Exit code 0, and every output was taken."""

    outputs: Mapping[str, Stored]


@dataclass(frozen=True, slots=True)
class Failed:
    """It failed, for this reason."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Cancelled:
    """It was ended because the job is cancelled."""

    reason: str


def run_attempt(attempt: Attempt, show: Callable[[str], None]) -> Succeeded | Failed | Cancelled:
    """Run one attempt to its end; when it returns, nothing of it lives and its folder is gone."""
    try:
        _make_folders(attempt)
        try:
            process = _start(attempt)
        except OSError as error:
            return _failed(attempt, FailureKind.SPAWN, f"{attempt.entry.entrypoint} could not be started: {error}")
        with process:
            return _Watch(attempt, process, show).run()
    except OSError as error:
        return _failed(attempt, FailureKind.SYSTEM, f"jobd could not run it: {error}")
    finally:
        shutil.rmtree(attempt.scratch, ignore_errors=True)


def command(attempt: Attempt) -> list[str]:
    """Give the module's command line: its paths as `--param path …`, its options as single tokens."""
    entry = attempt.entry
    argv = [sys.executable, str(Path(entry.folder, entry.entrypoint))]
    for binding in entry.inputs:
        argv += [f"--{binding.param_name}", *(str(attempt.artifacts.path(name)) for name in binding.artifacts)]
    for name, path in _outputs(attempt):
        argv += [f"--{name}", str(path)]
    return argv + list(entry.options)


def environment(attempt: Attempt) -> dict[str, str]:
    """Give the module's environment: a short list of the daemon's, what the manifest asks for, and who it is."""
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    # Libraries that would start a thread for every cpu of the machine keep to what the entry was granted.
    threads = dict.fromkeys(_THREAD_HINTS, str(max(1, int(attempt.entry.resources.cpus))))
    own = {
        "PYTHONUNBUFFERED": "1",  # a report shall be seen when it is printed, not when a buffer is full
        "TMPDIR": str(attempt.scratch / "tmp"),
        "JOBD_JOB_ID": attempt.job_id,
        "JOBD_STEP": attempt.entry.step,
        "JOBD_ENTRY": attempt.entry.name,
        "JOBD_ATTEMPT": str(attempt.number),
        "JOBD_IDEMPOTENCY_KEY": _idempotency_key(attempt),
    }
    return kept | threads | dict(attempt.entry.env) | own


def _idempotency_key(attempt: Attempt) -> str:
    return f"{attempt.job_id}/{attempt.entry.step}/{attempt.entry.name}"


def _outputs(attempt: Attempt) -> Iterator[tuple[str, Path]]:
    for binding in attempt.entry.outputs:
        for name in binding.artifacts:
            yield binding.param_name, attempt.scratch / "out" / name


def _make_folders(attempt: Attempt) -> None:
    shutil.rmtree(attempt.scratch, ignore_errors=True)
    for name in ("cwd", "out", "tmp"):
        (attempt.scratch / name).mkdir(parents=True)
    attempt.log.parent.mkdir(parents=True, exist_ok=True)


def _start(attempt: Attempt) -> ModuleProcess:
    return ModuleProcess(
        command(attempt),
        cwd=attempt.scratch / "cwd",
        env=environment(attempt),
        log=attempt.log,
        mark=attempt.mark,
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

    def __init__(self, attempt: Attempt, process: ModuleProcess, show: Callable[[str], None]) -> None:
        self._attempt = attempt
        self._process = process
        self._show = show
        self._log = ModuleLog(attempt.log)
        self._told: tuple[float | None, str | None] = (None, None)
        self._failure_text: str | None = None
        timeout = attempt.entry.timeout
        self._deadline = None if timeout is None else monotonic() + timeout

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
        finally:
            self._log.close()
        return cut_short or self._judge(exit_)

    def _follow(self) -> Failed | Cancelled | None:
        while (awaited := self._process.wait(self._patience(), self._attempt.wake_fd)) is not Awaited.END:
            if awaited is Awaited.WAKE:
                return Cancelled(self._end(self._attempt.stop_reason()))
            if self._deadline is not None and monotonic() >= self._deadline:
                told = self._end(f"it ran longer than its timeout of {self._attempt.entry.timeout:g} s")
                return _failed(self._attempt, FailureKind.TIMEOUT, told)
            self._report(self._log.look())
        return None

    def _patience(self) -> float:
        if self._deadline is None:
            return _LOOK_SECONDS
        return max(0.0, min(_LOOK_SECONDS, self._deadline - monotonic()))

    def _end(self, why: str) -> str:
        killed = self._process.end(self._attempt.entry.grace)
        if not killed:
            return f"{why}; its processes ended on SIGTERM"
        count = "1 process" if len(killed) == 1 else f"{len(killed)} processes"
        return f"{why}; {count} had to be killed"

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

    def _judge(self, exit_: Exit) -> Succeeded | Failed:
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
        paths = [path for _param, path in _outputs(self._attempt)]
        checked = {path: check_output(path, path.name) for path in paths}
        for path in paths:
            self._attempt.artifacts.publish(path, path.name)
        return {path.name: stored for path, stored in checked.items()}
