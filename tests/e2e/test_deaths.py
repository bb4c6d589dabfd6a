"""The daemon, a runner, the nursery or a module dies at a bad moment: no work is lost, and none is done twice."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

SPARE = "jobd-spare"
"""What it is called where processes are listed."""


def attempts(ledger: Path) -> list[tuple[str, str]]:
    """Give the entries and attempts that a ledger tells of."""
    return [tuple(line.split()[:2]) for line in ledger.read_text().splitlines()]


def kill_runner(daemon, job_id: str) -> None:
    """Kill the process that runs a job."""
    pid = int((daemon.state / "jobs" / job_id / "runner.lock").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)


def find_spares(daemon) -> list[int]:
    """List the runners that a daemon's nursery holds ready for the next job."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words, name = (folder / "cmdline").read_bytes(), (folder / "comm").read_text().strip()
        except OSError:  # it has just ended
            continue
        if name == SPARE and os.fsencode(daemon.state) in words.split(b"\0"):
            found.append(int(folder.name))
    return found


@pytest.fixture
def gated(jobs, tmp_path):
    """A job of three steps whose second waits for a gate: the file, its gate and its ledger."""
    gate, ledger = tmp_path / "gate", tmp_path / "ledger"
    steps = (
        [jobs.act("a", name="first", ledger=ledger)],
        [jobs.act("b", "a", name="gated", ledger=ledger, gate=gate)],
        [jobs.act("c", "b", name="last", ledger=ledger, public=True)],
    )
    return jobs.write(*steps), gate, ledger


def check_history(watch) -> None:
    """See that a watch through all of it missed nothing and saw nothing twice."""
    assert [event["sequence"] for event in watch.seen] == list(range(1, len(watch.seen) + 1))
    assert sum(event["type"] in {"job_succeeded", "job_failed", "job_cancelled"} for event in watch.seen) == 1


def test_a_job_goes_on_while_the_daemon_is_dead(own_daemon, gated, until):
    """Its entry ends without a daemon; the next daemon takes the job back, and nothing runs twice."""
    file, gate, ledger = gated
    job_id = own_daemon.submit(file)
    watch = own_daemon.watch(job_id)
    watch.until("entry_progress", entry="gated")
    own_daemon.kill()
    gate.touch()
    made = own_daemon.state / "jobs" / job_id / "artifacts" / "b"
    until(made.exists, "the entry ends without a daemon")
    own_daemon.start()
    assert watch.end() == 0
    assert attempts(ledger) == [("first", "1"), ("gated", "1"), ("last", "1")]
    check_history(watch)
    assert watch.of("job_recovering") == []
    assert own_daemon.final_run(job_id, tasks=3)["state_type"] == "COMPLETED"


def test_the_next_daemon_may_cancel_what_runs(own_daemon, gated, living):
    """A job that outlived its daemon obeys the next one."""
    file, _gate, _ledger = gated
    job_id = own_daemon.submit(file)
    watch = own_daemon.watch(job_id)
    watch.until("entry_progress", entry="gated")
    own_daemon.kill()
    own_daemon.start()
    assert own_daemon.jobctl("cancel", job_id).code == 0
    assert watch.end() == 3
    assert living(job_id) == []
    check_history(watch)


def test_a_spare_runner_ends_with_its_daemon_and_the_next_one_has_its_own(own_daemon, gated, until):
    """One that nobody asks any more must not stay; the next daemon's is there again, and is what its job gets."""
    (old,) = until(lambda: find_spares(own_daemon), "a spare runner is ready")
    own_daemon.kill()
    until(lambda: not find_spares(own_daemon), "it ends, too")
    own_daemon.start()
    own_daemon.wait_for_prefect()
    (new,) = until(lambda: find_spares(own_daemon), "the next daemon has one")
    file, gate, ledger = gated
    job_id = own_daemon.submit(file)
    watch = own_daemon.watch(job_id)
    watch.until("entry_progress", entry="gated")
    runner = (own_daemon.state / "jobs" / job_id / "runner.lock").read_text().split()[0]
    gate.touch()
    assert watch.end() == 0
    assert int(runner) == new != old
    assert attempts(ledger) == [("first", "1"), ("gated", "1"), ("last", "1")]
    assert own_daemon.final_run(job_id, tasks=3)["state_type"] == "COMPLETED"


def test_accepted_jobs_outlive_the_daemon_at_any_moment(own_daemon, jobs):
    """What submit has answered is on disk: killed at once, again and again, the daemon brings all to their end."""
    ids = []
    for number in range(3):
        ids.append(own_daemon.submit(jobs.write([jobs.act("x", public=True)], name=f"j{number}")))
        own_daemon.kill()
        own_daemon.start()
    watches = [own_daemon.watch(job_id) for job_id in ids]
    assert [watch.end() for watch in watches] == [0] * len(ids)
    for watch in watches:
        check_history(watch)
        assert len(watch.of("entry_started")) == 1


def test_a_job_recovers_from_the_death_of_its_runner(own_daemon, gated, living):
    """It goes on from its last finished entry; what the dead runner left is ended before."""
    file, gate, ledger = gated
    job_id = own_daemon.submit(file)
    watch = own_daemon.watch(job_id)
    watch.until("entry_progress", entry="gated")
    (module,) = living(job_id)
    kill_runner(own_daemon, job_id)
    watch.until("job_recovering")
    watch.until("entry_started", entry="gated")
    assert module not in living(job_id)
    gate.touch()
    assert watch.end() == 0
    assert attempts(ledger) == [("first", "1"), ("gated", "1"), ("gated", "2"), ("last", "1")]
    check_history(watch)


def test_a_job_recovers_when_daemon_and_runner_are_dead(own_daemon, gated):
    """The next daemon finds no runner, and gives the job another."""
    file, gate, ledger = gated
    job_id = own_daemon.submit(file)
    watch = own_daemon.watch(job_id)
    watch.until("entry_progress", entry="gated")
    own_daemon.kill()
    kill_runner(own_daemon, job_id)
    gate.touch()
    own_daemon.start()
    assert watch.end() == 0
    assert attempts(ledger) == [("first", "1"), ("gated", "1"), ("gated", "2"), ("last", "1")]
    check_history(watch)


def test_a_runner_that_dies_again_and_again_fails_the_job(own_daemon, gated, living):
    """After some recoveries the job is FAILED, says why, and leaves nothing running."""
    file, _gate, _ledger = gated
    job_id = own_daemon.submit(file)
    watch = own_daemon.watch(job_id)
    for _ in range(4):
        watch.until("entry_started", entry="gated")
        kill_runner(own_daemon, job_id)
    assert watch.end() == 1
    assert "runner died" in own_daemon.get(job_id)["failure"]["message"]
    assert living(job_id) == []
    check_history(watch)


@pytest.mark.parametrize("victim", ["daemon", "runner"])
def test_a_cancel_outlives_a_death(own_daemon, jobs, tmp_path, living, victim):
    """A cancel that was answered is kept, whoever dies while the processes are being ended."""
    entry = jobs.act("x", gate=tmp_path / "never", stubborn=True, offspring=True)
    job_id = own_daemon.submit(jobs.write([entry], [jobs.act("y", "x")]))
    watch = own_daemon.watch(job_id)
    watch.until("entry_progress")
    assert own_daemon.jobctl("cancel", job_id).code == 0
    if victim == "daemon":
        own_daemon.kill()
        own_daemon.start()
    else:
        kill_runner(own_daemon, job_id)
    assert watch.end() == 3
    assert living(job_id) == []
    check_history(watch)


def test_the_nursery_comes_back(own_daemon, jobs, gated, until):
    """A job that runs is not disturbed by its death, and the next one is started by a new nursery."""
    file, gate, ledger = gated
    job_id = own_daemon.submit(file)
    watch = own_daemon.watch(job_id)
    watch.until("entry_progress", entry="gated")
    children = Path(f"/proc/{own_daemon.process.pid}/task/{own_daemon.process.pid}/children").read_text().split()
    (nursery,) = [pid for pid in children if b"jobd.nursery" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(int(nursery), signal.SIGKILL)
    until(lambda: "nursery_ended" in own_daemon.log, "the daemon has seen it")
    gate.touch()
    assert watch.end() == 0
    assert len(attempts(ledger)) == 3
    assert own_daemon.jobctl("submit", jobs.write([jobs.act("x")]), "--wait").code == 0


def test_a_module_that_is_killed_fails_its_entry(daemon, jobs, tmp_path, living):
    """The failure names the signal."""
    job_id = daemon.submit(jobs.write([jobs.act("x", gate=tmp_path / "never")]))
    watch = daemon.watch(job_id)
    watch.until("entry_progress")
    os.kill(living(job_id)[0], signal.SIGKILL)
    assert watch.end() == 1
    failure = daemon.get(job_id)["failure"]
    assert (failure["kind"], failure["signal"]) == ("FAILURE_KIND_SIGNAL", 9)
    assert "SIGKILL" in failure["message"]


def test_two_daemons_never_serve_one_state_directory(own_daemon):
    """The second says who holds it and ends; the first serves on, also after the second was told other addresses."""
    second = [item for item in own_daemon.command if not item.startswith("--listen")]
    for addresses in ([], [f"--listen=unix:{own_daemon.folder}/other"]):
        done = subprocess.run(
            [*second, *addresses], env=own_daemon.env, capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode not in {0, -signal.SIGKILL}
        assert str(own_daemon.state) in done.stderr
        assert f"process {own_daemon.process.pid}" in done.stderr
        assert "Traceback" not in done.stderr
    assert own_daemon.jobctl("ping").code == 0


def test_two_daemons_never_serve_one_address(own_daemon):
    """A second daemon with a state directory of its own does not take the socket or the port over."""
    for address in (f"unix:{own_daemon.socket}", f"127.0.0.1:{own_daemon.tcp_port}"):
        command = [item for item in own_daemon.command if not item.startswith(("--listen", "--state-dir"))]
        command += [f"--state-dir={own_daemon.folder}/second", f"--listen={address}"]
        done = subprocess.run(command, env=own_daemon.env, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode not in {0, -signal.SIGKILL}
        assert address.removeprefix("unix:") in done.stderr
        assert "Traceback" not in done.stderr
    assert own_daemon.jobctl("ping", "-o", "json").code == 0


def test_sigterm_ends_the_daemon_although_somebody_watches(own_daemon, gated):
    """It ends with 0 within its grace; the job goes on, and the watch with it when the daemon is back."""
    file, gate, ledger = gated
    job_id = own_daemon.submit(file)
    watch = own_daemon.watch(job_id)
    watch.until("entry_progress", entry="gated")
    assert own_daemon.stop() == 0
    assert not own_daemon.socket.exists()
    assert own_daemon.jobctl("ping").code == 5
    gate.touch()
    own_daemon.start()
    assert watch.end() == 0
    assert len(attempts(ledger)) == 3
    check_history(watch)
