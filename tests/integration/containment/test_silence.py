"""A module that prints nothing, and one that prints too much."""

import pytest

from jobd.attempt import Succeeded
from jobd.events import FailureKind

pytestmark = pytest.mark.timeout(60)

MIB = 1 << 20
FLOOD = "import os\nwhile True: os.write(1, b'x' * 65535 + b'\\n')"


def test_a_silent_module_is_ended(fail):
    """A module that runs but prints nothing for as long as it may is ended, and the reason says so."""
    failure = fail("import signal; signal.pause()", silence=0.4)
    assert failure.kind is FailureKind.TIMEOUT
    assert "printed nothing for 0.4 s" in failure.message


def test_a_module_that_goes_silent_is_ended(fail):
    """What it printed before does not count for ever."""
    failure = fail("import signal\nprint('at work', flush=True)\nsignal.pause()", silence=0.5)
    assert "printed nothing" in failure.message
    assert failure.log_tail == ("at work",)


def test_any_byte_breaks_the_silence(awkward):
    """A module that prints a dot now and then, without a newline, may take longer than it may be silent."""
    script = "import os, time\nfor _ in range(20):\n    os.write(1, b'.'); time.sleep(0.1)"
    assert isinstance(awkward.run(script, silence=1.0), Succeeded)


def test_a_module_that_may_not_print_so_much_is_stopped(fail, awkward):
    """With `log_overflow: stop` it is killed without a grace, and not much more than the limit is on disk."""
    failure = fail(FLOOD, log_limit=4 * MIB, log_overflow="stop", grace=30.0)
    assert failure.kind is FailureKind.INVALID_OUTPUT
    assert f"log_limit of {4 * MIB} bytes" in failure.message
    assert awkward.log.stat().st_blocks * 512 <= 4 * MIB


def test_one_that_ends_before_it_is_seen_to_print_too_much_fails(fail):
    """The limit holds as well for what was printed between the last look and the end."""
    failure = fail("print('x' * (1 << 20))", log_limit=1 << 16, log_overflow="stop")
    assert failure.kind is FailureKind.INVALID_OUTPUT


def test_a_flood_is_cut_while_the_module_has_its_grace(fail, awkward):
    """A module that prints on through its timeout and its grace fills no disk either."""
    script = f"import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n{FLOOD}"
    failure = fail(script, log_limit=4 * MIB, timeout=0.5, grace=0.5)
    assert failure.kind is FailureKind.TIMEOUT
    assert awkward.log.stat().st_blocks * 512 <= 4 * MIB
    assert set("".join(failure.log_tail)) <= {"x"}


def test_a_log_that_cannot_be_cut_ends_its_module(fail, monkeypatch: pytest.MonkeyPatch):
    """On a file system without holes there is no other way to keep the disk free, and the reason says so."""

    def refuse(_fd: int, _start: int, _end: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("jobd.module_log._punch_hole", refuse)
    failure = fail(FLOOD, log_limit=MIB)
    assert failure.kind is FailureKind.INVALID_OUTPUT
    assert "Operation not supported" in failure.message
