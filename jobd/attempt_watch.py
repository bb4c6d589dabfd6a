"""The process of an attempt, followed to its end: its log, its reports, its limits, and its outputs.

Outputs are made in the attempt's own folder and renamed into the job's artifacts once the process has ended well,
so that nothing half-written is ever visible and a late writer of a killed attempt can reach nothing.
"""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from signal import Signals

from jobd import events, invocation, module_log
from jobd.artifacts import OutputError, Stored, check_output
from jobd.attempt import Attempt, Cancelled, Failed, Succeeded
from jobd.confinement import Confinement
from jobd.deadlines import Deadlines
from jobd.events import FailureKind, Usage
from jobd.log_times import LogTimes
from jobd.memory_watch import MemoryWatch
from jobd.module_log import Reports
from jobd.plan import LogOverflow
from jobd.process import Awaited, Exit, ModuleProcess, signal_name
from jobd.procfs import OutlivesError

_LOOK_SECONDS = 0.25
"""How often a module's log is read for reports; also the most often that progress is told."""
_FLOOD_BYTES = 1 << 20
"""A log that has grown by so much since the last look is looked at ten times as often."""

_Ending = Callable[[str], Failed | Cancelled]
"""Makes an ending of a sentence."""


class AttemptWatch:
    """Follows one process to its end."""

    def __init__(
        self, attempt: Attempt, confinement: Confinement, process: ModuleProcess, show: Callable[[str], None]
    ) -> None:
        """Follow `process`, and `show` the lines that it logs."""
        self._attempt = attempt
        self._confinement = confinement
        self._process = process
        self._show = show
        self._log = confinement.open_log()
        self._times = LogTimes(attempt.log)
        self._started = False
        self._progress: tuple[float | None, str | None] = (None, None)
        self._told: tuple[float | None, str | None] = (None, None)
        self._ending: _Ending = partial(attempt.failed, FailureKind.SYSTEM)
        self._failure_text: str | None = None
        entry = attempt.entry
        self._deadlines = Deadlines(timeout=entry.timeout, silence=entry.silence)
        self._memory = MemoryWatch(entry.resources.memory)
        self._look_seconds = _LOOK_SECONDS

    def run(self) -> Succeeded | Failed | Cancelled:
        """Return when the process has ended and nothing of it lives, or nothing can end it."""
        try:
            return self._run()
        except OutlivesError as error:
            self._tell_start(wait=True)
            outcome = self._ending(str(error))
            return replace(outcome, lives=True) if isinstance(outcome, Failed) else outcome

    def _run(self) -> Succeeded | Failed | Cancelled:
        try:
            # Nothing waits for room on the disk while the process runs: what may have to end it is looked for still.
            self._tell_start()
            cut_short = self._follow()
            exit_ = self._process.reap()
            self._process.kill_leftovers()
            self._tell_start(wait=True)
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
                return self._end(self._attempt.stop_reason(), Cancelled)
            grown = self._deadlines.hear(self._log.size)
            self._times.note(self._log.size)
            self._look_seconds = _LOOK_SECONDS / (10 if grown > _FLOOD_BYTES else 1)
            self._tell_start()
            self._report(self._log.look())
            if why := self._deadlines.passed():
                return self._end(why, partial(self._attempt.failed, FailureKind.TIMEOUT))
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
        return self._attempt.failed(FailureKind.INVALID_OUTPUT, why) if stop else None

    def _end(self, why: str, ending: _Ending) -> Failed | Cancelled:
        """End it for a reason, and give the ending that says so."""
        self._ending = lambda error: ending(f"{why}; {error}")
        killed = self._process.end(self._attempt.entry.grace, meanwhile=self._cut_log)
        self._report(self._log.look())
        if not killed:
            return ending(f"{why}; its processes ended on SIGTERM")
        count = "1 process" if len(killed) == 1 else f"{len(killed)} processes"
        return ending(f"{why}; {count} had to be killed")

    def _cut_log(self) -> None:
        # Where it cannot be cut, it is being ended anyway.
        with contextlib.suppress(OSError):
            self._log.cut(self._attempt.entry.log_limit)

    def _tell_start(self, *, wait: bool = False) -> None:
        """Tell that it has started, unless that is told or there is no room to write it down; it is told later then."""
        entry = self._attempt.entry
        if not self._started:
            started = events.EntryStarted(
                step=entry.step, entry=entry.name, attempt=self._attempt.number, pid=self._process.pid
            )
            self._started = self._attempt.record(started, wait=wait)

    def _tell_progress(self) -> None:
        """Tell what has changed of its progress, likewise."""
        entry = self._attempt.entry
        if self._started and self._progress != self._told:
            percent, status = (
                now if now != told else None for now, told in zip(self._progress, self._told, strict=True)
            )
            progress = events.EntryProgress(step=entry.step, entry=entry.name, percent=percent, status=status)
            if self._attempt.record(progress, wait=False):
                self._told = self._progress

    def _report(self, reports: Reports) -> None:
        self._failure_text = reports.failure or self._failure_text
        percent, status = self._progress
        self._progress = (
            percent if reports.progress is None else reports.progress,
            status if reports.status is None else reports.status,
        )
        self._tell_progress()
        for line in reports.lines:
            self._show(line)
        if reports.skipped:
            self._show(f"({reports.skipped} more lines are in the entry's log)")

    def _judge_sandbox(self) -> Failed:
        why = (module_log.tail(self._attempt.log) or ("it gave no reason",))[-1]
        return self._attempt.failed(FailureKind.SPAWN, f"its sandbox could not be made: {why}")

    def _judge(self, exit_: Exit) -> Succeeded | Failed:
        tail = module_log.tail(self._attempt.log) if exit_.code != 0 else ()
        if message := self._memory.ran_out(exit_, self._process.oom_kills, tail):
            kind = FailureKind.OUT_OF_MEMORY
            return self._attempt.failed(kind, message, exit_code=exit_.code, signal=exit_.signal)
        if exit_.signal == Signals.SIGXFSZ and self._attempt.entry.output_limit:
            message = f"a file that it wrote passed its output_limit of {self._attempt.entry.output_limit} bytes"
            return self._attempt.failed(FailureKind.INVALID_OUTPUT, message, signal=exit_.signal)
        if exit_.signal is not None:
            message = f"it was ended by {signal_name(exit_.signal)}, which jobd did not send"
            return self._attempt.failed(FailureKind.SIGNAL, message, signal=exit_.signal)
        if exit_.code != 0:
            kind = FailureKind.MODULE if self._failure_text else FailureKind.EXIT_CODE
            message = self._failure_text or f"it exited with code {exit_.code}"
            return self._attempt.failed(kind, message, exit_code=exit_.code)
        try:
            return Succeeded(self._publish())
        except OutputError as error:
            return self._attempt.failed(error.kind, error.message, exit_code=0)

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
