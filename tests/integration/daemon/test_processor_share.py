"""The daemon's share of the processors, by what the kernel says of its session."""

import subprocess
import sys
from pathlib import Path

import pytest

from jobd.processor_share import NICE

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/autogroup").exists(), reason="this kernel gives sessions no shares of their own"
)

MAY_LOWER_NICE = 1 << 23
"""CAP_SYS_NICE, among the capabilities that /proc tells."""

TAKE = """
import resource, subprocess, sys
from pathlib import Path
from jobd.processor_share import take_more
print(take_more(), Path("/proc/self/autogroup").read_text().split()[-1], resource.getrlimit(resource.RLIMIT_NICE)[1])
sys.stdout.flush()
subprocess.run(["cat", "/proc/self/autogroup"], start_new_session=True, check=True)
"""


def take(*, new_session: bool) -> list[str]:
    """Have a process of its own take a larger share, and start one more in a session of its own; give what both say."""
    done = subprocess.run(
        [sys.executable, "-c", TAKE],
        start_new_session=new_session,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.split()


def may_lower_nice() -> bool:
    """Tell whether this process may do what root may."""
    status = Path("/proc/self/status").read_text()
    return bool(int(status.partition("CapEff:")[2].split()[0], 16) & MAY_LOWER_NICE)


def test_a_daemon_goes_before_what_it_starts():
    """Its session has the larger share, and one that begins below it the usual one, without the right to a larger."""
    took, nice, limit, _name, _word, of_child = take(new_session=True)
    assert (took, nice) == (("True", str(NICE)) if may_lower_nice() else ("False", "0"))
    assert (limit, of_child) == ("0", "0")


def test_a_terminal_is_left_alone():
    """A daemon in somebody's session would take that shell and all its programs along."""
    before = Path("/proc/self/autogroup").read_text().split()[-1]
    took, nice, _limit, *_child = take(new_session=False)
    assert (took, nice) == ("False", before)
