"""Looking at processes and ending them: never the wrong one, and never giving up before it is certain."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobd import procfs
from jobd.process import Awaited, ModuleProcess, signal_name

pytestmark = pytest.mark.timeout(60)

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Give a function that starts a process; all of them are ended and waited for."""
    started: list[subprocess.Popen[bytes]] = []

    def run(*argv: str, **rest: object) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen(argv, **rest))
        return started[-1]

    yield run
    for child in started:
        child.kill()
        child.wait()
        assert procfs.process(child.pid) is None


def test_a_process_is_seen_as_it_is(start: Start):
    """Its parent and session are told, and looking again gives the same."""
    child = start("sleep", "1000", start_new_session=True)
    seen = procfs.process(child.pid)
    assert seen is not None
    assert (seen.pid, seen.parent, seen.session) == (child.pid, os.getpid(), child.pid)
    assert seen == procfs.process(child.pid)
    assert seen in list(procfs.processes())
    assert seen.start_ticks >= procfs.process(os.getpid()).start_ticks


def test_an_ended_process_is_gone(start: Start):
    """One that has ended is not there, before it is waited for and after."""
    child = start("true")
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert procfs.process(child.pid) is None
    child.wait()
    assert procfs.process(child.pid) is None


@pytest.mark.parametrize("name", ["a b", "a) R 1 (b", "((", "é"])
def test_any_name_can_be_read(start: Start, tmp_path: Path, name: str):
    """A program's name may hold blanks and parentheses without being mistaken for other fields."""
    program = tmp_path / name
    program.symlink_to("/bin/sleep")
    child = start(str(program), "1000")
    assert procfs.process(child.pid).parent == os.getpid()


def test_a_mark_is_matched_whole(start: Start):
    """A process is known by exactly its variable, not by one that begins or ends like it."""
    env = {"JOBD_JOB_ID": "abc12", "OTHER": "JOBD_JOB_ID=abc1", "PATH": os.environ["PATH"]}
    child = start("sleep", "1000", env=env)
    deadline = time.monotonic() + 20  # the kernel shows it once the program is loaded
    while not procfs.has_mark(child.pid, b"JOBD_JOB_ID=abc12"):
        assert time.monotonic() < deadline
    marks = [b"JOBD_JOB_ID=abc12", b"JOBD_JOB_ID=abc1", b"JOBD_JOB_ID=abc123", b"JOB_ID=abc12", b"JOBD_JOB_ID"]
    assert [procfs.has_mark(child.pid, mark) for mark in marks] == [True, False, False, False, False]
    found = list(procfs.find(session=None, mark=b"JOBD_JOB_ID=abc12"))
    assert [process.pid for process in found] == [child.pid]
    assert not procfs.has_mark(1 << 30, b"JOBD_JOB_ID=abc12")


def test_a_number_that_means_another_process_is_not_signalled(start: Start):
    """A process that began at another time than the one that was meant gets no signal, and counts as gone."""
    child = start("sleep", "1000")
    seen = procfs.process(child.pid)
    other = procfs.Process(seen.pid, seen.parent, seen.session, seen.start_ticks - 1)
    procfs.send(other, signal.SIGKILL)
    assert procfs.wait_gone([other], 0)
    assert procfs.process(child.pid) == seen
    procfs.send(seen, signal.SIGKILL)
    assert procfs.wait_gone([seen], 10)
    procfs.send(seen, signal.SIGKILL)


def test_waiting_has_an_end(start: Start):
    """Something that lives is told to live when the time is up."""
    seen = procfs.process(start("sleep", "1000").pid)
    assert not procfs.wait_gone([seen], 0.05)


def test_those_that_do_not_end_by_themselves_are_killed(start: Start):
    """Of two, the one that ignores SIGTERM is killed after the grace and told of; the other ended by itself."""
    script = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"
    stubborn = start(sys.executable, "-c", script, stdout=subprocess.PIPE)
    stubborn.stdout.read(3)
    willing = start("sleep", "1000")
    targets = [procfs.process(stubborn.pid), procfs.process(willing.pid)]
    killed = procfs.end_all(lambda: [target for target in targets if procfs.process(target.pid) is not None], grace=0.2)
    stubborn.stdout.close()
    assert [process.pid for process in killed] == [stubborn.pid]


def test_what_outlives_everything_is_an_error(start: Start, monkeypatch: pytest.MonkeyPatch):
    """A process that SIGKILL does not end, as one that hangs in the kernel, is told instead of waited for for ever."""
    seen = procfs.process(start("sleep", "1000").pid)
    monkeypatch.setattr(procfs, "send", lambda _target, _number: None)
    with pytest.raises(TimeoutError, match=f"process {seen.pid} outlives SIGKILL"):
        procfs.end_all(lambda: [seen], grace=0, patience=0.1)


@pytest.fixture
def module(tmp_path: Path, no_process_left: None) -> Callable[..., ModuleProcess]:
    """Give a function that starts a module process with a shell script."""

    def run(script: str) -> ModuleProcess:
        env = {"MARK": "it", "JOBD_JOB_ID": "abc123", "PATH": os.environ["PATH"]}
        return ModuleProcess(["sh", "-c", script], cwd=tmp_path, env=env, log=tmp_path / "log", mark=b"MARK=it")

    return run


def test_a_wait_tells_what_came_first(module: Callable[..., ModuleProcess]):
    """The end of the time, a wake and the end of the process are told apart, and the end goes before the wake."""
    read, write = os.pipe()
    with module("exec sleep 1000") as running:
        assert running.wait(0, read) is Awaited.TIME
        os.close(write)
        assert running.wait(10, read) is Awaited.WAKE
        assert running.end(grace=10) == []
        assert running.wait(10, read) is Awaited.END
        assert running.reap() == running.reap()
        assert (running.reap().code, running.reap().signal) == (None, signal.SIGTERM)
    os.close(read)


def test_a_module_that_is_let_go_is_ended(module: Callable[..., ModuleProcess]):
    """Whatever goes wrong beside it, a module's process does not outlive the block that it was started for."""
    with pytest.raises(ZeroDivisionError), module("sleep 1000 & exec sleep 1000") as running:
        raise ZeroDivisionError
    assert procfs.process(running.pid) is None


def test_what_a_process_used_is_told(module: Callable[..., ModuleProcess]):
    """Processor time is that of the process."""
    with module("exit 0") as running:
        exited = running.reap()
    assert 0 <= exited.cpu_seconds < 10


def test_a_log_that_is_a_link_is_not_followed(tmp_path: Path, module: Callable[..., ModuleProcess]):
    """Output is never written through a link that somebody put in the log's place."""
    (tmp_path / "log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        module("echo x")
    assert not (tmp_path / "elsewhere").exists()


def test_signals_have_names():
    """A signal is told by its name, and one without a name by its number."""
    assert (signal_name(9), signal_name(11), signal_name(35)) == ("SIGKILL", "SIGSEGV", "signal 35")
