"""Modules that misbehave: each ends as it should, and whatever it did, nothing of it is left."""

import os
import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from jobd import cgroup, procfs
from jobd.artifacts import ArtifactStore
from jobd.attempt import Attempt, Cancelled, Failed, Succeeded, run_attempt
from jobd.events import FailureKind, JobEvent
from jobd.layout import JobDirectory
from jobd.plan import PlanEntry

pytestmark = [pytest.mark.usefixtures("no_process_left"), pytest.mark.timeout(60)]

FOLDER = Path(__file__).parent / "awkward"
JOB = "abc123"
MIB = 1 << 20

Outcome = Succeeded | Failed | Cancelled


@dataclass
class Awkward:
    """Runs the scripts of the folder and checks after each that it left nothing."""

    directory: JobDirectory
    contained: bool
    told: list[JobEvent] = field(default_factory=list)

    def run(self, script: str, **rest: Any) -> Outcome:
        """Run a script as an attempt; give what it came to."""
        values = {"grace": 0.3} | rest
        entry = PlanEntry(step="step", name="entry", module=script, folder=str(FOLDER), entrypoint=script, **values)
        wake_fd, wake_end = os.pipe()
        try:
            outcome = run_attempt(self._attempt(entry, wake_fd), lambda _line: None)
        finally:
            os.close(wake_fd)
            os.close(wake_end)
        self._check_gone()
        return outcome

    @property
    def log(self) -> Path:
        """Where the output of the attempt is."""
        return self.directory.log("step", "entry", 1)

    def _attempt(self, entry: PlanEntry, wake_fd: int) -> Attempt:
        return Attempt(
            job_id=JOB,
            entry=entry,
            number=1,
            directory=self.directory,
            artifacts=ArtifactStore(self.directory.artifacts),
            record=lambda *happened, durable=False: self.told.extend(happened),
            wake_fd=wake_fd,
            stop_reason=lambda: "",
        )

    def _check_gone(self) -> None:
        left = [procfs.process(int(pid)) for pid in re.findall(rb"left (\d+)", self.log.read_bytes()[:1000])]
        assert left == [None] * len(left)
        assert procfs.find(session=self.told[0].pid, mark=f"JOBD_JOB_ID={JOB}".encode()) == []
        assert not self.directory.scratch("step", "entry", 1).exists()
        home = cgroup.base()
        assert home is None or not (home / "jobd" / JOB).exists()


def _can_contain() -> bool:
    return cgroup.base() is not None


@pytest.fixture(params=["cgroup", "sweep"])
def awkward(request, directory: JobDirectory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Awkward]:
    """Give a runner of awkward modules, in cgroups where they can be made, and again without."""
    contained = request.param == "cgroup"
    if contained and not _can_contain():
        pytest.skip("no cgroup v2 can be made here")
    if not contained:
        monkeypatch.setattr(cgroup, "base", lambda: None)
    return Awkward(directory, contained)


@pytest.fixture
def fail(awkward: Awkward) -> Callable[..., Any]:
    """Give a function that runs a script which is to fail, and gives why it did."""

    def run(script: str, **rest: Any) -> Any:
        outcome = awkward.run(script, **rest)
        assert isinstance(outcome, Failed), outcome
        return outcome.failure

    return run


@pytest.mark.parametrize("script", ["leaves_children.py", "keeps_log.py", "deletes_its_folder.py", "closes_streams.py"])
def test_one_that_ends_well_succeeds(awkward: Awkward, script: str):
    """Exit code 0 is success whatever the module left behind, and what it left is gone."""
    assert isinstance(awkward.run(script), Succeeded), awkward.log.read_text()


def test_one_that_cuts_every_tie_does_not_get_away(awkward: Awkward):
    """A process with another session, parent, folder and environment, and no open file, is killed with its cgroup."""
    if not awkward.contained:
        pytest.skip("without a cgroup such a process is ended with its job, not with its entry")
    assert isinstance(awkward.run("daemonizes.py"), Succeeded)


def test_all_of_many_are_killed(fail):
    """A hundred and twenty-eight processes, each forked by another, end with their entry."""
    failure = fail("forks.py", timeout=2.0)
    assert failure.kind is FailureKind.TIMEOUT


def test_one_that_ignores_sigterm_is_killed(fail):
    """After the grace comes SIGKILL, for the module and for its child, and the message counts them."""
    failure = fail("ignores_sigterm.py", timeout=1.0)
    assert failure.kind is FailureKind.TIMEOUT
    assert "2 processes had to be killed" in failure.message


@pytest.mark.parametrize("bound", ["timeout", "silence"])
def test_one_that_stops_itself_is_ended(fail, bound: str):
    """A stopped module neither runs nor prints: either clock ends it."""
    failure = fail("stops_itself.py", **{bound: 0.5})
    assert failure.kind is FailureKind.TIMEOUT
    assert bound[:5] in failure.message


def test_one_that_kills_its_group_kills_only_itself(fail):
    """Its process group is its own: the runner lives to tell the signal."""
    failure = fail("kills_its_group.py")
    assert (failure.kind, failure.signal) == (FailureKind.SIGNAL, signal.SIGKILL)


@pytest.mark.parametrize("code", [1, 2, 126, 127, 128, 137, 255])
def test_any_exit_code_is_told(fail, code: int):
    """A code that shells use for a signal is an exit code all the same."""
    failure = fail("ends.py", options=(f"--code={code}",))
    assert (failure.kind, failure.exit_code, failure.signal) == (FailureKind.EXIT_CODE, code, None)


@pytest.mark.parametrize("number", sorted({1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 13, 14, 15, 24, 31, 34, 64}))
def test_any_signal_is_told(fail, number: int):
    """A module that a signal ends has failed by that signal, and no core of it is on disk."""
    failure = fail("ends.py", options=(f"--signal={number}",))
    assert (failure.kind, failure.exit_code, failure.signal) == (FailureKind.SIGNAL, None, number)


def test_a_line_without_end_stays_within_its_limit(awkward: Awkward):
    """200 MB without a newline neither stop the module nor stay on disk."""
    assert isinstance(awkward.run("prints_one_line.py", log_limit=8 * MIB), Succeeded)
    status = awkward.log.stat()
    assert status.st_size == 200_000_000
    assert status.st_blocks * 512 <= 8 * MIB + 4096


def test_bytes_that_are_no_text_are_kept_as_they_are(awkward: Awkward):
    """The log is what was printed, byte by byte; a status of it is shown with marks in it."""
    assert isinstance(awkward.run("prints_bytes.py"), Succeeded)
    assert awkward.log.read_bytes() == bytes(range(256)) + b"\nopenjd_status: \xff\xfe\nopenjd_progress: \xe9\n\xc3"
    assert [(event.percent, event.status) for event in awkward.told[1:]] == [(None, "\ufffd\ufffd")]
