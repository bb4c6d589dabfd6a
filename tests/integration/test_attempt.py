"""One attempt with a real child process: how it is started, how it is judged, and that nothing of it is left."""

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from jobd import journal, procfs
from jobd.artifacts import ArtifactStore
from jobd.attempt import Attempt, Cancelled, Failed, Succeeded
from jobd.attempt_run import run_attempt
from jobd.events import EntryFailed, EntryProgress, EntryStarted, FailureKind, JobEvent, Occurrence
from jobd.layout import JobDirectory
from jobd.plan import PlanEntry

pytestmark = [pytest.mark.usefixtures("no_process_left"), pytest.mark.timeout(60)]

Outcome = Succeeded | Failed | Cancelled


class Runs:
    """Runs attempts of one job and keeps what they tell."""

    def __init__(self, directory: JobDirectory) -> None:
        self.directory = directory
        self.told: list[JobEvent] = []
        self.full = False
        """Whether what does not wait for room finds none."""
        self.shown: list[str] = []
        self.wake_fd, self._wake_end = os.pipe()
        self._threads: list[Thread] = []

    def attempt(self, entry: PlanEntry, number: int = 1) -> Attempt:
        return Attempt(
            job_id="abc123",
            entry=entry,
            number=number,
            directory=self.directory,
            artifacts=ArtifactStore(self.directory.artifacts),
            record=self._record,
            wake_fd=self.wake_fd,
            stop_reason=lambda: "somebody asked",
        )

    def _record(self, *happened: JobEvent, durable: bool = False, wait: bool = True) -> bool:
        if self.full and not wait:
            return False
        self.told.extend(happened)
        return True

    def run(self, entry: PlanEntry, number: int = 1) -> Outcome:
        outcome = run_attempt(self.attempt(entry, number), self.shown.append)
        assert not self.directory.scratch(entry.step, entry.name, number).exists()
        return outcome

    def start(self, entry: PlanEntry) -> Callable[[], Outcome]:
        """Run an attempt in another thread; gives a function that waits for what it comes to."""
        outcomes: list[Outcome] = []
        thread = Thread(target=lambda: outcomes.append(self.run(entry)))
        thread.start()
        self._threads.append(thread)

        def wait() -> Outcome:
            thread.join(30)
            return outcomes[0]

        return wait

    def cancel(self) -> None:
        """End every attempt, now and from now on."""
        with contextlib.suppress(OSError):
            os.close(self._wake_end)

    def log(self, number: int = 1) -> str:
        return self.directory.log("step", "entry", number).read_text(errors="replace")

    def close(self) -> None:
        self.cancel()
        for thread in self._threads:
            thread.join(30)
        os.close(self.wake_fd)


@pytest.fixture
def runs(directory: JobDirectory) -> Iterator[Runs]:
    """Give a runner of attempts."""
    made = Runs(directory)
    yield made
    made.close()


@pytest.fixture
def fail(runs: Runs, modules) -> Callable[..., Any]:
    """Give a function that runs a script that is to fail, and gives why it did."""

    def run(script: str, **rest: Any) -> Any:
        outcome = runs.run(modules.entry(script, **rest))
        assert isinstance(outcome, Failed)
        failed = EntryFailed(step="step", entry="entry", attempt=1, failure=outcome.failure)
        assert journal.decode(journal.encode(Occurrence(time=1.0, event=failed))[:-1]).event == failed
        return outcome.failure

    return run


def test_what_a_module_leaves_behind_does_not_change_what_it_has_made(runs: Runs, modules):
    """Folders in folders, deeper than Python can enter, are litter like any other."""
    script = 'output.write_text("made")\nfor _ in range(1500): os.mkdir("deeper"); os.chdir("deeper")'
    assert isinstance(runs.run(modules.entry(script, outputs=["out.txt"])), Succeeded)


def test_a_module_that_makes_its_output_succeeds(runs: Runs, modules):
    """Exit code 0 and the output in place is success; the output stands whole among the artifacts."""
    outcome = runs.run(modules.entry('output.write_text("made"); print("done")', outputs=["out.txt"]))
    assert isinstance(outcome, Succeeded)
    assert (outcome.outputs["out.txt"].size_bytes, outcome.outputs["out.txt"].folder) == (4, False)
    assert (runs.directory.artifacts / "out.txt").read_text() == "made"


def test_what_an_attempt_used_is_told(runs: Runs, modules):
    """Processor time and the most memory of a module are in its outcome, also when it fails or ends itself badly."""
    work = """
held = bytearray(120 << 20)
held[::4096] = b"x" * len(held[::4096])
end = time.process_time() + 0.4
while time.process_time() < end: pass
"""
    for last in ("", "sys.exit(3)", "os.kill(os.getpid(), 9)"):
        usage = runs.run(modules.entry(work + last)).usage
        assert usage.cpu_seconds >= 0.4
        assert 120 << 20 <= usage.max_rss_bytes < 1 << 30


def test_a_start_is_told_first(runs: Runs, modules):
    """The first event tells the attempt and the process that runs it."""
    runs.run(modules.entry("print(os.getpid())"), number=3)
    assert isinstance(runs.told[0], EntryStarted)
    assert (runs.told[0].attempt, str(runs.told[0].pid)) == (3, runs.log(3).strip())


@pytest.mark.parametrize("code", [1, 2, 70, 255])
def test_an_exit_code_is_told(fail, code: int):
    """A module that exits with another code than 0 has failed with that code, and shows its last words."""
    failure = fail(f'print("last words", file=sys.stderr); sys.exit({code})')
    assert (failure.kind, failure.exit_code, failure.signal) == (FailureKind.EXIT_CODE, code, None)
    assert failure.log_tail == ("last words",)
    assert (failure.step, failure.entry) == ("step", "entry")


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGTERM, 40])
def test_a_signal_is_told(fail, number: int):
    """A module that somebody else killed has failed by that signal, not by an exit code."""
    failure = fail(f"os.kill(os.getpid(), {int(number)}); signal.pause()")
    assert (failure.kind, failure.exit_code, failure.signal) == (FailureKind.SIGNAL, None, number)


def test_a_module_says_why_it_failed(fail):
    """The module's own reason is the message; its exit code is told as well."""
    failure = fail('print("openjd_fail: there is no sound"); sys.exit(4)')
    assert (failure.kind, failure.message, failure.exit_code) == (FailureKind.MODULE, "there is no sound", 4)


def test_a_reason_does_not_make_a_success_a_failure(runs: Runs, modules):
    """Exit code 0 with every output is success, whatever the module wrote before."""
    assert isinstance(runs.run(modules.entry('print("openjd_fail: never mind")')), Succeeded)


def test_an_entrypoint_that_is_not_there_fails_the_entry(runs: Runs, modules):
    """A module whose script is gone fails with the interpreter's own words; nothing else is disturbed."""
    entry = modules.entry("pass")
    outcome = runs.run(entry.model_copy(update={"entrypoint": "gone.py"}))
    assert isinstance(outcome, Failed)
    assert "gone.py" in outcome.failure.log_tail[-1]


def test_output_and_error_go_to_the_log(runs: Runs, modules):
    """Both streams of the module and of its children are in the log, in the order in which they were written."""
    runs.run(
        modules.entry('print("one"); os.write(2, b"two\\n"); subprocess.run(["echo", "three"]); os.write(1, b"f")')
    )
    assert runs.log() == "one\ntwo\nthree\nf"
    assert runs.shown == ["one", "two", "three", "f"]


def test_each_attempt_has_its_own_log(runs: Runs, modules):
    """A second attempt does not write over what the first one said."""
    entry = modules.entry('print("attempt", os.environ["JOBD_ATTEMPT"])')
    runs.run(entry, number=1)
    runs.run(entry, number=2)
    assert (runs.log(1), runs.log(2)) == ("attempt 1\n", "attempt 2\n")


def test_progress_is_told_while_the_module_runs(runs: Runs, modules, gates):
    """A report is an event before the module has ended, and the same report twice is one event."""
    script = f"""
print("openjd_progress: 30")
print("openjd_progress: 30")
print("openjd_status: half way")
tell({str(gates.path("told"))!r})
open({str(gates.path("go"))!r}).read()
print("openjd_progress: 100")
"""
    seen: list[JobEvent] = []

    def let_go() -> None:
        gates.wait("told")
        while not any(isinstance(event, EntryProgress) for event in list(runs.told)):
            assert thread.is_alive()
        seen.extend(runs.told)
        gates.open("go")

    thread = Thread(target=let_go)
    thread.start()
    assert isinstance(runs.run(modules.entry(script)), Succeeded)
    thread.join(30)
    progress = [(e.percent, e.status) for e in runs.told if isinstance(e, EntryProgress)]
    assert progress == [(30, "half way"), (100, None)]
    assert not any(isinstance(event, EntryProgress) and event.percent == 100 for event in seen)


def test_the_command_line_is_exact(runs: Runs, modules, directory: JobDirectory):
    """Names with blanks, quotes, dollars and other scripts reach the module as they are, as absolute paths."""
    odd = ["a b.txt", "it's.txt", 'say "hi".txt', "$HOME;ls *.txt", "日本語 🎬.txt", "%s{}~#.txt"]
    for name in odd:
        (directory.artifacts / name).write_text(name)
    script = "import json; print(json.dumps(sys.argv)); output.write_text('')"
    entry = modules.entry(script, inputs=odd, outputs=["ö 'ut.txt"], options=("--level=-3", "--text=a b=$c"))
    assert isinstance(runs.run(entry), Succeeded)
    given = json.loads(runs.log())
    out = runs.directory.scratch("step", "entry", 1) / "out" / "ö 'ut.txt"
    expected = [f"{entry.folder}/main.py", "--input", *(str(directory.artifacts / name) for name in odd)]
    assert given == [*expected, "--output", str(out), "--level=-3", "--text=a b=$c"]
    assert out.is_absolute()


def test_the_environment_is_a_short_list(runs: Runs, modules, monkeypatch: pytest.MonkeyPatch):
    """A module sees a few of the daemon's variables, what its manifest asks for, and who it is; no secret."""
    monkeypatch.setenv("PREFECT_API_KEY", "secret")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    monkeypatch.setenv("LANG", "C.UTF-8")
    entry = modules.entry("import json; print(json.dumps(dict(os.environ)))", env={"MODEL": "large", "JOBD_STEP": "no"})
    runs.run(entry, number=2)
    seen = json.loads(runs.log(2))
    own = {name: value for name, value in seen.items() if name.startswith("JOBD_")}
    assert own == {
        "JOBD_JOB_ID": "abc123",
        "JOBD_STEP": "step",
        "JOBD_ENTRY": "entry",
        "JOBD_ATTEMPT": "2",
        "JOBD_IDEMPOTENCY_KEY": "abc123/step/entry",
    }
    assert (seen["MODEL"], seen["LANG"], seen["PATH"]) == ("large", "C.UTF-8", os.environ["PATH"])
    shell = {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ"}
    threads = {name for name in seen if name.endswith("_NUM_THREADS")}
    assert set(seen) - set(own) - shell - threads == {"MODEL", "PYTHONUNBUFFERED", "TMPDIR"}


def test_a_module_is_alone_in_its_folder_and_session(runs: Runs, modules):
    """It starts in an empty folder below its scratch, leads a session of its own, and reads nothing from its input."""
    script = """
assert os.listdir() == [], os.listdir()
assert os.getsid(0) == os.getpid()
assert sys.stdin.read() == ""
assert sorted(os.listdir("/proc/self/fd")) == ["0", "1", "2", "3"], os.listdir("/proc/self/fd")
assert pathlib.Path(os.environ["TMPDIR"]).is_dir()
print(os.getcwd())
"""
    assert isinstance(runs.run(modules.entry(script)), Succeeded), runs.log()
    assert runs.log().strip() == str(runs.directory.scratch("step", "entry", 1) / "cwd")


def test_what_an_earlier_attempt_left_in_scratch_is_gone(runs: Runs, modules):
    """A folder that a killed runner left under the same attempt does not reach the new one."""
    scratch = runs.directory.scratch("step", "entry", 1)
    (scratch / "out").mkdir(parents=True)
    (scratch / "out" / "out.txt").write_text("stale")
    outcome = runs.run(modules.entry("assert not output.exists()", outputs=["out.txt"]))
    assert isinstance(outcome, Failed)
    assert outcome.failure.kind is FailureKind.MISSING_OUTPUT


def test_a_cancel_ends_a_willing_module_by_sigterm(runs: Runs, modules, gates):
    """A module that ends on SIGTERM is not killed, and the reason tells who asked."""
    wait = runs.start(modules.entry(f"tell({str(gates.path('up'))!r}); signal.pause()"))
    gates.wait("up")
    runs.cancel()
    outcome = wait()
    assert isinstance(outcome, Cancelled)
    assert "somebody asked" in outcome.reason
    assert "SIGTERM" in outcome.reason


def test_a_cancel_kills_a_stubborn_module_after_the_grace(runs: Runs, modules, gates):
    """A module that ignores SIGTERM has the grace to end, and is then killed."""
    script = (
        f"signal.signal(signal.SIGTERM, signal.SIG_IGN); tell({str(gates.path('up'))!r})\nwhile True: signal.pause()"
    )
    wait = runs.start(modules.entry(script, grace=0.3))
    gates.wait("up")
    runs.cancel()
    outcome = wait()
    assert isinstance(outcome, Cancelled)
    assert "1 process had to be killed" in outcome.reason


def test_a_cancel_wakes_a_stopped_module(runs: Runs, modules, gates):
    """A module that was stopped gets SIGTERM delivered, and so can still end by itself."""
    script = f"""
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
tell({str(gates.path("up"))!r}, str(os.getpid()))
os.kill(os.getpid(), signal.SIGSTOP)
while True: signal.pause()
"""
    wait = runs.start(modules.entry(script))
    pid = int(gates.wait("up"))
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        pass
    runs.cancel()
    assert isinstance(wait(), Cancelled)


ESCAPE = """
def escape(work):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            work()
        os._exit(0)
    os.wait()
"""


def test_a_cancel_reaches_what_left_the_session(runs: Runs, modules, gates):
    """A grandchild that forked twice and leads a session of its own is ended with the rest."""
    up = str(gates.path("up"))
    script = (
        f"{ESCAPE}\ndef work():\n    tell({up!r}, str(os.getpid()))\n    signal.pause()\nescape(work)\nsignal.pause()"
    )
    wait = runs.start(modules.entry(script))
    pid = int(gates.wait("up"))
    runs.cancel()
    assert isinstance(wait(), Cancelled)
    assert procfs.process(pid) is None


@pytest.mark.parametrize("ignore", [False, True], ids=["willing", "stubborn"])
def test_what_a_module_leaves_running_is_killed(runs: Runs, modules, gates, ignore: bool):
    """The end of the module is the end of the entry: a daemon it started, in another session, is killed with it."""
    up, go = str(gates.path("up")), str(gates.path("go"))
    script = f"""{ESCAPE}
def work():
    {"signal.signal(signal.SIGTERM, signal.SIG_IGN)" if ignore else ""}
    tell({up!r}, str(os.getpid()))
    while True: signal.pause()
escape(work)
open({go!r}).read()
"""
    wait = runs.start(modules.entry(script))
    pid = int(gates.wait("up"))
    gates.open("go")
    assert isinstance(wait(), Succeeded)
    assert procfs.process(pid) is None


def test_a_grandchild_that_holds_the_log_holds_up_nothing(runs: Runs, modules, gates):
    """An entry ends with its module although a grandchild still has the log open for writing."""
    up = str(gates.path("up"))
    script = f'print("said"); subprocess.Popen(["sh", "-c", "echo up > {up}; exec sleep 1000"])\nopen({up!r}).read()'
    assert isinstance(runs.run(modules.entry(script)), Succeeded)
    assert runs.log() == "said\n"


def test_a_grandchild_that_clears_its_environment_is_killed(runs: Runs, modules, gates):
    """Neither a new session nor an empty environment lets a process outlive its entry."""
    up, go = str(gates.path("up")), str(gates.path("go"))
    script = f"""{ESCAPE}
def work():
    os.execve("/bin/sh", ["sh", "-c", "echo $$ > {up}; exec sleep 30"], {{"PATH": os.environ["PATH"]}})
escape(work)
open({go!r}).read()
"""
    wait = runs.start(modules.entry(script))
    pid = int(gates.wait("up"))
    gates.open("go")
    wait()
    survivor = procfs.process(pid)
    if survivor is not None:
        procfs.send(survivor, signal.SIGKILL)
        procfs.wait_gone([survivor], 10)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
    assert survivor is None


def test_a_timeout_ends_the_module(fail):
    """A module that runs longer than it may is ended, with all it started, and the time it had is told."""
    failure = fail('subprocess.Popen(["sleep", "1000"]); signal.pause()', timeout=0.2)
    assert failure.kind is FailureKind.TIMEOUT
    assert "0.2 s" in failure.message


def test_a_module_that_exits_well_on_its_timeout_has_timed_out(fail):
    """Exit code 0 after SIGTERM does not make the timeout a success."""
    failure = fail("signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\nwhile True: signal.pause()", timeout=0.3)
    assert failure.kind is FailureKind.TIMEOUT


def test_a_timeout_ends_what_could_not_be_told_to_have_started(runs: Runs, modules):
    """A disk without room for the start keeps nobody from ending the module; what happened is told in order later."""
    runs.full = True
    script = 'print("openjd_progress: 40", flush=True)\nwhile True: signal.pause()'
    outcome = runs.run(modules.entry(script, timeout=0.5))
    assert outcome.failure.kind is FailureKind.TIMEOUT
    assert [event.kind for event in runs.told] == ["entry_started"]


def test_progress_for_which_there_was_no_room_is_told_later(runs: Runs, modules, gates):
    """What was reported last is told once there is room, and not what came before it."""
    up, go = str(gates.path("up")), str(gates.path("go"))
    script = f"""
print("openjd_progress: 10", flush=True)
print("openjd_progress: 40", flush=True)
tell({up!r})
open({go!r}).read()
"""
    runs.full = True
    wait = runs.start(modules.entry(script))
    gates.wait("up")
    runs.full = False
    gates.open("go")
    assert isinstance(wait(), Succeeded)
    first, *progress = runs.told
    assert (first.kind, progress[-1].percent) == ("entry_started", 40)


def test_what_outlives_every_signal_is_told_with_its_reason(runs: Runs, modules, monkeypatch: pytest.MonkeyPatch):
    """A process that cannot be killed is not waited for, and no other attempt may be started beside it."""
    entry = modules.entry("while True: signal.pause()", timeout=0.3, retries=3)
    real = procfs.end_all

    def in_vain(*_search: object, **_how: object) -> None:
        raise procfs.OutlivesError("process 42 outlives SIGKILL")

    monkeypatch.setattr(procfs, "end_all", in_vain)
    outcome = run_attempt(runs.attempt(entry), runs.shown.append)
    alive = runs.told[0].pid
    assert procfs.process(alive) is not None
    assert (outcome.failure.kind, outcome.lives) == (FailureKind.TIMEOUT, True)
    assert outcome.failure.message == "it ran longer than its timeout of 0.3 s; process 42 outlives SIGKILL"
    assert not outcome.may_be_retried(entry)
    real(lambda: [now] if (now := procfs.process(alive)) else [], grace=0)
    os.waitpid(alive, 0)


def test_an_output_that_is_missing_fails_the_entry(fail, runs: Runs):
    """Exit code 0 without every output is a failure, and none of the outputs becomes visible."""
    failure = fail('paths["output"][0].write_text("x")', outputs=["one.txt", "two.txt"])
    assert (failure.kind, failure.exit_code) == (FailureKind.MISSING_OUTPUT, 0)
    assert "two.txt" in failure.message
    assert list(runs.directory.artifacts.iterdir()) == []


@pytest.mark.parametrize(
    "make",
    [
        'output.symlink_to("/etc/hostname")',
        'output.symlink_to("gone")',
        "os.mkfifo(output)",
        'import socket; os.chdir(output.parent); socket.socket(socket.AF_UNIX).bind("out.txt")',
        'output.mkdir(); (output / "link").symlink_to("/etc/hostname")',
        'output.mkdir(); (output / "link").symlink_to("../../../..")',
        'output.mkdir(); (output / "link").symlink_to("gone")',
        'output.mkdir(); (output / "link").symlink_to("link")',
        'output.mkdir(); os.symlink("/etc/hostname", os.path.join(os.fsencode(output), b"\\xff"))',
        'output.mkdir(); (output / "sub").mkdir(); os.mkfifo(output / "sub" / "pipe")',
    ],
    ids=[
        "link", "dangling", "pipe", "socket", "link out", "folder link out", "dangling inside", "loop", "bytes", "inner"
    ],
)  # fmt: skip
def test_an_output_that_is_no_file_or_folder_fails_the_entry(fail, runs: Runs, make: str):
    """Links, pipes, sockets, and folders that hold one, are refused; nothing of them becomes visible."""
    failure = fail(make, outputs=["out.txt"])
    assert failure.kind is FailureKind.INVALID_OUTPUT, failure
    assert "out.txt" in failure.message
    assert list(runs.directory.artifacts.iterdir()) == []


def test_a_folder_is_an_output(runs: Runs, modules):
    """A folder of files, folders and links within it is taken whole, with the sum of its files as its size."""
    script = """
(output / "a/b").mkdir(parents=True)
(output / "a/one").write_text("1")
(output / "a/b/two").write_text("22")
(output / "latest").symlink_to("a/one")
"""
    outcome = runs.run(modules.entry(script, outputs=["frames"]))
    assert isinstance(outcome, Succeeded)
    assert (outcome.outputs["frames"].size_bytes, outcome.outputs["frames"].folder) == (3, True)
    assert (runs.directory.artifacts / "frames/latest").read_text() == "1"


def test_no_link_in_an_output_dangles_afterwards(runs: Runs, modules):
    """An absolute link to a file of the same folder is refused, or still leads to it after the folder was moved."""
    script = 'output.mkdir(); (output / "a").write_text("1"); (output / "b").symlink_to(output / "a")'
    if isinstance(runs.run(modules.entry(script, outputs=["frames"])), Succeeded):
        assert (runs.directory.artifacts / "frames/b").read_text() == "1"


@pytest.mark.parametrize("name", ["out.txt", "é" * 127], ids=["short", "longest"])
def test_a_hard_linked_output_is_parted(runs: Runs, modules, tmp_path: Path, name: str):
    """An output with a second name elsewhere is parted from it, so that no one can change it later."""
    other = tmp_path / "other"
    other.write_text("before")
    outcome = runs.run(modules.entry(f"os.link({str(other)!r}, output)", outputs=[name]))
    assert isinstance(outcome, Succeeded), outcome
    other.write_text("after")
    assert (runs.directory.artifacts / name).read_text() == "before"


def test_an_output_replaces_what_an_earlier_attempt_published(runs: Runs, modules):
    """A folder in the place of a file, or the other way round, is no obstacle."""
    (runs.directory.artifacts / "out").mkdir()
    (runs.directory.artifacts / "out" / "stale").write_text("stale")
    assert isinstance(runs.run(modules.entry('output.write_text("new")', outputs=["out"])), Succeeded)
    assert (runs.directory.artifacts / "out").read_text() == "new"


def test_a_module_runs_under_the_same_python(runs: Runs, modules):
    """The interpreter is the daemon's own, so that what is installed for modules is found."""
    runs.run(modules.entry("print(sys.executable)"))
    assert runs.log().strip() == sys.executable
