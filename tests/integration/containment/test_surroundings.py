"""What every module finds around it, and what it cannot put among the artifacts."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from jobd import sandbox
from jobd.attempt import Succeeded
from jobd.events import FailureKind
from jobd.plan import Sandbox

pytestmark = pytest.mark.timeout(60)

KNOWN = {
    "HOME", "JOBD_ATTEMPT", "JOBD_ENTRY", "JOBD_IDEMPOTENCY_KEY", "JOBD_JOB_ID", "JOBD_STEP", "LANG", "LANGUAGE",
    "LC_ALL", "LC_CTYPE", "LOGNAME", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS", "PATH", "PYTHONUNBUFFERED", "SHELL", "TMPDIR", "TZ", "USER",
}  # fmt: skip


def test_its_environment_is_short(awkward: Any, monkeypatch: pytest.MonkeyPatch):
    """It holds what is listed and what the manifest asks for, and nothing that the daemon was told for itself."""
    for name in ("PREFECT_API_KEY", "AWS_SECRET_ACCESS_KEY", "JOBD_TOKEN", "LD_PRELOAD_X", "PYTHONPATH_X"):
        monkeypatch.setenv(name, "not for modules")
    awkward.run("import json, os; print(json.dumps(dict(os.environ)))", env={"MODE": "fast"})
    found = json.loads(awkward.log.read_text())
    assert found.pop("MODE") == "fast"
    assert set(found) <= KNOWN
    assert "not for modules" not in found.values()


def test_nothing_is_open_but_its_output(awkward: Any, tmp_path: Path):
    """Files that the runner has open, inheritable ones as well, are closed; standard input is empty."""
    held = os.open(tmp_path / "held", os.O_CREAT | os.O_RDWR)
    os.set_inheritable(held, True)
    script = """\
import os, sys
def is_open(fd):
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
print([fd for fd in range(3, 512) if is_open(fd)], repr(sys.stdin.read()))
"""
    try:
        awkward.run(script)
    finally:
        os.close(held)
    assert awkward.log.read_text() == "[] ''\n"


def test_what_it_makes_is_closed_to_others(awkward: Any):
    """Its umask lets nobody else read what it makes, in its folder or among the artifacts."""
    script = """\
import os, sys
open("made", "w").close(); os.mkdir("folder")
print(oct(os.stat("made").st_mode & 0o777), oct(os.stat("folder").st_mode & 0o777), oct(os.umask(0o077)))
open(sys.argv[2], "w").write("x")
"""
    assert isinstance(awkward.run(script, outputs=["out.txt"]), Succeeded)
    assert awkward.log.read_text() == "0o600 0o700 0o77\n"
    assert (awkward.directory.artifacts / "out.txt").stat().st_mode & 0o777 == 0o600
    assert awkward.log.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("within", [False, True])
def test_a_device_is_no_output(fail: Any, within: bool):
    """Reading one on the module's behalf could give what only the daemon may read."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a device")
    path = "os.path.join(out, 'device')" if within else "out"
    script = "import os, stat, sys; out = sys.argv[2]\n" + ("os.mkdir(out)\n" if within else "")
    failure = fail(f"{script}os.mknod({path}, stat.S_IFBLK | 0o600, os.makedev(8, 0))", outputs=["out.bin"])
    assert failure.kind is FailureKind.INVALID_OUTPUT
    assert "a device" in failure.message


def test_its_text_moves_no_terminal_and_forges_no_line(awkward: Any):
    """What of its words goes into events, failures and Prefect's log is plain lines; its log itself stays as it is."""
    text = r"\033[2J\033]0;title\007 red\r2026-01-01 ERROR forged \u202e \x85 \u2028 end"
    script = f"""\
import sys
print("a line {text}", "openjd_status: at {text}", "openjd_fail: why {text}", sep="\\n")
sys.exit(1)
"""
    failure = awkward.run(script).failure
    told = [getattr(event, "status", None) for event in awkward.told]
    for words in (failure.message, *failure.log_tail, *awkward.shown, *filter(None, told)):
        assert words.isprintable(), words
    assert "ERROR forged" in failure.message
    assert b"\033[2J" in awkward.log.read_bytes()


@pytest.mark.parametrize("kind", [None, Sandbox()], ids=["bare", "sandbox"])
def test_another_folder_in_the_place_of_its_outputs_is_refused(awkward: Any, tmp_path: Path, kind: Sandbox | None):
    """A module cannot have the daemon take a file, with the daemon's rights, out of a folder of its choice."""
    if kind is not None and (why := sandbox.missing()):
        pytest.skip(why)
    (tmp_path / "private").mkdir()
    (tmp_path / "private/out.txt").write_text("private")
    script = f"""\
import os, sys
out = os.path.dirname(sys.argv[2])
os.rmdir(out)
os.symlink({str(tmp_path / "private")!r}, out)
"""
    failure = awkward.run(script, outputs=["out.txt"], sandbox=kind).failure
    assert failure.kind is FailureKind.INVALID_OUTPUT
    assert "not the one it was given" in failure.message
    assert (tmp_path / "private/out.txt").read_text() == "private"
