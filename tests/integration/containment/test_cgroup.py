"""Real cgroups: made, filled, killed, removed; and the job's, in which its runner lives."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobd import cgroup, job_cgroup, procfs
from jobd.cgroup import Cgroup

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(cgroup.base() is None, reason="no cgroup v2 can be made here"),
]

JOB = f"cgroup-{os.getpid()}"

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Give a function that starts a Python script and waits until it says something."""
    started: list[subprocess.Popen[bytes]] = []

    def run(script: str) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, start_new_session=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline()
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def made() -> Iterator[Cgroup]:
    """Give a cgroup of the job."""
    own = job_cgroup.make(JOB)
    assert own is not None
    yield own
    own.kill()
    job_cgroup.remove(own)


def _job_folder() -> Path:
    home = cgroup.base()
    assert home is not None
    return home / "jobd" / JOB


GO = "import os, sys\nprint('up', flush=True)\nsys.stdin.read()\n"


def test_all_of_a_tree_is_killed_at_once(made: Cgroup):
    """Whatever a member forks is a member, and one word ends them all."""
    script = GO + "import signal\nfor _ in range(6): os.fork()\nos.write(1, b'all\\n')\nsignal.pause()"
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.readline()
    made.add(process.pid)
    process.stdin.close()
    for _ in range(64):
        assert process.stdout.readline() == b"all\n"
    assert len(made.members()) == 64
    assert made.is_populated()
    made.kill()
    assert made.wait_empty(10)
    assert (made.members(), made.is_populated()) == ([], False)
    process.stdout.close()
    process.wait()


def test_cgroups_that_a_member_made_are_killed_and_removed(made: Cgroup, start: Start):
    """A module that makes cgroups of its own below does not hide anything in them."""
    process = start("print('up', flush=True)\nimport signal; signal.pause()")
    (made.path / "own" / "inner").mkdir(parents=True)
    Cgroup(made.path / "own" / "inner").add(process.pid)
    assert [member.pid for member in made.members()] == [process.pid]
    made.kill()
    made.remove()
    assert not made.path.exists()


def test_what_lives_on_is_not_removed(made: Cgroup, start: Start):
    """A cgroup with a living member cannot be removed, and the error says where."""
    process = start("print('up', flush=True)\nimport signal; signal.pause()")
    made.add(process.pid)
    assert not made.wait_empty(0)
    with pytest.raises(TimeoutError, match=str(process.pid)):
        made.remove(0.01)


def test_a_process_that_has_ended_is_no_error(made: Cgroup, start: Start):
    """One that went before it could be moved has nothing to be moved."""
    process = start("print('up', flush=True)")
    process.wait()
    made.add(process.pid)
    assert made.members() == []


def test_the_folder_of_a_job_goes_with_its_last_cgroup():
    """Two attempts have two cgroups; the job's folder is there as long as either of them."""
    first, second = job_cgroup.make(JOB), job_cgroup.make(JOB)
    assert first is not None
    assert second is not None
    assert first.path != second.path
    job_cgroup.remove(first)
    assert _job_folder().exists()
    job_cgroup.remove(second)
    assert not _job_folder().exists()


def test_what_a_dead_runner_left_is_killed_and_removed(start: Start):
    """Everything in any cgroup of the job is ended and told, and the cgroups are gone; a second time there is none."""
    process = start("print('up', flush=True)\nimport signal; signal.pause()")
    left, empty = job_cgroup.make(JOB), job_cgroup.make(JOB)
    assert left is not None
    assert empty is not None
    left.add(process.pid)
    assert [killed.pid for killed in job_cgroup.remove_stale(JOB)] == [process.pid]
    assert procfs.process(process.pid) is None
    assert not _job_folder().exists()
    assert job_cgroup.remove_stale(JOB) == []


def test_what_was_abandoned_is_cleared_away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Cgroups of jobs in which nothing lives are removed once they are old; those with a living member stay."""
    home = cgroup.base()
    assert home is not None
    apart = Cgroup(home / f"apart-{os.getpid()}")
    apart.path.mkdir()
    monkeypatch.setattr(job_cgroup, "base", lambda: apart.path)
    try:
        job_cgroup.make("dead")
        with job_cgroup.inhabit("alive"):
            assert job_cgroup.remove_abandoned() == 0
            assert job_cgroup.remove_abandoned(age=-1) == 1
            assert [path.name for path in (apart.path / "jobd").glob("*/")] == ["alive"]
    finally:
        apart.remove()


def test_children_of_a_runner_are_born_in_its_job(start: Start):
    """While a process inhabits its job, no child of it is ever outside; afterwards it is back, and they are dead."""
    before = Path("/proc/self/cgroup").read_text()
    with job_cgroup.inhabit(JOB):
        process = start("print('up', flush=True)\nimport signal; signal.pause()")
        assert f"/jobd/{JOB}/runner" in Path(f"/proc/{process.pid}/cgroup").read_text()
        assert job_cgroup.unplaced() == {process.pid}
    assert Path("/proc/self/cgroup").read_text() == before
    assert procfs.process(process.pid) is None
    assert job_cgroup.unplaced() == set()
    assert not _job_folder().exists()


def test_a_machine_without_cgroups_is_no_error(monkeypatch: pytest.MonkeyPatch):
    """Where none can be made, nothing is contained in one, nothing fails, and it is said."""
    monkeypatch.setattr(job_cgroup, "base", lambda: None)
    with job_cgroup.inhabit(JOB):
        assert job_cgroup.make(JOB) is None
    assert job_cgroup.remove_stale(JOB) == []
    assert "no cgroup v2" in job_cgroup.describe()


def test_a_cgroup_that_is_refused_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A base that may not be written, as in a container, is the same as none."""
    monkeypatch.setattr(job_cgroup, "base", lambda: tmp_path / "gone")
    with job_cgroup.inhabit(JOB):
        assert job_cgroup.make(JOB) is None


def test_what_can_be_had_is_said():
    """People are told where cgroups are made, and by what memory is limited."""
    told = job_cgroup.describe()
    assert str(cgroup.base()) in told
    assert "memory" in told


def test_limits_are_written_where_there_are_controllers(tmp_path: Path):
    """With the kernel's files there, memory and processes get their limits; an oom takes the whole module."""
    for name in ("pids.max", "memory.max", "memory.oom.group"):
        (tmp_path / name).touch()
    (tmp_path / "memory.events").write_text("low 0\noom 3\noom_kill 2\n")
    assert Cgroup(tmp_path).limit(memory=1 << 20, processes=7)
    written = [(tmp_path / name).read_text() for name in ("pids.max", "memory.max", "memory.oom.group")]
    assert written == ["7", "1048576", "1"]
    assert Cgroup(tmp_path).oom_kills() == 2


def test_a_limit_that_nothing_enforces_is_told(tmp_path: Path):
    """Without a controller, or without a word on memory, the caller is told that memory is not limited here."""
    assert not Cgroup(tmp_path).limit(memory=1 << 20, processes=7)
    (tmp_path / "memory.max").touch()
    assert not Cgroup(tmp_path).limit(memory=0, processes=7)
    assert (tmp_path / "memory.max").read_text() == ""
    assert Cgroup(tmp_path).oom_kills() == 0


ASIDE = """
import os
from jobd import cgroup
print(cgroup.base())
cgroup.step_aside()
print(open("/proc/self/cgroup").read().split("0::")[1].splitlines()[0])
"""


@pytest.mark.parametrize("delegated", [True, False])
def test_a_daemon_steps_aside_in_a_cgroup_of_its_own(made: Cgroup, delegated: bool):
    """One whose cgroup was delegated to it, as by systemd, makes room for controllers; another stays where it is."""
    if delegated:
        try:
            os.setxattr(made.path, "user.delegate", b"1")
        except OSError as error:
            pytest.skip(f"this kernel's cgroups take no such mark: {error}")
    script = f"import os, sys; sys.stdin.read()\n{ASIDE}"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        made.add(process.pid)
        told, _ = process.communicate(timeout=30)
    home, place = told.decode().split()
    assert home == str(made.path)
    assert place.endswith(f"/{made.path.name}/daemon" if delegated else f"/{made.path.name}")


PRIVILEGES = """
from jobd import procfs
procfs.forbid_new_privileges()
import subprocess
print(subprocess.run(["grep", "NoNewPrivs", "/proc/self/status"], capture_output=True, text=True).stdout)
"""


def test_new_privileges_are_forbidden_to_all_that_follows():
    """What a process starts after it has forbidden itself new privileges cannot gain any either."""
    told = subprocess.run([sys.executable, "-c", PRIVILEGES], capture_output=True, text=True, check=True).stdout
    assert told.split() == ["NoNewPrivs:", "1"]


ADOPTS = """
import os, subprocess, sys, time
from jobd import procfs
from jobd.process import end_adopted
procfs.become_subreaper()
module = subprocess.run([sys.executable, sys.argv[1]], stdout=subprocess.PIPE, text=True)
print(module.stdout.split()[1], *(killed.pid for killed in end_adopted()), *procfs.orphans())
"""


def test_nothing_outlives_a_runner_that_ends_what_it_adopted():
    """Without any cgroup, a process that has cut every tie is ended at the latest by the end of its job."""
    script = Path(__file__).parent / "awkward" / "daemonizes.py"
    told = subprocess.run([sys.executable, "-c", ADOPTS, script], capture_output=True, text=True, check=True).stdout
    pid, *killed = told.split()
    assert killed == [pid]
    assert procfs.process(int(pid)) is None
