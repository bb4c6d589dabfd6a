"""A few schedules of the fault suite, as part of every run of the tests."""

import subprocess
import sys
from pathlib import Path

import pytest

SEEDS = "1003,1010,1031"
"""A reboot and killed daemons; a slow Prefect and rivals of the daemon; a killed nursery, runner and daemon while
Prefect hangs. They run at once, in one installation."""


@pytest.mark.timeout(600)
def test_some_schedules_of_faults_violate_nothing(tmp_path: Path):
    """After kills, pauses, reboots and cancels every job has ended once, as it must, and nothing is left."""
    options = [f"--seeds={SEEDS}", f"--folder={tmp_path}", "--no-record", "--no-pace"]
    command = [sys.executable, Path(__file__).with_name("run.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 schedules" in done.stdout
    assert " 0 violations in" in done.stdout
