"""Modules that run as another user than the daemon, which is root then."""

import json
import os
import pwd
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobd import other_user, sandbox
from jobd.attempt import Succeeded
from jobd.containment import Containment, User
from jobd.errors import ConfigError
from jobd.events import FailureKind
from jobd.layout import StateDirectory
from jobd.plan import Binding, Resources, Sandbox
from jobd.provisioning import SandboxPolicy, provide

pytestmark = [
    pytest.mark.usefixtures("adopting"),
    pytest.mark.timeout(90),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can run modules as another user"),
    pytest.mark.skipif(not all(map(shutil.which, ("setpriv", "prlimit"))), reason="util-linux is not installed"),
]

NOBODY = "nobody"
INPUT = "import sys; words = dict(zip(sys.argv[1::2], sys.argv[2::2])); out = words['--output']\n"


@pytest.fixture
def place() -> Iterator[Path]:
    """Give a folder that every user can reach, which a test's own is not."""
    made = Path(tempfile.mkdtemp(dir="/var/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def user(place: Path, monkeypatch: pytest.MonkeyPatch) -> User:
    """Give a user who can reach an interpreter."""
    found = other_user.find_user(NOBODY)
    for interpreter in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        try:
            if Path(interpreter).exists():
                other_user.check_reach(found, (Path(interpreter), place))
                monkeypatch.setattr(sys, "executable", interpreter)
                return found
        except ConfigError:
            continue
    pytest.skip("no interpreter of this machine can be reached by another user")


@pytest.fixture(params=[None, Sandbox()], ids=["bare", "sandbox"])
def run(request: Any, place: Path, user: User, awkward_class: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give a function that runs a script as the user, in a sandbox as well where one can be made."""
    if request.param is not None and (why := sandbox.missing()):
        pytest.skip(why)
    monkeypatch.setattr("jobd.job_cgroup.base", lambda: None)
    state = StateDirectory(place / "state")
    previous = os.umask(0o077)
    state.make()
    directory = state.job("abc123")
    for folder in (directory.artifacts, directory.work, directory.logs, place / "modules"):
        folder.mkdir(parents=True)
    (directory.artifacts / "in.txt").write_text("given")
    state.token.write_text("token")
    os.umask(previous)
    (place / "modules").chmod(0o755)
    runner = awkward_class(directory, contained=False, containment=Containment(user=user))

    def start(script: str, **rest: Any) -> Any:
        (place / "modules/main.py").write_text(INPUT + script)
        (place / "modules/main.py").chmod(0o644)
        values = {"inputs": (Binding(param_name="input", artifacts=("in.txt",)),), "sandbox": request.param} | rest
        return runner.run_in(place / "modules", "main.py", outputs=["out.txt"], **values)

    start.runner = runner  # type: ignore[attr-defined]
    return start


def test_it_is_that_user_and_reaches_only_its_own(run: Any, user: User):
    """It has the user's ids, no other group, no right; it reads its input and nothing else that the daemon keeps."""
    script = """\
import json, os
def attempt(do):
    try:
        return do()
    except OSError as error:
        return type(error).__name__
state = words["--input"].partition("/jobs/")[0]
print(json.dumps({
    "ids": [*os.getresuid(), *os.getresgid()],
    "groups": os.getgroups(),
    "rights": [line.split()[1] for line in open("/proc/self/status") if line.startswith(("CapEff", "NoNewPrivs"))],
    "input": open(words["--input"]).read(),
    "shadow": attempt(lambda: open("/etc/shadow").read()),
    "token": attempt(lambda: open(state + "/token").read()),
    "writes": [path for path in (words["--input"], state, state + "/jobs", "/etc", __file__) if os.access(path, 2)],
    "who": [os.environ["USER"], os.environ["HOME"]],
    "log": attempt(lambda: open("/dev/stderr", "a").close()),
}))
open(out, "w").write("made")
"""
    outcome = run(script)
    assert isinstance(outcome, Succeeded), run.runner.log.read_text()
    seen = json.loads(run.runner.log.read_text())
    assert seen["ids"] == [user.uid] * 3 + [user.gid] * 3
    assert seen["groups"] == []
    assert seen["rights"] == ["0000000000000000", "1"]
    assert (seen["input"], seen["log"]) == ("given", None)
    assert seen["shadow"] == "PermissionError"
    assert seen["token"] in {"PermissionError", "FileNotFoundError"}
    assert [path for path in seen["writes"] if not path.endswith("/state")] == []
    assert seen["who"] == [NOBODY, pwd.getpwnam(NOBODY).pw_dir]


def test_what_it_made_is_taken_back(run: Any):
    """Results belong to the daemon alone, whatever modes and further names the module gave them."""
    script = """\
import os
os.mkdir(out)
open(out + "/a", "w").write("1")
os.chmod(out + "/a", 0o6777)
os.link(out + "/a", out + "/b")
os.symlink("a", out + "/link")
os.mkdir(out + "/folder")
os.chmod(out + "/folder", 0o777)
"""
    assert isinstance(run(script), Succeeded)
    made = run.runner.directory.artifacts / "out.txt"
    for path in (made, *made.iterdir()):
        status = path.lstat()
        assert (status.st_uid, status.st_gid) == (0, 0), path
        assert stat.S_ISLNK(status.st_mode) or not status.st_mode & 0o6077, path
    assert [(made / name).stat().st_nlink for name in ("a", "b")] == [1, 1]


def test_a_file_of_somebody_else_is_no_output(place: Path, user: User):
    """A further name of a file that the user could not read is refused before it is read on the user's behalf."""
    (place / "secret").write_text("for root alone")
    (place / "secret").chmod(0o600)
    (place / "out").mkdir()
    (place / "out/result").hardlink_to(place / "secret")
    with pytest.raises(other_user.OutputError, match="it holds a file of another user: result"):
        other_user.take_back(user, place / "out")
    assert (place / "secret").stat().st_nlink == 2


@pytest.mark.parametrize("depth", [250, 1200])
def test_an_output_that_is_too_deep_is_refused(run: Any, depth: int):
    """Whoever takes it back from the user has to get through it."""
    failure = run(
        f"import os; os.mkdir(out); os.chdir(out)\nfor _ in range({depth}): os.mkdir('d'); os.chdir('d')"
    ).failure
    assert failure.kind is FailureKind.INVALID_OUTPUT
    assert "more than 200 deep" in failure.message


@pytest.mark.parametrize("left", ["start_new_session=True", "start_new_session=False"])
def test_what_it_leaves_running_is_killed(run: Any, left: str):
    """Processes of another user are found and ended as the daemon's own are."""
    script = f"import subprocess; subprocess.Popen(['sleep', '600'], {left}); open(out, 'w')"
    assert isinstance(run(script), Succeeded)


def test_its_limits_hold(run: Any):
    """They are laid on it before it becomes the user, since later root may not be able to."""
    failure = run("held = bytearray(400 << 20)", resources=Resources(memory=100 << 20)).failure
    assert failure.kind is FailureKind.OUT_OF_MEMORY
    script = "import resource; print(*resource.getrlimit(resource.RLIMIT_NOFILE)); open(out, 'w')"
    assert isinstance(run(script), Succeeded)
    assert run.runner.log.read_text().endswith("\n4096 4096\n")


def test_the_way_is_checked_when_the_daemon_starts(place: Path, user: User):
    """A folder that the user cannot pass is told before any job fails by it; so are users who cannot be."""
    closed = place / "closed"
    closed.mkdir(mode=0o700)

    def start(run_as: str, state: Path) -> None:
        provide(
            state=state, modules=(), policy=SandboxPolicy.OFF, run_as=run_as, secrets_dir=None, allowed_roots=()
        )  # fmt: skip

    start(user.name, place / "state")
    for run_as, state, message in (
        (user.name, closed / "state", f"{closed} is closed to it"),
        ("root", place / "state", "that is root"),
        ("no-such-user", place / "state", "there is no user"),
    ):
        with pytest.raises(ConfigError, match=message):
            start(run_as, state)
