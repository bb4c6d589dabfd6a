"""Modules in a sandbox of bubblewrap: what they see, and that they are judged and ended as all others."""

import json
import os
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from jobd import sandbox
from jobd.attempt import Failed, Succeeded
from jobd.containment import Containment
from jobd.events import FailureKind
from jobd.plan import Binding, Resources, Sandbox

pytestmark = pytest.mark.timeout(90)

PROBE = """\
import json, os, socket, sys
words = dict(zip(sys.argv[1::2], sys.argv[2::2]))

def attempt(do):
    try:
        return do()
    except OSError as error:
        return type(error).__name__

def connect(family, address):
    with socket.socket(family) as made:
        made.settimeout(5)
        made.connect(address)

seen = {
    "input": open(words["--input"]).read(),
    "writable": [path for path in (words["--input"], "/etc", "/usr", __file__) if os.access(path, os.W_OK)],
    "temporary": attempt(lambda: os.listdir("/tmp")),
    "home": attempt(lambda: os.listdir(os.path.expanduser("~"))),
    "state": attempt(lambda: open(STATE + "/token").read()),
    "processes": sorted(name for name in os.listdir("/proc") if name.isdigit()),
    "network": attempt(lambda: connect(socket.AF_INET, ("127.0.0.1", PORT))),
    "socket": attempt(lambda: connect(socket.AF_UNIX, SOCKET)),
    "rights": [line.split()[1] for line in open("/proc/self/status") if line.startswith(("CapEff", "NoNewPrivs"))],
    "cwd": os.getcwd(),
    "descriptors": [fd for fd in range(3, 256) if attempt(lambda: os.fstat(fd)) != "OSError"],
    "own": sorted(os.listdir("..")),
}
with open("kept", "w"): pass
print(json.dumps(seen))
open(words["--output"], "w").write("made")
"""


@pytest.fixture(autouse=True)
def possible() -> None:
    """Skip where no sandbox can be made."""
    if why := sandbox.missing():
        pytest.skip(why)


@pytest.fixture
def listener(tmp_path: Path) -> Any:
    """Give a TCP port and a socket that answer outside of a sandbox."""

    path = str(tmp_path / "s")
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(path)
        unix.listen()
        yield tcp.getsockname()[1], path


def look_around(awkward: Any, listener: Any, **rest: Any) -> dict[str, Any]:
    """Run the probe, and give what it saw."""
    port, path = listener
    state = awkward.directory.root.parents[1]
    (state / "token").write_text("token")
    (awkward.directory.artifacts / "in.txt").write_text("given")
    script = PROBE.replace("STATE", repr(str(state))).replace("PORT", str(port)).replace("SOCKET", repr(path))
    awkward.containment = Containment(hidden=(path,))
    inputs = (Binding(param_name="input", artifacts=("in.txt",)),)
    outcome = awkward.run(script, inputs=inputs, outputs=["out.txt"], **rest)
    assert isinstance(outcome, Succeeded), awkward.log.read_text()
    assert (awkward.directory.artifacts / "out.txt").read_text() == "made"
    seen: dict[str, Any] = json.loads(awkward.log.read_text())
    return seen


def test_a_module_in_a_sandbox_sees_its_files_and_the_system(awkward: Any, listener: Any):
    """It reads its inputs and the system, writes its own folder, and reaches nobody else."""
    seen = look_around(awkward, listener, sandbox=Sandbox())
    assert seen["input"] == "given"
    assert seen["writable"] == []
    assert seen["state"] == "FileNotFoundError"
    assert set(seen["home"]) <= {part for path in (sys.prefix, sys.base_prefix) for part in Path(path).parts}
    assert not any("pytest-of" in name and os.listdir(f"/tmp/{name}") == [] for name in seen["temporary"])  # noqa: PTH208
    assert len(seen["processes"]) <= 4
    assert seen["network"] == "ConnectionRefusedError"
    assert seen["socket"] in {"ConnectionRefusedError", "FileNotFoundError"}
    assert seen["rights"] == ["0000000000000000", "1"]
    assert seen["descriptors"] == []
    assert seen["cwd"].endswith("/step/entry/1/cwd")
    assert seen["own"] == ["cwd", "out", "report", "tmp"]


def test_the_network_is_there_for_who_asks(awkward: Any, listener: Any):
    """With `network: true` a port of the machine answers; all else stays hidden."""
    seen = look_around(awkward, listener, sandbox=Sandbox(network=True))
    assert seen["network"] is None
    assert seen["state"] == "FileNotFoundError"
    assert len(seen["processes"]) <= 4


def test_without_a_sandbox_the_probe_sees_more(awkward: Any, listener: Any):
    """The probe can fail: outside of a sandbox it finds what is hidden in one."""
    seen = look_around(awkward, listener)
    assert (seen["network"], seen["state"]) == (None, "token")
    assert len(seen["processes"]) > 4
    assert seen["writable"]


def test_folders_can_be_shown(awkward: Any, tmp_path: Path):
    """A folder that the manifest names is there for reading although what lies around it is hidden."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models/weights").write_text("7")
    model = tmp_path / "models/weights"
    script = f"import sys; sys.exit(int(open({str(model)!r}).read()))"
    shown = awkward.run(script, sandbox=Sandbox(read=(str(tmp_path / "models"),)))
    assert shown.failure.exit_code == 7
    assert "FileNotFoundError" in awkward.run(script, sandbox=Sandbox()).failure.log_tail[-1]


def test_what_is_hidden_is_hidden_by_every_name(awkward: Any, monkeypatch: pytest.MonkeyPatch):
    """Where the home, the secrets or the state are links, what they lead to is covered; own files are found."""
    build = Path(__file__).parents[3] / "build"  # the folder for temporary files is hidden anyway
    build.mkdir(exist_ok=True)
    elsewhere = Path(tempfile.mkdtemp(dir=build))
    try:
        for name in ("home", "secrets"):
            (elsewhere / f"real-{name}").mkdir()
            (elsewhere / f"real-{name}/key").write_text("7")
            (elsewhere / name).symlink_to(elsewhere / f"real-{name}")
        monkeypatch.setenv("HOME", str(elsewhere / "home"))
        awkward.containment = Containment(hidden=(str(elsewhere / "secrets"),))
        script = """
import os, sys
for name in ("home", "secrets", "real-home", "real-secrets"):
    try:
        print(open(os.path.join(PLACE, name, "key")).read())
    except FileNotFoundError:
        continue
    sys.exit(f"{name} is open")
open(sys.argv[-1], "w").write("made")
"""
        outcome = awkward.run(script.replace("PLACE", repr(str(elsewhere))), sandbox=Sandbox(), outputs=["out.txt"])
        assert isinstance(outcome, Succeeded), awkward.log.read_text()
    finally:
        shutil.rmtree(elsewhere)


@pytest.mark.parametrize("code", [1, 3, 126, 127, 128, 129, 137, 143, 255])
def test_exit_codes_are_exact(fail: Any, code: int):
    """Also those that shells and bubblewrap use for signals and for failures of their own."""
    failure = fail(f"raise SystemExit({code})", sandbox=Sandbox())
    assert (failure.kind, failure.exit_code, failure.signal) == (FailureKind.EXIT_CODE, code, None)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGABRT, 40])
def test_signals_are_exact(fail: Any, number: int):
    """A module that a signal ended is told by that signal, not by a code."""
    failure = fail(f"import os, signal; os.kill(os.getpid(), {int(number)}); signal.pause()", sandbox=Sandbox())
    assert (failure.kind, failure.exit_code, failure.signal) == (FailureKind.SIGNAL, None, number)


def test_what_it_used_is_told(awkward: Any):
    """Processor time and memory are the module's own, not those of what stands around it."""
    outcome = awkward.run("held = bytearray(64 << 20)\nfor _ in range(3_000_000): pass", sandbox=Sandbox())
    assert outcome.usage.max_rss_bytes > 64 << 20
    assert outcome.usage.cpu_seconds > 0.02


@pytest.mark.parametrize("script", ["daemonizes.py", "leaves_children.py"])
def test_what_it_leaves_running_is_killed(awkward: Any, script: str):
    """The end of its process is the end of all that it started, also of daemons."""
    outcome = awkward.run(script, sandbox=Sandbox())
    assert isinstance(outcome, Succeeded), outcome


@pytest.mark.parametrize("obeys", [True, False])
def test_it_has_its_grace(fail: Any, awkward: Any, obeys: bool):
    """At a timeout it is asked to end by SIGTERM, and is killed when it does not."""
    handler = "lambda *_: (print('asked', flush=True), sys.exit(0))" if obeys else "signal.SIG_IGN"
    script = f"import signal, sys\nsignal.signal(signal.SIGTERM, {handler})\nprint('up', flush=True)\n"
    failure = fail(script + "while True: signal.pause()", sandbox=Sandbox(), timeout=3.0, grace=1.0)
    assert failure.kind is FailureKind.TIMEOUT
    assert failure.log_tail == (("up", "asked") if obeys else ("up",))
    assert ("had to be killed" in failure.message) is not obeys
    assert isinstance(awkward.told[0].pid, int)


def test_its_memory_is_limited(fail: Any):
    """The limit holds inside as it does outside."""
    failure = fail("held = bytearray(400 << 20)", sandbox=Sandbox(), resources=Resources(memory=100 << 20))
    assert failure.kind is FailureKind.OUT_OF_MEMORY


def test_a_sandbox_that_cannot_be_made_starts_nothing(awkward: Any, monkeypatch: pytest.MonkeyPatch):
    """Where bubblewrap has gone since the submit, the entry fails and says so; it never runs without."""
    monkeypatch.setattr(sandbox, "missing", lambda: "bubblewrap is not installed")
    failure = awkward.run_unchecked("print('started')", sandbox=Sandbox()).failure
    assert failure.kind is FailureKind.SPAWN
    assert "bubblewrap is not installed" in failure.message
    assert awkward.told == []


def test_a_sandbox_that_breaks_says_what_bubblewrap_said(awkward: Any):
    """A folder that is not there cannot be shown; the reason is the entry's, and no exit code is made up."""
    failure = awkward.run("print('started')", sandbox=Sandbox(read=("/no/such/folder",))).failure
    assert (failure.kind, failure.exit_code) == (FailureKind.SPAWN, None)
    assert "/no/such/folder" in failure.message
    assert isinstance(Failed(failure), Failed)


@pytest.mark.parametrize(
    "act",
    [
        "os.symlink('/etc/hostname', report)",
        "os.mkfifo(report)",
        "os.mkdir(report)",
        "open(report, 'w').write('7 nan 0')",
        "open(report, 'w').write('7 1.2.3 0')",
        "open(report, 'w').write('0 ' * 1000)",
        "shutil.rmtree(os.path.dirname(report))",
        "shutil.rmtree(os.path.dirname(os.path.dirname(report)), ignore_errors=True)",
    ],
    ids=["link", "pipe", "folder", "nonsense", "no number", "flood", "gone", "all gone"],
)
def test_who_destroys_its_report_is_judged_by_its_exit(fail: Any, act: str):
    """Whatever stands where its end is written down, nothing hangs, nothing is followed, and the code is told."""
    script = (
        f"import os, shutil, sys\nreport = os.path.join(os.environ['TMPDIR'], '../report/exit')\n{act}\nsys.exit(9)"
    )
    failure = fail(script, sandbox=Sandbox())
    assert (failure.kind, failure.exit_code) == (FailureKind.EXIT_CODE, 9)
