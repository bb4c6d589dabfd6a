"""`jobd backup`: a copy of a state directory that is of one moment, made while a daemon serves it.

The store is copied first, as it is at one moment. What the rows of that copy need is copied after it; a journal that
has grown since is no harm, as it is taken in from where the rows say. When something has gone in between, because a
job went on or was deleted, the store is copied again, and after it only what is missing.
"""

import contextlib
import shutil
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from time import sleep

from jobd import journal
from jobd.artifacts import ArtifactStore, sync_tree
from jobd.check_store import StoredJob, check_file, open_copy, stored_jobs
from jobd.errors import ConfigError, StorageError
from jobd.layout import JobDirectory, StateDirectory, sync_directory
from jobd.log_mark import put_back_marks, read_marks
from jobd.states import ArtifactState
from jobd.trees import discard, remove_tree, tree_size

_ROUNDS = 5
_PAUSE_SECONDS = 0.1
_SMALL_FILES = ("plan.json", "assignment.json", "runner.log")


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A finished backup."""

    jobs: int
    size_bytes: int


def run(root: Path, target: Path, *, artifacts: bool) -> Backup:
    """Copy the store, plans, journals and logs of `root` to the new folder `target`, and with `artifacts` those too.

    When it returns, the copy is whole, checked and on disk. ConfigError when `target` is there already; StorageError
    when the source or the copy is damaged, or the disk refuses. Nothing of a backup that fails stays.
    """
    if target.exists():
        raise ConfigError(f"{target} is there already", hint="a backup makes a new folder; give the name of one")
    partial = target.with_name(f".{target.name}.partial")
    remove_tree(partial)
    source, copy = StateDirectory(root), StateDirectory(partial)
    try:
        copy.make()
        count = _copy(source, copy, artifacts=artifacts)
        sync_tree(partial)
        partial.rename(target)
        sync_directory(target.parent)
    except (OSError, sqlite3.Error) as error:
        raise StorageError(f"{root} could not be backed up to {target}: {error}") from error
    finally:
        discard(partial)
    return Backup(jobs=count, size_bytes=tree_size(target))


def _copy(source: StateDirectory, copy: StateDirectory, *, artifacts: bool) -> int:
    _copy_tokens(source, copy)
    for number in range(_ROUNDS):
        # A file goes shortly before the event that tells of it.
        sleep(number * _PAUSE_SECONDS)
        _copy_store(source.database, copy.database)
        jobs = tuple(stored for stored, _finding in stored_jobs(copy.database))
        _drop_others(copy, {stored.job.id for stored in jobs})
        lost = {
            stored.job.id: missing
            for stored in jobs
            if (missing := _copy_job(source.job(stored.job.id), copy.job(stored.job.id), stored, artifacts=artifacts))
        }
        deleted = _drop_deleted(source, copy, lost)
        if len(deleted) == len(lost):
            return len(jobs) - len(deleted)
    missing = next(missing for job_id, missing in lost.items() if job_id not in deleted)
    raise StorageError(f"{missing} is not there, although the store says so", hint="run `jobd check`, then try again")


def _copy_tokens(source: StateDirectory, copy: StateDirectory) -> None:
    if source.token.exists():
        shutil.copy2(source.token, copy.token)
    # One by one: a token that is revoked at this moment takes no other with it.
    for path in source.tokens.glob("[!.]*"):
        copy.tokens.mkdir(mode=0o700, exist_ok=True)
        _copy_tree(path, copy.tokens / path.name)


def _copy_store(source: Path, target: Path) -> None:
    """Copy the database as it is at one moment, and check the copy."""
    target.unlink(missing_ok=True)
    reader, writer = open_copy(source), sqlite3.connect(target)
    try:
        reader.backup(writer)
        # One file, not three; a daemon sets it anew.
        writer.execute("PRAGMA journal_mode=DELETE")
    finally:
        writer.close()
        reader.close()
    broken = check_file(target)
    if broken:
        raise StorageError(f"the copy of {source} is damaged: {broken[0].what}", hint="run `jobd check`")


def _copy_job(source: JobDirectory, target: JobDirectory, stored: StoredJob, *, artifacts: bool) -> str:
    """Copy what is not copied yet of a job's folder; name something that should be there and is not, if there is."""
    target.artifacts.mkdir(mode=0o700, parents=True, exist_ok=True)
    marks = read_marks(source.logs)  # before the logs, so that nothing counts as masked that was not when it was copied
    for name in (*_SMALL_FILES, source.logs.name):
        _copy_tree(source.root / name, target.root / name)
    put_back_marks(target.logs, marks)
    present = (
        {item.name for item in stored.job.artifacts if item.state is ArtifactState.PRESENT} if artifacts else set()
    )
    _copy_artifacts(source, target, present)
    if not _copy_tree(source.journal, target.journal) and stored.journal_offset:
        return f"the journal of job {stored.job.id}"
    if not artifacts:
        return ""
    # What was published or removed while the others were copied is told by the journal.
    present = journal.present_after(target.journal, stored.journal_offset, present)
    for path in target.artifacts.iterdir():
        if path.name not in present:
            remove_tree(path)
    return next(iter(_copy_artifacts(source, target, present)), "")


def _copy_artifacts(source: JobDirectory, target: JobDirectory, names: set[str]) -> list[str]:
    store, copies = ArtifactStore(source.artifacts), ArtifactStore(target.artifacts)
    return [
        f"the artifact {name!r} of job {source.root.name}"
        for name in sorted(names)
        if not copies.path(name).exists() and not _copy_tree(store.path(name), copies.path(name))
    ]


def _copy_tree(path: Path, copy: Path) -> bool:
    """Copy a file or a folder; False when it is not there, or goes in the middle of it."""
    try:
        if path.is_dir():
            shutil.copytree(path, copy, symlinks=True, dirs_exist_ok=True)
        else:
            shutil.copy2(path, copy, follow_symlinks=False)
    except OSError as error:
        if not _was_removed(error):
            raise
        remove_tree(copy)
        return False
    return True


def _was_removed(error: OSError) -> bool:
    """Tell whether a copy failed only because somebody removed what was to be copied."""
    if isinstance(error, shutil.Error):  # all that went wrong in a folder, as (source, target, why)
        return not any(Path(source).exists() for source, _target, _why in error.args[0])
    return isinstance(error, FileNotFoundError)


def _drop_deleted(source: StateDirectory, copy: StateDirectory, job_ids: Collection[str]) -> set[str]:
    """Drop from the copy those jobs that the source no longer has; gives them."""
    if not job_ids:
        return set()
    with contextlib.closing(open_copy(source.database)) as reader:
        deleted = {
            job_id for job_id in job_ids if not reader.execute("SELECT 1 FROM jobs WHERE id = ?", (job_id,)).fetchone()
        }
    with contextlib.closing(sqlite3.connect(copy.database)) as writer, writer:
        writer.execute("PRAGMA foreign_keys=ON")
        writer.executemany("DELETE FROM jobs WHERE id = ?", [(job_id,) for job_id in deleted])
    for job_id in deleted:
        remove_tree(copy.job(job_id).root)
    return deleted


def _drop_others(copy: StateDirectory, known: set[str]) -> None:
    """Remove what an earlier round copied of jobs that have been deleted since."""
    for folder in copy.jobs.iterdir():
        if folder.name not in known:
            remove_tree(folder)
