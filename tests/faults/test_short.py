"""A few schedules of the fault suite, as part of every run of the tests."""

import subprocess
import sys
from pathlib import Path

SEEDS = (116, 3)
"""Cancels of killed runners, a killed nursery, a paused daemon and module; two killed runners and a killed module."""


def test_some_schedules_of_faults_violate_nothing(tmp_path: Path):
    """After kills, pauses and cancels every job has ended once, as it must, and nothing is left."""
    for seed in SEEDS:
        words = [f"--seed={seed}", "--count=1", "--worlds=1", "--own-prefect=0", f"--folder={tmp_path}/{seed}"]
        command = [sys.executable, Path(__file__).with_name("run.py"), *words, "--no-record"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "1 schedules" in done.stdout
        assert "0 violations in" in done.stdout
