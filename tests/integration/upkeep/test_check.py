"""`jobd check`: each thing that can be wrong is found, told in one line, and mended where that is safe."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobd import check, check_processes, events, journal, procfs, state_lock
from jobd.__main__ import main
from jobd.errors import StateDirectoryLockedError, StorageError
from jobd.history import replay
from jobd.jobs import new_job
from jobd.journal import Journal
from jobd.runner import _lock
from jobd.states import ArtifactState, JobState


def found(yard) -> list[tuple[str, str, bool]]:
    """Give where and what each finding is, and whether it can be mended."""
    return [(finding.where, finding.what, finding.mend is not None) for finding in check.check(yard.state)]


def repair(yard) -> int:
    """Repair as the command does; gives how much is left."""
    yard.store.close()
    try:
        return check.run(yard.state.root, repair=True)
    finally:
        yard.reopen()


def change(yard, statement: str) -> None:
    """Damage the rows behind the store's back."""
    yard.store.close()
    with sqlite3.connect(yard.state.database) as connection:
        connection.execute(statement)
    connection.close()
    yard.reopen()


def test_what_daemons_and_runners_leave_is_clean(yard, histories):
    """Jobs in every state, beside an open store and after it, give no finding; the command's exit code is 0."""
    yard.job("queued")
    for name, happened in histories.items():
        yard.job(name, happened)
    assert found(yard) == []
    yard.store.close()
    assert main(["check", "--state-dir", str(yard.state.root)]) == 0
    assert main(["check", "--state-dir", str(yard.state.root), "--repair"]) == 0


def test_each_finding_is_one_line_and_the_exit_code_is_1(yard, histories, capsys):
    """The line tells where, what, and what a repair would do; nothing on disk can forge another line."""
    yard.job("abc", histories["succeeded"])
    (yard.state.jobs / "a\nb\x1b[2J").mkdir()
    assert main(["check", "--state-dir", str(yard.state.root)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines == [r"jobs/a\nb\x1b[2J: it belongs to no job (repair: remove it)", "1 findings"]


def test_rows_that_differ_from_their_events_are_made_anew(yard, histories):
    """A state, an entry and an artifact that no event tells of are found, and a repair makes them what events say."""
    yard.job("abc", histories["failed"])
    good = yard.get("abc")
    change(yard, "UPDATE jobs SET state = 'running', ended = NULL")
    change(yard, "UPDATE entries SET attempt = 9 WHERE place = 0")
    change(yard, "DELETE FROM artifacts WHERE place = 2")
    expected = "its rows differ from its events in state, ended, entries, artifacts"
    assert found(yard) == [("job abc", expected, True)]
    assert repair(yard) == 0
    assert yard.get("abc") == good
    assert yard.get("abc") == replay(new_job("abc", yard.plan, submitted=1000.0), yard.store.events_after("abc", 0))
    assert yard.store.live() == ()


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("DELETE FROM events WHERE sequence = 4", "its events cannot be followed: event 5 does not follow event 3"),
        ("UPDATE events SET event = '{}' WHERE sequence = 4", "its events cannot be followed: "),
        ("DELETE FROM events WHERE sequence = 13", "its row says that it has 13 events, and there are 12"),
        ("UPDATE plans SET plan = 'x'", "its events cannot be followed: "),
        ("DELETE FROM plans", "its events cannot be followed: "),
    ],
)
def test_a_broken_history_is_found_and_left(yard, histories, statement: str, what: str):
    """Events that are missing or make no sense are told; no repair invents history."""
    yard.job("abc", histories["failed"])
    change(yard, statement)
    ((where, told, mendable),) = found(yard)
    assert (where, mendable) == ("job abc", False)
    assert told.startswith(what)
    assert repair(yard) == 1


def test_a_missing_artifact_is_noted(yard, histories):
    """Of an ended job a repair writes an event that it is gone; of a live one it is for a person to decide."""
    (yard.job("end", histories["succeeded"]).artifacts / "out.txt").unlink()
    (yard.job("run", histories["running"]).artifacts / "mid.txt").unlink()
    assert found(yard) == [
        ("job end", "the artifact 'out.txt' is not on disk", True),
        ("job run", "the artifact 'mid.txt' is not on disk", False),
    ]
    assert repair(yard) == 1
    assert yard.get("end").artifact("out.txt").state is ArtifactState.REMOVED
    last = yard.store.events_after("end", 0)[-1].event
    assert last == events.ArtifactRemoved(
        name="out.txt", reason="it was missing on disk when the state directory was checked"
    )
    assert yard.get("run").artifact("mid.txt").state is ArtifactState.PRESENT


def test_what_a_runner_has_removed_meanwhile_is_not_missing(yard, histories):
    """A live job whose journal is ahead of its rows is as it should be: runners go on without a daemon."""
    running = [*histories["running"]]
    yard.job("abc", running)
    [artifact] = [item for item in yard.store.get("abc").artifacts if item.state is ArtifactState.PRESENT][:1]
    directory = yard.state.job("abc")
    (directory.artifacts / artifact.name).unlink()
    assert [what for _where, what, _mend in found(yard)] == [f"the artifact {artifact.name!r} is not on disk"]
    removed = events.ArtifactRemoved(name=artifact.name, reason="its last consumer has succeeded")
    with Journal(directory.journal, end=journal.read_all(directory.journal).offset) as lines:
        lines.append([events.Occurrence(time=9.0, event=removed)], durable=True)
    assert found(yard) == []


def test_a_folder_that_is_gone_is_told_by_what_it_held(yard, histories):
    """Without its folder a job has neither its journal nor its artifacts; a repair leaves a consistent job."""
    directory = yard.job("abc", histories["succeeded"])
    size = directory.journal.stat().st_size
    directory.root.rename(yard.state.root / "elsewhere")
    assert [what for _where, what, _mend in found(yard)] == [
        f"{size} bytes of its journal were taken in, and it has 0",
        "the artifact 'out.txt' is not on disk",
    ]
    assert repair(yard) == 0


@pytest.mark.parametrize("content", ["", "longer than it was"])
def test_an_artifact_of_another_size_is_found(yard, histories, content: str):
    """What was published whole and is not any more is told, and not touched."""
    path = yard.job("abc", histories["succeeded"]).artifacts / "out.txt"
    path.write_text(content)
    what = f"the artifact 'out.txt' is a file of {len(content)} bytes, not a file of 6"
    assert found(yard) == [("job abc", what, False)]
    assert repair(yard) == 1
    assert path.read_text() == content


def test_a_folder_is_measured_as_it_was_taken(yard, histories):
    """The regular files in a folder count, the links do not; a folder in a file's place is found."""
    directory = yard.job("abc", histories["running"])
    (directory.artifacts / "out.txt").mkdir()
    (directory.artifacts / "out.txt" / "inner").write_text("1234")
    (directory.artifacts / "out.txt" / "link").symlink_to("inner")
    published = events.ArtifactPublished(name="out.txt", size_bytes=4, folder=True)
    start = yard.store.journal_offset("abc")
    yard.store.ingest("abc", [events.Occurrence(time=1.0, event=published)], start=start, end=start).result(10)
    assert found(yard) == []
    (directory.artifacts / "mid.txt").unlink()
    (directory.artifacts / "mid.txt").mkdir()
    assert [what for _w, what, _m in found(yard)] == ["the artifact 'mid.txt' is a folder of 0 bytes, not a file of 5"]


def test_what_an_ended_job_left_over_is_removed(yard, histories):
    """Removed artifacts, unknown files and scratch folders of an ended job go; those of a live one are left alone."""
    for name in ("succeeded", "running"):
        directory = yard.job(name, histories[name])
        (directory.artifacts / "mid.txt").write_bytes(b"x" * 5)
        (directory.artifacts / "unknown").write_text("?")
        (directory.scratch("one", "a", 1) / "out").mkdir(parents=True)
        (directory.scratch("one", "a", 1) / "out" / "half").write_text("half")
    assert found(yard) == [
        ("job succeeded", "artifacts/mid.txt is on disk and is removed", True),
        ("job succeeded", "artifacts/unknown is on disk and is none of the job's artifacts", True),
        ("job succeeded", "4 bytes of scratch folders are left", True),
    ]
    assert repair(yard) == 0
    assert [path.name for path in yard.state.job("succeeded").artifacts.iterdir()] == ["out.txt"]
    assert (yard.state.job("running").scratch("one", "a", 1) / "out" / "half").exists()


def test_a_journal_that_was_cut_is_gone_on_with(yard, histories):
    """After a repair, what the next runner appends is taken in from the journal's end."""
    directory = yard.job("abc", histories["running"])
    size = directory.journal.stat().st_size
    os.truncate(directory.journal, 100)
    assert found(yard) == [("job abc", f"{size} bytes of its journal were taken in, and it has 100", True)]
    assert repair(yard) == 0
    assert yard.store.journal_offset("abc") == 100
    assert yard.get("abc").state is JobState.RUNNING


def test_a_damaged_journal_of_a_live_job_is_told(yard, histories):
    """A whole line that is not what was written hides all that follow; a torn last line is no damage."""
    directory = yard.job("abc", histories["running"])
    with directory.journal.open("ab") as file:
        file.write(b"torn, as by a crash")
    assert found(yard) == []
    size = yard.store.journal_offset("abc")
    with directory.journal.open("ab") as file:
        file.write(b"\n")
    what = f"its journal is damaged at byte {size}: what follows is not taken in"
    assert found(yard) == [("job abc", what, False)]


def test_beside_a_daemon_what_is_under_way_is_no_finding(yard, histories, monkeypatch):
    """A young folder without a row may be a submission; what a second look does not find again was passing."""
    monkeypatch.setattr(check, "_SECOND_LOOK_SECONDS", 0.0)
    (yard.state.jobs / "coming").mkdir()
    (yard.state.jobs / "old").mkdir()
    os.utime(yard.state.jobs / "old", (1.0, 1.0))
    where = [finding.where for finding in check.check(yard.state, serving=True)]
    assert where == ["jobs/old"]
    path = yard.job("abc", histories["succeeded"]).artifacts / "out.txt"
    path.unlink()
    monkeypatch.setattr(check, "sleep", lambda _seconds: path.write_bytes(b"x" * 6))
    assert [finding.where for finding in check.check(yard.state, serving=True)] == ["jobs/old"]


def test_repair_is_refused_while_a_daemon_serves(yard, capsys):
    """It says who holds the state directory and changes nothing; a check without repair goes on."""
    (yard.state.jobs / "stray").mkdir()
    with state_lock.hold(yard.state):
        assert state_lock.is_held(yard.state)
        with pytest.raises(StateDirectoryLockedError, match=f"process {os.getpid()} on"):
            check.run(yard.state.root, repair=True)
        assert main(["check", "--state-dir", str(yard.state.root), "--repair"]) == 1
        assert main(["check", "--state-dir", str(yard.state.root)]) == 0
    assert not state_lock.is_held(yard.state)
    assert (yard.state.jobs / "stray").exists()
    assert "is served by another daemon" in capsys.readouterr().err


def test_a_look_at_the_lock_disturbs_no_daemon(yard):
    """Whoever wants the lock while it is only looked at gets it."""
    fd = os.open(yard.state.lock, os.O_RDONLY | os.O_CREAT)
    looker = subprocess.Popen(
        [sys.executable, "-c", "import fcntl, time; fcntl.flock(0, fcntl.LOCK_SH); print(flush=True); time.sleep(0.1)"],
        stdin=fd,
        stdout=subprocess.PIPE,
    )
    os.close(fd)
    looker.stdout.readline()
    with state_lock.hold(yard.state):
        assert state_lock.is_held(yard.state)
    looker.wait(10)
    looker.stdout.close()


def test_a_damaged_database_is_told_and_nothing_else(yard, histories, capsys):
    """The pages are checked first; on a damaged store no other check is relied on, and nothing is mended."""
    for number in range(40):
        yard.job(f"job{number}", histories["succeeded"])
    change(yard, "PRAGMA wal_checkpoint(TRUNCATE)")
    yard.store.close()
    data = bytearray(yard.state.database.read_bytes())
    # Behind the schema, without which a file is no database at all.
    for place in range(len(data) // 8192 * 4096, len(data) - 4096, 4096):
        data[place : place + 200] = b"\xff" * 200
    yard.state.database.write_bytes(data)
    assert main(["check", "--state-dir", str(yard.state.root), "--repair"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("jobd.db: ")
    assert all("put a backup in its place" in line for line in lines[:-1])
    yard.state.database.unlink()
    yard.reopen()


def test_no_store_and_a_newer_store_are_refused(yard, tmp_path: Path, capsys):
    """A folder without a store, and one of another version, are errors that say so, not findings."""
    with pytest.raises(StorageError, match="is this the state directory of a daemon"):
        check.run(tmp_path, repair=False)
    assert main(["check", "--state-dir", str(tmp_path / "none")]) == 2
    change_to = "UPDATE alembic_version SET version_num = '9999'"
    yard.store.close()
    with sqlite3.connect(yard.state.database) as connection:
        connection.execute(change_to)
    connection.close()
    assert main(["check", "--state-dir", str(yard.state.root)]) == 1
    assert "has the schema '9999'" in capsys.readouterr().err


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[object]:
    """Start processes that look like those of modules; they are ended afterwards."""
    started = []

    def start(job_id: str, scratch: Path) -> subprocess.Popen[bytes]:
        marked = dict(os.environ) | {"JOBD_JOB_ID": job_id, "TMPDIR": str(scratch)}
        script = "import signal, sys; print(flush=True); signal.pause()"
        started.append(subprocess.Popen([sys.executable, "-c", script], env=marked, stdout=subprocess.PIPE))
        started[-1].stdout.readline()
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait(10)
        process.stdout.close()


def test_processes_of_ended_and_unknown_jobs_are_ended(yard, histories, sleeper):
    """They are found by their mark; those of live jobs, and of other state directories, are left alone."""
    yard.job("endedjob", histories["failed"])
    yard.job("livejob", histories["running"])
    below = yard.state.job("x").scratch("s", "e", 1)
    ended, unknown = sleeper("endedjob", Path("/tmp")), sleeper("unknownjob", below)
    others = [sleeper("livejob", below), sleeper("unknownjob", Path("/elsewhere/jobs/x/work"))]
    assert sorted(what for _where, what, _mend in found(yard)) == [
        "it belongs to job endedjob, which has ended",
        "it belongs to job unknownjob, which does not exist",
    ]
    assert repair(yard) == 0
    assert [ended.wait(10), unknown.wait(10)] == [-signal.SIGTERM, -signal.SIGTERM]
    assert [process.poll() for process in others] == [None, None]


def test_a_runner_of_an_ended_job_is_ended(yard, histories):
    """It is known by the lock that it holds; right after its job's end it may still live."""
    directory = yard.job("abc", histories["failed"])
    script = (
        "import sys, signal; from pathlib import Path; from jobd.runner import _lock\n"
        "with _lock(Path(sys.argv[1])): print(flush=True); signal.pause()"
    )
    runner = subprocess.Popen([sys.executable, "-c", script, directory.runner_lock], stdout=subprocess.PIPE)
    try:
        runner.stdout.readline()
        what = f"it has ended, and its runner (process {runner.pid}) still lives"
        assert found(yard) == [("job abc", what, True)]
        young = {"abc": yard.get("abc").__class__(id="abc", name="", version="", ended=time.time())}
        assert list(check_processes.check_runners(yard.state, young)) == []
        assert repair(yard) == 0
        assert runner.wait(10) == -signal.SIGTERM
    finally:
        runner.kill()
        runner.wait(10)
        runner.stdout.close()


def test_a_lock_that_names_somebody_else_ends_nobody(yard, histories):
    """A process is ended only when it has that lock file open: a number in a file alone proves nothing."""
    directory = yard.job("abc", histories["failed"])
    with _lock(directory.runner_lock) as locked:
        assert locked
        directory.runner_lock.write_text(f"1 {procfs.boot_id()}\n")
        assert found(yard) == [("job abc", "it has ended, and its runner still lives", False)]
        directory.runner_lock.write_text(f"{os.getpid()} another-boot\n")
        assert found(yard) == [("job abc", "it has ended, and its runner still lives", False)]
