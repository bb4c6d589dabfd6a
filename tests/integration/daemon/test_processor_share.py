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

SAY = "from pathlib import Path; print(Path('/proc/self/autogroup').read_text().strip())"
TAKE = f"""
import resource, subprocess, sys
from jobd.processor_share import take_more
print(take_more(), resource.getrlimit(resource.RLIMIT_NICE)[1])
{SAY}
sys.stdout.flush()
subprocess.run([sys.executable, "-c", {SAY!r}], start_new_session=True, check=True)
"""


def take(*, new_session: bool) -> list[str]:
    """Have a process of its own take a larger share, and start one more in a session of its own.

    Gives whether it took it, with the limit that is left to it; what the kernel says of its session; and of the other.
    """
    done = subprocess.run(
        [sys.executable, "-c", TAKE],
        start_new_session=new_session,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.splitlines()


def may_lower_nice() -> bool:
    """Tell whether this process may do what root may."""
    status = Path("/proc/self/status").read_text()
    return bool(int(status.partition("CapEff:")[2].split()[0], 16) & MAY_LOWER_NICE)


def test_a_daemon_goes_before_what_it_starts():
    """Its session has the larger share, and one that begins below it the usual one, without the right to a larger."""
    took, own, below = take(new_session=True)
    assert (took, own.split()[-1]) == (("True 0", str(NICE)) if may_lower_nice() else ("False 0", "0"))
    assert below.split()[-1] == "0"


def test_a_terminal_is_left_alone():
    """A daemon in somebody's session would take that shell and all its programs along.

    A machine's first session has no share of its own, and the kernel says nothing of it.
    """
    before = Path("/proc/self/autogroup").read_text().strip()
    took, own, _below = take(new_session=False)
    assert (took, own) == ("False 0", before)
