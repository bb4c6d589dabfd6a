"""Retention carried out: what goes, what stays, what is told of it, and what a crash in the middle leaves."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from jobd import check
from jobd import removal as removal_module
from jobd.errors import JobNotEndedError, JobNotFoundError
from jobd.removal import delete_job, trim_log
from jobd.retention import Retention, RetentionPolicy
from jobd.runner import _lock
from jobd.states import ArtifactState, JobState
from jobd.trees import remove_tree, tree_size

DAY = 86400.0


def make_retention(yard: Any, supervised: Callable[[str], bool] = lambda _job: False, **policy: Any) -> Retention:
    """Give a retention that removes nothing but what the policy says."""
    bounds = {"keep_jobs": None, "most_jobs": None, "keep_failed": None, "keep_logs": None}
    return Retention(
        state=yard.state,
        store=yard.store,
        policy=RetentionPolicy(**bounds | policy),
        supervised=supervised,
        log=structlog.get_logger(),
    )


def test_an_old_job_goes_whole(yard, histories, logged: LogCapture):
    """Rows, events and folder are gone, others stay, and the log tells which, why and how much."""
    old = yard.job("old", histories["failed"], at=0.0)
    size = tree_size(old.root)
    yard.job("new", histories["failed"], at=5 * DAY)
    make_retention(yard, keep_jobs=9 * DAY).sweep(10 * DAY)
    assert [job.id for job in yard.store.ended()] == ["new"]
    assert [path.name for path in yard.state.jobs.iterdir()] == ["new"]
    with pytest.raises(JobNotFoundError):
        yard.get("old")
    assert yard.store.events_after("old", 0) == ()
    assert logged.entries == [
        {
            "event": "job_removed",
            "log_level": "info",
            "job": "old",
            "reason": "it ended more than 9 days ago",
            "freed_bytes": size,
        }
    ]
    assert check.check(yard.state) == ()


def test_artifacts_of_a_failed_job_go_with_events(yard, histories, logged: LogCapture):
    """Each is an event with its reason, the row says so, the file is gone; public ones, logs and the job stay."""
    directory = yard.job("abc", histories["failed"], at=0.0)
    (directory.artifacts / "keep").write_text("not an artifact")
    before = yard.get("abc").sequence
    make_retention(yard, keep_failed=DAY).sweep(2 * DAY)
    told = [(record.time, record.event.name, record.event.reason) for record in yard.store.events_after("abc", before)]
    reason = "the job ended more than 1 days ago and it is not public"
    assert told == [(2 * DAY, "in.txt", reason), (2 * DAY, "mid.txt", reason)]
    states = {item.name: item.state for item in yard.get("abc").artifacts}
    assert states == {
        "in.txt": ArtifactState.REMOVED,
        "mid.txt": ArtifactState.REMOVED,
        "out.txt": ArtifactState.PENDING,
    }
    assert [path.name for path in directory.artifacts.iterdir()] == ["keep"]
    assert directory.log("one", "a", 1).exists()
    assert [(entry["event"], entry["freed_bytes"]) for entry in logged.entries] == [("artifacts_removed", 8)]


def test_a_second_sweep_finds_nothing_to_do(yard, histories, logged: LogCapture):
    """What was removed is not removed again."""
    yard.job("abc", histories["failed"], at=0.0)
    retention = make_retention(yard, keep_failed=DAY, keep_logs=DAY)
    assert [removal.kind for removal in retention.sweep(2 * DAY)] == ["artifacts", "logs"]
    assert retention.sweep(3 * DAY) == ()


def test_a_job_that_lives_keeps_everything(yard, histories):
    """However old it is, nothing of a queued, running or cancelling job is removed, under the strictest policy."""
    for name, happened in (("queued", ()), ("running", histories["running"])):
        yard.job(name, happened, at=0.0)
    sizes = {path.name: tree_size(path) for path in yard.state.jobs.iterdir()}
    strict = {"keep_jobs": 0.0, "most_jobs": 0, "most_bytes": 0, "keep_failed": 0.0, "keep_logs": 0.0}
    assert make_retention(yard, **strict).sweep(1000 * DAY) == ()
    assert {path.name: tree_size(path) for path in yard.state.jobs.iterdir()} == sizes
    assert [job.id for job in yard.store.live()] == ["queued", "running"]


def test_an_ended_job_whose_runner_lives_waits(yard, histories):
    """While the runner's lock is held, or the supervisor looks after the job, nothing is removed; then it is."""
    directory = yard.job("abc", histories["failed"], at=0.0)
    with _lock(directory.runner_lock) as locked:
        assert locked
        assert make_retention(yard, keep_jobs=0.0).sweep(DAY) == ()
    assert make_retention(yard, supervised={"abc"}.__contains__, keep_jobs=0.0).sweep(DAY) == ()
    assert len(make_retention(yard, keep_jobs=0.0).sweep(DAY)) == 1


def test_sizes_are_measured_on_disk(yard, histories):
    """The oldest job goes when folders together are larger than allowed, and the newer one stays."""
    yard.job("old", histories["failed"], at=1.0)
    new = yard.job("new", histories["failed"], at=2.0)
    make_retention(yard, most_bytes=tree_size(new.root)).sweep(3.0)
    assert [job.id for job in yard.store.ended()] == ["new"]


def test_a_crash_after_the_rows_leaves_only_a_stray_folder(yard, histories, monkeypatch):
    """Between rows and folder the store is whole, and what is left belongs to no job and is found and mended."""
    yard.job("abc", histories["failed"], at=0.0)

    def crash(_path: Path) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(removal_module, "remove_tree", crash)
    with pytest.raises(KeyboardInterrupt):
        make_retention(yard, keep_jobs=0.0).sweep(DAY)
    monkeypatch.undo()
    yard.reopen()
    (finding,) = check.check(yard.state)
    assert (finding.where, finding.what) == ("jobs/abc", "it belongs to no job")
    finding.mend(yard.store)
    assert check.check(yard.state) == ()
    assert list(yard.state.jobs.iterdir()) == []


def test_one_job_that_cannot_be_removed_stops_no_other(yard, histories, monkeypatch, logged: LogCapture):
    """The failure is told, the others are removed, and the next sweep tries again what is still on record."""
    for name in ("aaa", "bbb"):
        yard.job(name, histories["failed"], at=0.0)
    delete = yard.store.delete

    def refuse(job_id: str) -> Any:
        if job_id == "aaa":
            raise OSError(28, "No space left on device")
        return delete(job_id)

    monkeypatch.setattr(yard.store, "delete", refuse)
    assert [removal.job_id for removal in make_retention(yard, keep_jobs=0.0).sweep(DAY)] == ["bbb"]
    assert [entry["event"] for entry in logged.entries] == ["removal_failed", "job_removed"]
    monkeypatch.undo()
    assert [removal.job_id for removal in make_retention(yard, keep_jobs=0.0).sweep(DAY)] == ["aaa"]


def test_a_job_that_lives_cannot_be_deleted(yard, histories):
    """delete_job removes an ended job only, and tells what is wrong with any other."""
    yard.job("run", histories["running"])
    yard.job("end", histories["failed"])
    with pytest.raises(JobNotEndedError, match="job run is running"):
        delete_job(yard.state, yard.store, "run")
    with pytest.raises(JobNotFoundError):
        delete_job(yard.state, yard.store, "none")
    assert delete_job(yard.state, yard.store, "end") > 0
    assert [path.name for path in yard.state.jobs.iterdir()] == ["run"]
    assert yard.get("run").state is JobState.RUNNING


def test_unused_uploads_go_and_a_long_transfer_stays(yard):
    """An upload goes by the latest change in it: a transfer of two days that still grows is left alone."""
    for name in ("used", ".transfer", "new"):
        (yard.state.uploads / name).mkdir()
        (yard.state.uploads / name / "data").write_text(name)
    now = time.time()
    for path in (yard.state.uploads / "used" / "data", yard.state.uploads / "used", yard.state.uploads / ".transfer"):
        os.utime(path, (now - 2 * DAY, now - 2 * DAY))
    make_retention(yard, keep_uploads=DAY).sweep(now)
    assert sorted(path.name for path in yard.state.uploads.iterdir()) == [".transfer", "new"]


def test_logs_of_runners_are_bounded(yard, histories):
    """A log keeps its latest lines, whole, and whoever writes it goes on at its end."""
    directory = yard.job("abc", histories["failed"])
    fd = os.open(directory.runner_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(fd, b"".join(b"line %04d\n" % number for number in range(1000)))
    make_retention(yard, runner_log_bytes=5000).sweep(0.0)
    os.write(fd, b"after\n")
    os.close(fd)
    kept = directory.runner_log.read_text().splitlines()
    assert kept[-2:] == ["line 0999", "after"]
    assert kept[:-1] == [f"line {number:04}" for number in range(1000 - len(kept) + 1, 1000)]
    assert 2000 < directory.runner_log.stat().st_size <= 5000


def test_a_short_or_missing_log_is_left_alone(tmp_path: Path):
    """Nothing happens to a log within its bound."""
    trim_log(tmp_path / "none", 10)
    (tmp_path / "short").write_text("0123456789")
    trim_log(tmp_path / "short", 10)
    assert (tmp_path / "short").read_text() == "0123456789"


def test_removing_follows_no_link(tmp_path: Path):
    """A link goes, what it leads to stays; removing what is not there is no error."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("stays")
    (tmp_path / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "link").symlink_to(tmp_path / "outside")
    remove_tree(tmp_path / "link")
    remove_tree(tmp_path / "tree")
    assert remove_tree(tmp_path / "none") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["outside"]
    assert (tmp_path / "outside" / "file").read_text() == "stays"


def test_a_folder_goes_although_somebody_tidies_it_up_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A job is deleted while its runner's litter is removed: what is gone already, or has just come, is no error."""
    folder = tmp_path / "job"
    (folder / "work" / "step").mkdir(parents=True)
    (folder / "assignment").touch()
    unlink, rmdir, lock = os.unlink, os.rmdir, folder / "runner.lock"
    done: list[str] = []

    def unlink_second(name: str, *, dir_fd: int | None = None) -> None:
        unlink(name, dir_fd=dir_fd)
        if "gone" not in done:
            done.append("gone")
            unlink(name, dir_fd=dir_fd)

    def rmdir_late(name: str | Path, *, dir_fd: int | None = None) -> None:
        if name == folder and "new" not in done:
            done.append("new")
            lock.touch()
        rmdir(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", unlink_second)
    monkeypatch.setattr(os, "rmdir", rmdir_late)
    remove_tree(folder)
    assert sorted(done) == ["gone", "new"]
    assert not folder.exists()


def test_a_folder_that_cannot_be_emptied_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Somebody who makes files without end keeps nobody waiting without end."""
    folder = tmp_path / "job"
    folder.mkdir()
    rmdir = os.rmdir

    def refill(name: str | Path, *, dir_fd: int | None = None) -> None:
        (folder / "again").touch()
        rmdir(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "rmdir", refill)
    with pytest.raises(OSError, match="not empty"):
        remove_tree(folder)
