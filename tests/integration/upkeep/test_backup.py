"""`jobd backup`: a copy of one moment, also beside writers, from which a daemon can go on."""

import shutil
import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from jobd import backup, check, events
from jobd.__main__ import main
from jobd.errors import ConfigError, StorageError
from jobd.identity import Role
from jobd.layout import StateDirectory
from jobd.removal import delete_job
from jobd.states import ArtifactState, JobState
from jobd.store import Store
from jobd.tokens import TokenBook
from jobd.trees import remove_tree


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Give a place for a backup."""
    return tmp_path / "kept" / "backup"


def names(folder: Path) -> list[str]:
    """Name what is in a folder."""
    return sorted(path.name for path in folder.iterdir())


def test_a_restored_backup_is_the_same_state_directory(yard, histories, target: Path):
    """Every job reads the same from the copy, with plan, events, journal offset, logs, journal and artifacts."""
    yard.job("queued")
    for name, happened in histories.items():
        yard.job(name, happened)
    made = backup.run(yard.state.root, target, artifacts=True)
    assert made.jobs == 4
    restored = StateDirectory(target)
    assert check.check(restored) == ()
    store = Store(restored.database)
    for job_id in ("queued", *histories):
        assert store.get(job_id) == yard.get(job_id)
        assert store.plan(job_id) == yard.store.plan(job_id)
        assert store.events_after(job_id, 0) == yard.store.events_after(job_id, 0)
        assert store.journal_offset(job_id) == yard.store.journal_offset(job_id)
        old, new = yard.state.job(job_id), restored.job(job_id)
        assert new.journal.read_bytes() == old.journal.read_bytes()
        assert names(new.artifacts) == names(old.artifacts)
        assert new.logs.exists() == old.logs.exists()
    assert [job.id for job in store.live()] == ["queued", "running"]
    store.close()


def test_without_artifacts_a_repair_notes_what_is_gone(yard, histories, target: Path):
    """The store alone is whole; `check --repair` on the restored copy makes it say what it no longer has."""
    yard.job("abc", histories["succeeded"])
    backup.run(yard.state.root, target, artifacts=False)
    assert names(target / "jobs" / "abc" / "artifacts") == []
    assert check.run(target, repair=True) == 0
    store = Store(StateDirectory(target).database)
    assert store.get("abc").artifact("out.txt").state is ArtifactState.REMOVED
    assert store.get("abc").state is JobState.SUCCEEDED
    store.close()


def test_the_copy_is_one_closed_file_without_a_log_of_its_own(yard, histories, target: Path):
    """The database needs no file beside it, and everything is closed to others."""
    yard.job("abc", histories["succeeded"])
    backup.run(yard.state.root, target, artifacts=True)
    assert names(target) == ["jobd.db", "jobs", "prefect", "run", "uploads"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o700
    assert (target / "jobd.db").read_bytes()[18:20] == b"\x01\x01"


def test_the_command(yard, histories, target: Path, capsys):
    """It prints one line and exits with 0; a target that is there already is refused and left as it is."""
    yard.job("abc", histories["succeeded"])
    yard.state.token.write_text("secret")
    made = TokenBook(yard.state.tokens).create("ci", Role.READ)
    command = ["backup", "--state-dir", str(yard.state.root), "--artifacts", str(target)]
    assert main(command) == 0
    assert capsys.readouterr().out.startswith("1 jobs, ")
    assert (target / "token").read_text() == "secret"
    assert TokenBook(target / "tokens").find(made) is not None
    (target / "mark").write_text("")
    assert main(command) == 2
    assert (target / "mark").exists()
    assert "is there already" in capsys.readouterr().err


def test_nothing_stays_of_a_backup_that_fails(yard, histories, target: Path, monkeypatch):
    """A disk that refuses leaves neither the backup nor a part of it, and the error says what failed."""
    yard.job("abc", histories["succeeded"])

    def refuse(_path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup, "sync_tree", refuse)
    with pytest.raises(StorageError, match=r"could not be backed up .* No space left on device"):
        backup.run(yard.state.root, target, artifacts=True)
    assert names(target.parent) == []


def test_a_folder_without_a_store_is_refused(tmp_path: Path, target: Path):
    """There is nothing to back up, and it says so."""
    with pytest.raises(StorageError, match="is this the state directory of a daemon"):
        backup.run(tmp_path, target, artifacts=True)
    with pytest.raises(ConfigError):
        backup.run(tmp_path, tmp_path, artifacts=True)


def test_a_damaged_store_is_not_copied(yard, histories, target: Path):
    """Rather no backup than one that looks like one."""
    for number in range(40):
        yard.job(f"job{number}", histories["succeeded"])
    yard.store.close()
    with sqlite3.connect(yard.state.database) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    data = bytearray(yard.state.database.read_bytes())
    for place in range(8 * 4096, len(data) - 4096, 4096):
        data[place : place + 200] = b"\xff" * 200
    yard.state.database.write_bytes(data)
    with pytest.raises(StorageError, match=r"damaged|could not be backed up"):
        backup.run(yard.state.root, target, artifacts=True)
    assert names(target.parent) == []
    yard.state.database.unlink()
    yard.reopen()


def test_what_happens_in_between_is_taken_along(yard, histories, target: Path, monkeypatch):
    """A job that goes on while it is copied is whole in the copy: what its journal tells is on disk with it."""
    yard.job("abc", histories["running"])
    whole = backup._copy_store
    rest = histories["succeeded"][len(histories["running"]) :]

    def copy_then_go_on(source: Path, copy: Path) -> None:
        whole(source, copy)
        if yard.get("abc").state is JobState.RUNNING:
            yard.happen("abc", *rest)

    monkeypatch.setattr(backup, "_copy_store", copy_then_go_on)
    backup.run(yard.state.root, target, artifacts=True)
    restored = StateDirectory(target)
    assert names(restored.job("abc").artifacts) == ["out.txt"]
    store = Store(restored.database)
    job = store.get("abc")
    assert job.state is JobState.RUNNING
    # A daemon begins with what the journal has after the row's offset.
    offset = store.journal_offset("abc")
    tail = backup.journal.read(restored.job("abc").journal, offset)
    assert store.ingest("abc", tail.occurrences, start=offset, end=tail.offset).result(10) == yard.get("abc")
    store.close()
    assert check.check(restored) == ()


def test_a_job_that_is_deleted_in_between_is_not_half_there(yard, histories, target: Path, monkeypatch):
    """The copy has neither rows nor folder of it."""
    for name in ("aaa", "bbb"):
        yard.job(name, histories["succeeded"])
    whole = backup._copy_store

    def copy_then_delete(source: Path, copy: Path) -> None:
        whole(source, copy)
        delete_job(yard.state, yard.store, "bbb")

    monkeypatch.setattr(backup, "_copy_store", copy_then_delete)
    assert backup.run(yard.state.root, target, artifacts=True).jobs == 1
    assert names(target / "jobs") == ["aaa"]
    assert check.check(StateDirectory(target)) == ()


def test_an_artifact_that_is_removed_in_between_is_not_missed(yard, histories, target: Path, monkeypatch):
    """The store is copied again, and the copy says that it was removed."""
    yard.job("abc", histories["failed"])
    whole, rounds = backup._copy_store, []

    def copy_then_remove(source: Path, copy: Path) -> None:
        whole(source, copy)
        rounds.append(copy)
        if len(rounds) == 1:
            event = events.Occurrence(time=1.0, event=events.ArtifactRemoved(name="mid.txt", reason="old"))
            yard.store.decide("abc", lambda _job: [event]).result(10)
            (yard.state.job("abc").artifacts / "mid.txt").unlink()

    monkeypatch.setattr(backup, "_copy_store", copy_then_remove)
    backup.run(yard.state.root, target, artifacts=True)
    assert len(rounds) == 2
    assert names(target / "jobs/abc/artifacts") == ["in.txt"]
    assert check.check(StateDirectory(target)) == ()


def test_an_artifact_that_is_lost_for_good_is_named(yard, histories, target: Path):
    """A backup that would be incomplete is refused with what is missing and what to do."""
    remove_tree(yard.job("abc", histories["succeeded"]).artifacts / "out.txt")
    with pytest.raises(StorageError, match=r"the artifact 'out.txt' of job abc is not there, .*`jobd check`"):
        backup.run(yard.state.root, target, artifacts=True)


def test_only_what_was_removed_counts_as_gone(tmp_path: Path, monkeypatch):
    """A folder of which a file goes in the middle of the copy is gone; a disk that refuses is an error, not a loss."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "stays").write_text("")
    monkeypatch.setattr(backup.shutil, "copytree", lambda *_, **__: _raise(tmp_path / "logs" / "gone"))
    assert backup._copy_tree(tmp_path / "logs", tmp_path / "copy") is False
    monkeypatch.setattr(backup.shutil, "copytree", lambda *_, **__: _raise(tmp_path / "logs" / "stays"))
    with pytest.raises(shutil.Error, match="No space left"):
        backup._copy_tree(tmp_path / "logs", tmp_path / "copy")
    assert backup._copy_tree(tmp_path / "none", tmp_path / "copy") is False


def _raise(source: Path) -> None:
    raise shutil.Error([(str(source), "copy", "[Errno 28] No space left on device")])


def test_a_folder_keeps_its_links(yard, histories, target: Path):
    """A folder artifact is copied as it is, with the links inside it."""
    directory = yard.job("abc", histories["running"])
    (directory.artifacts / "out.txt").mkdir()
    (directory.artifacts / "out.txt" / "inner").write_text("1234")
    (directory.artifacts / "out.txt" / "link").symlink_to("inner")
    start = yard.store.journal_offset("abc")
    published = events.ArtifactPublished(name="out.txt", size_bytes=4, folder=True)
    yard.store.ingest("abc", [events.Occurrence(time=1.0, event=published)], start=start, end=start).result(10)
    backup.run(yard.state.root, target, artifacts=True)
    assert (target / "jobs/abc/artifacts/out.txt/link").readlink() == Path("inner")
    assert check.check(StateDirectory(target)) == ()


def test_backups_beside_a_busy_writer_are_each_of_one_moment(yard, histories, tmp_path: Path):
    """While jobs are taken on, run, end and are deleted without a pause, every backup is found clean."""
    stop, failures = threading.Event(), []

    def work() -> None:
        try:
            for number in range(1000):
                if stop.is_set():
                    return
                yard.job(f"job{number}")
                yard.happen(f"job{number}", *histories["running"])
                yard.happen(f"job{number}", *histories["succeeded"][len(histories["running"]) :])
                if number >= 5:
                    delete_job(yard.state, yard.store, f"job{number - 5}")
        except Exception as error:  # noqa: BLE001 - told at the end
            failures.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for number in range(5):
            target = tmp_path / f"backup{number}"
            backup.run(yard.state.root, target, artifacts=True)
            restored = StateDirectory(target)
            _take_in_journals(restored)
            assert [str(finding) for finding in check.check(restored)] == []
            shutil.rmtree(target)
    finally:
        stop.set()
        worker.join()
    assert failures == []


def _take_in_journals(state: StateDirectory) -> None:
    """Do what a daemon does first."""
    store = Store(state.database)
    for job in store.live():
        offset = store.journal_offset(job.id)
        tail = backup.journal.read(state.job(job.id).journal, offset)
        store.ingest(job.id, tail.occurrences, start=offset, end=tail.offset).result(10)
    store.close()
