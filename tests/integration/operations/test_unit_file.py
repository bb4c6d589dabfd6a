"""The systemd unit of the documentation, as systemd's own checker reads it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[3] / "docs/jobd.service"
KNOWN_LATER = "Unknown key 'DelegateSubgroup' in section [Service]"
"""What a systemd before version 254 says."""


@pytest.fixture
def analyze() -> str:
    """Give systemd-analyze; in CI it has to be there."""
    found = shutil.which("systemd-analyze")
    if found is None:
        assert not os.environ.get("CI"), "CI installs Debian's package systemd for this"
        pytest.skip("there is no systemd-analyze: install the package systemd")
    return found


def complaints(analyze: str, unit: Path) -> list[str]:
    """Give what systemd finds wrong with a unit."""
    done = subprocess.run(
        [analyze, "verify", "--man=no", unit], capture_output=True, text=True, timeout=60, check=False
    )
    return [line for line in done.stderr.splitlines() if unit.name in line and KNOWN_LATER not in line]


def test_systemd_finds_nothing_wrong(analyze: str, tmp_path: Path):
    """Every key and value is one that systemd knows; a misspelt one would be told."""
    text = re.sub(
        r"^ExecStart=\S+", f"ExecStart={Path(sys.executable).parent / 'jobd'}", UNIT.read_text(), flags=re.MULTILINE
    )
    unit = tmp_path / "jobd.service"
    unit.write_text(text)
    assert complaints(analyze, unit) == []
    unit.write_text(text.replace("KillMode=process", "KillMode=proces"))
    assert len(complaints(analyze, unit)) == 1


@pytest.mark.parametrize(
    "line",
    [
        "Type=notify",
        "NotifyAccess=main",
        "KillMode=process",
        "Delegate=yes",
        "DelegateSubgroup=main",
        "OOMPolicy=continue",
        "StateDirectory=jobd",
    ],
)
def test_what_jobs_rest_on_is_there(line: str):
    """Without any of these a restart would end the jobs, or a module the daemon."""
    assert line in UNIT.read_text().splitlines()


@pytest.mark.parametrize(
    "key", ["PrivateTmp", "PrivateDevices", "ProtectClock", "ProtectControlGroups", "MemoryDenyWriteExecute"]
)
def test_what_would_break_modules_is_not(key: str):
    """These would take from a module that runs its files, its GPU, its cgroup or its compiler."""
    assert not any(line.startswith(f"{key}=") for line in UNIT.read_text().splitlines())
