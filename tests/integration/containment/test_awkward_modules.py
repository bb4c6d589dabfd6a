"""Modules that misbehave: each ends as it should, and whatever it did, nothing of it is left."""

import os
import signal

import pytest

from jobd.attempt import Succeeded
from jobd.events import FailureKind

pytestmark = pytest.mark.timeout(60)

MIB = 1 << 20
EVERY = bool(os.environ.get("FAULTS"))
"""Whether to try every exit code and every signal, as `make test-faults` does."""
DEADLY = sorted(signal.valid_signals() - {17, 18, 19, 20, 21, 22, 23, 28})
"""Signals that end a process; the others stop it, wake it or are ignored."""


@pytest.mark.parametrize("script", ["leaves_children.py", "keeps_log.py", "deletes_its_folder.py", "closes_streams.py"])
def test_one_that_ends_well_succeeds(awkward, script: str):
    """Exit code 0 is success whatever the module left behind, and what it left is gone."""
    assert isinstance(awkward.run(script), Succeeded), awkward.log.read_text()


def test_one_that_cuts_every_tie_does_not_get_away(awkward):
    """A process with another session, parent, folder and environment, and no open file, is killed with its cgroup.

    It is begun at once, when the module may not yet have been moved to its own cgroup: so it is tried often.
    """
    if not awkward.contained:
        pytest.skip("without a cgroup such a process is ended with its job, not with its entry")
    for _ in range(15):
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


@pytest.mark.parametrize("code", range(1, 256) if EVERY else [1, 2, 126, 127, 128, 137, 255])
def test_any_exit_code_is_told(fail, code: int):
    """A code that shells use for a signal is an exit code all the same."""
    failure = fail("ends.py", options=(f"--code={code}",))
    assert (failure.kind, failure.exit_code, failure.signal) == (FailureKind.EXIT_CODE, code, None)


@pytest.mark.parametrize("number", DEADLY if EVERY else [1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 13, 14, 15, 24, 31, 34, 64])
def test_any_signal_is_told(fail, number: int):
    """A module that a signal ends has failed by that signal, and no core of it is on disk."""
    failure = fail("ends.py", options=(f"--signal={number}",))
    assert (failure.kind, failure.exit_code, failure.signal) == (FailureKind.SIGNAL, None, number)


def test_a_line_without_end_stays_within_its_limit(awkward):
    """200 MB without a newline neither stop the module nor stay on disk."""
    assert isinstance(awkward.run("prints_one_line.py", log_limit=8 * MIB), Succeeded)
    status = awkward.log.stat()
    assert status.st_size == 200_000_000
    assert status.st_blocks * 512 <= 8 * MIB + 4096


def test_bytes_that_are_no_text_are_kept_as_they_are(awkward):
    """The log is what was printed, byte by byte; a status of it is shown with marks in it."""
    assert isinstance(awkward.run("prints_bytes.py"), Succeeded)
    assert awkward.log.read_bytes() == bytes(range(256)) + b"\nopenjd_status: \xff\xfe\nopenjd_progress: \xe9\n\xc3"
    assert [(event.percent, event.status) for event in awkward.told[1:]] == [(None, "\ufffd\ufffd")]
