"""Warm interpreters come and go, and no entry is the worse for it."""

import os
import select
import signal
from pathlib import Path
from time import monotonic

import pytest

from jobd import job_cgroup, procfs, warm_hosts, warm_process
from jobd.attempt import Failed, Succeeded
from jobd.events import FailureKind
from jobd.plan import Plan, PlanStep
from jobd.warm_hosts import WarmHosts

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """Give a module's script with a helper beside it."""
    folder = tmp_path / "module"
    folder.mkdir()
    (folder / "helper.py").write_text("WORD = 'one'\n")
    (folder / "main.py").write_text("import helper\nprint('first', helper.WORD)\n")
    return folder / "main.py"


def end_host(pid: int, number: signal.Signals) -> None:
    """End a warm interpreter by a signal, and wait until it is dead."""
    fd = os.pidfd_open(pid)
    signal.pidfd_send_signal(fd, number)
    assert select.select([fd], [], [], 60)[0] == [fd]
    os.close(fd)


def test_a_module_that_is_edited_is_seen_at_once(both, module: Path):
    """The next entry runs what the script and its helpers are by then, however soon and however alike."""
    entry = both.entry(f"{module}")
    hosts = both.hosts(entry)
    assert both.run(entry, hosts).log == b"first one\n"
    (module.parent / "helper.py").write_text("WORD = 'second'\n")
    assert both.run(entry, hosts).log == b"first second\n"
    for word in ("other", "third", "forth"):
        module.write_text(f"import helper\nprint('{word}', helper.WORD)\n")
        assert both.run(entry, hosts).log == f"{word} second\n".encode()
    assert hosts.forks == 5


def test_a_file_that_stands_in_for_a_library_is_heeded(both, module: Path):
    """A file beside the script that has a library's name is imported in its place, as in a fresh interpreter."""
    module.write_text("import shutil\nprint(shutil.__file__)\n")
    entry = both.entry(f"{module}")
    hosts = both.hosts(entry)
    assert b"lib/python" in both.run(entry, hosts).log
    (module.parent / "shutil.py").write_text("")
    assert both.run(entry, hosts).log == f"{module.parent}/shutil.py\n".encode()


def test_one_that_was_killed_is_replaced(both, module: Path):
    """The entry that finds it dead is started cold, and those after it are forked again."""
    entry = both.entry(f"{module}")
    hosts = both.hosts(entry)
    [pid] = hosts.pids()
    end_host(pid, signal.SIGKILL)
    assert isinstance(both.run(entry, hosts).outcome, Succeeded)
    both.wait_ready(hosts, entry)
    assert hosts.pids() != [pid]
    assert isinstance(both.run(entry, hosts).outcome, Succeeded)
    assert hosts.forks == 1


def test_one_that_is_killed_again_and_again_is_given_up(both, module: Path):
    """After some crashes the job goes on without."""
    entry = both.entry(f"{module}")
    hosts = both.hosts(entry)
    for _ in range(warm_hosts.MOST_DEATHS):
        end_host(hosts.pids()[0], signal.SIGSEGV)
        assert isinstance(both.run(entry, hosts).outcome, Succeeded)
        if hosts.pids():
            both.wait_ready(hosts, entry)
    assert hosts.pids() == []
    assert isinstance(both.run(entry, hosts).outcome, Succeeded)
    assert hosts.forks == 0


def test_one_that_does_not_answer_is_given_up(both, module: Path, monkeypatch: pytest.MonkeyPatch):
    """An entry waits a bounded time for its fork, and is then started cold."""
    monkeypatch.setattr(warm_process, "ANSWER_SECONDS", 0.5)
    entry = both.entry(f"{module}")
    hosts = both.hosts(entry)
    os.kill(hosts.pids()[0], signal.SIGSTOP)
    assert isinstance(both.run(entry, hosts).outcome, Succeeded)
    assert hosts.forks == 0


def test_an_entry_goes_on_when_its_host_dies(both, module: Path):
    """The end of the interpreter that it was forked from changes nothing for an entry that runs."""
    module.write_text(
        "import os, signal, sys\nos.kill(int(sys.argv[1]), signal.SIGKILL)\nprint('alive')\nsys.exit(7)\n"
    )
    plain = both.entry(f"{module}")
    hosts = both.hosts(plain)
    entry = both.entry(f"{module}", options=(f"{hosts.pids()[0]}",))
    seen = both.run(entry, hosts)
    assert hosts.forks == 1
    assert (seen.outcome.failure.exit_code, seen.log) == (7, b"alive\n")


def test_an_idle_one_ends(both, module: Path):
    """One of which nothing is asked ends by itself, and the next entry is not the worse for it."""
    entry = both.entry(f"{module}")
    hosts = both.hosts(entry, idle_seconds=0.2)
    fd = os.pidfd_open(hosts.pids()[0])
    assert select.select([fd], [], [], 60)[0] == [fd]
    os.close(fd)
    for _ in range(warm_hosts.MOST_DEATHS + 1):
        assert isinstance(both.run(entry, hosts).outcome, Succeeded)


def test_it_ends_with_who_holds_it(both, module: Path):
    """When the socket to it is closed, as by the death of its runner, it ends, and so does what it has forked."""
    entry = both.entry(f"{module}")
    hosts = both.hosts(entry)
    parked = hosts.fork(entry, *both.call(entry), 1)
    [fd] = [os.pidfd_open(pid) for pid in hosts.pids()]
    [slot] = hosts._slots.values()
    slot.host._line.close()
    assert select.select([fd], [], [], 60)[0] == [fd]
    os.close(fd)
    parked.drop()


@pytest.mark.parametrize(
    ("preload", "text"),
    [
        (("no_such_library",), "ModuleNotFoundError"),
        (("helper",), "ModuleNotFoundError"),
        (("antigravity_of_threads",), "started a thread"),
    ],
)
def test_a_library_that_cannot_be_held_costs_only_speed(both, module: Path, caplog, *, tmp_path, preload, text: str):
    """What cannot be imported beforehand is said in the log, and the entries are started cold."""
    (tmp_path / "antigravity_of_threads.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    entry = both.entry(f"{module}", preload=preload, env={"PYTHONPATH": f"{tmp_path}"})
    hosts = both.hosts(entry, ready=False)
    deadline = monotonic() + 60
    while "warm_refused" not in caplog.text and monotonic() < deadline:
        assert isinstance(both.run(entry, hosts).outcome, Succeeded)
    assert text in caplog.text
    assert (hosts.forks, hosts.pids()) == (0, [])


@pytest.mark.parametrize("values", [{"preload": None}, {"env": {"PYTHONVERBOSE": ""}}])
def test_who_does_not_want_it_does_not_get_it(both, module: Path, values: dict[str, object]):
    """`preload: false`, and a variable that has an interpreter tell of its start, mean a start each time."""
    entry = both.entry(f"{module}", **values)
    hosts = both.hosts(entry, ready=False)
    assert isinstance(both.run(entry, hosts).outcome, Succeeded)
    assert hosts.pids() == []


def test_few_entries_are_not_worth_one(both, module: Path):
    """A job of a single entry of a module starts no more processes than it needs."""
    entry = both.entry(f"{module}")
    hosts = WarmHosts(Plan(name="job", steps=(PlanStep(name="step", entries=(entry,)),)))
    both.run(entry, hosts)
    assert hosts.pids() == []


def test_there_are_few_of_them(both, module: Path):
    """Modules beyond the number that is held have the one go that was used longest ago."""
    entries = [both.entry(f"{module}", env={"KIND": f"{n}"}) for n in range(warm_hosts.MOST_HOSTS + 2)]
    hosts = both.hosts(entries[0], ready=False)
    for entry in entries:
        assert isinstance(both.run(entry, hosts).outcome, Succeeded)
        assert len(hosts.pids()) <= warm_hosts.MOST_HOSTS
    assert len(hosts.pids()) == warm_hosts.MOST_HOSTS


def test_forks_do_not_share_their_luck(both, module: Path):
    """Random numbers, names of temporary files and keys differ between entries."""
    module.write_text(
        "import random, uuid, tempfile, secrets, numpy.random, os\n"
        "print(random.random(), uuid.uuid4(), next(tempfile._get_candidate_names()), secrets.token_hex(),\n"
        "      numpy.random.random(), numpy.random.default_rng().random(), os.urandom(4), sep='\\n')\n"
    )
    entry = both.entry(f"{module}", preload=("numpy", "numpy.random"))
    hosts = both.hosts(entry)
    first, second = (both.run(entry, hosts).log.splitlines() for _ in range(2))
    assert hosts.forks == 2
    assert len(set(first + second)) == 14


def test_what_got_away_from_its_session_is_found(both, module: Path, monkeypatch: pytest.MonkeyPatch):
    """Without cgroups, a grandchild with a session of its own, and no file open, is known by its environment."""
    monkeypatch.setattr(job_cgroup, "base", lambda: None)
    module.write_text(
        "import os, time\nreader, writer = os.pipe()\n"
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
        "        os.chdir('/')\n        os.write(writer, str(os.getpid()).encode())\n        os.closerange(0, 100)\n"
        "        time.sleep(600)\n    os._exit(0)\n"
        "print(os.read(reader, 20).decode())\n"
    )
    entry = both.entry(f"{module}")
    hosts = both.hosts(entry)
    seen = both.run(entry, hosts)
    assert (hosts.forks, isinstance(seen.outcome, Succeeded)) == (1, True)
    assert procfs.process(int(seen.log)) is None


def test_an_entry_is_limited_before_its_first_line(both, module: Path, monkeypatch: pytest.MonkeyPatch):
    """What it may use is bounded when it begins, in a cgroup or without."""
    monkeypatch.setattr(job_cgroup, "base", lambda: None)
    module.write_text("import resource\nprint(resource.getrlimit(resource.RLIMIT_DATA)[0])\nbytearray(1 << 29)\n")
    entry = both.entry(f"{module}", resources={"memory": 100 << 20})
    seen = both.run(entry, both.hosts(entry))
    assert seen.log.startswith(b"104857600\n")
    assert isinstance(seen.outcome, Failed)
    assert seen.outcome.failure.kind is FailureKind.OUT_OF_MEMORY


def test_one_that_runs_too_long_is_ended(both, module: Path):
    """A timeout reaches what was forked as it reaches what was started, children included."""
    module.write_text("import subprocess\nsubprocess.run(['sleep', '600'])\n")
    entry = both.entry(f"{module}", timeout=1)
    hosts = both.hosts(entry)
    seen = both.run(entry, hosts)
    assert (hosts.forks, seen.outcome.failure.kind) == (1, FailureKind.TIMEOUT)


def test_what_a_library_warns_of_is_for_the_entry(both, module: Path):
    """A warning that the script's own import brings about is printed by each entry."""
    module.write_text("import shutil\nimport imp\n")
    assert b"DeprecationWarning" in both.compare(f"{module}").log


def test_a_fork_is_born_in_its_cgroup_and_its_runners_child(both, module: Path):
    """From its first instant it is where it belongs; where there are no cgroups this has nothing to show."""
    cgroup = job_cgroup.make(f"birth-{os.getpid()}")
    if cgroup is None:
        pytest.skip("no cgroup can be made here")
    entry = both.entry(f"{module}")
    parked = both.hosts(entry).fork(entry, *both.call(entry), 1, cgroup.path)
    try:
        assert parked.placed
        assert [member.pid for member in cgroup.members()] == [parked.pid]
        assert int(Path(f"/proc/{parked.pid}/stat").read_text().rpartition(")")[2].split()[1]) == os.getpid()
        assert os.getsid(parked.pid) == parked.pid
    finally:
        parked.drop()
        job_cgroup.remove(cgroup)


def test_a_fork_that_cannot_be_born_in_a_cgroup_is_a_fork_all_the_same(both, module: Path):
    """Where the kernel refuses, it comes another way, and is to be moved."""
    entry = both.entry(f"{module}")
    parked = both.hosts(entry).fork(entry, *both.call(entry), 1, module.parent)
    try:
        assert not parked.placed
        assert os.getsid(parked.pid) == parked.pid
    finally:
        parked.drop()
