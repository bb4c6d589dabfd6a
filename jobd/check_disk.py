"""Checking the folders of jobs against the store."""

import os
import stat
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path
from time import time

from jobd import events, journal, runner
from jobd.artifacts import ArtifactStore
from jobd.check_store import StoredJob
from jobd.events import Occurrence
from jobd.finding import Finding, Mend
from jobd.jobs import Artifact, Job
from jobd.layout import JobDirectory, StateDirectory
from jobd.states import ArtifactState
from jobd.store import Store
from jobd.trees import remove_tree, tree_size

_SETTLED_SECONDS = 60.0
"""Beside a daemon, what is younger than this may be under way."""


def check_job(directory: JobDirectory, stored: StoredJob) -> Iterator[Finding]:
    """Compare a job's folder with its rows."""
    job = stored.job
    yield from _check_journal(directory.journal, stored)
    present = [artifact for artifact in job.artifacts if artifact.state is ArtifactState.PRESENT]
    for artifact in present:
        yield from _check_present(directory, stored, artifact)
    if job.terminal and not runner.is_locked(directory.runner_lock):
        yield from _check_left_over(directory, job, {artifact.name for artifact in present})


def _check_journal(path: Path, stored: StoredJob) -> Iterator[Finding]:
    where, size = f"job {stored.job.id}", path.stat().st_size if path.exists() else 0
    if size < stored.journal_offset:
        yield Finding(
            where=where,
            what=f"{stored.journal_offset} bytes of its journal were taken in, and it has {size}",
            repair="go on from the journal's end",
            mend=lambda store: store.rewrite(store.get(stored.job.id), journal_offset=size).result(),
        )
    elif not stored.job.terminal and (place := _damage(path, stored.journal_offset)) is not None:
        what = f"its journal is damaged at byte {place}: what follows is not taken in"
        yield Finding(where=where, what=what, repair="its next runner cuts that off; cancel the job if it hangs")


def _damage(path: Path, offset: int) -> int | None:
    """Say where a line stands that is whole and not what was written; None when there is none."""
    chunk = journal.read(path, offset)
    while chunk.occurrences:
        offset = chunk.offset
        chunk = journal.read(path, offset)
    if not path.exists():
        return None
    with path.open("rb") as file:
        file.seek(offset)
        line = file.readline()
    return offset if line.endswith(b"\n") and journal.decode(line[:-1]) is None else None


def _check_present(directory: JobDirectory, stored: StoredJob, artifact: Artifact) -> Iterator[Finding]:
    job = stored.job
    path, where = ArtifactStore(directory.artifacts).path(artifact.name), f"job {job.id}"
    try:
        folder = stat.S_ISDIR(path.lstat().st_mode)
    except FileNotFoundError:
        what = f"the artifact {artifact.name!r} is not on disk"
        if not job.terminal and not journal.present_after(directory.journal, stored.journal_offset, {artifact.name}):
            return  # its runner has removed it, and the daemon will hear of that
        if job.terminal:
            mend = partial(_note_missing, job_id=job.id, name=artifact.name)
            yield Finding(where=where, what=what, repair="note that it is gone", mend=mend)
        else:
            yield Finding(where=where, what=what, repair="cancel the job and submit it anew")
        return
    size = _folder_size(path) if folder else path.lstat().st_size
    if (folder, size) != (artifact.folder, artifact.size_bytes):
        kind = "folder" if folder else "file"
        told = "folder" if artifact.folder else "file"
        what = f"the artifact {artifact.name!r} is a {kind} of {size} bytes, not a {told} of {artifact.size_bytes}"
        yield Finding(where=where, what=what, repair="restore it from a backup, or delete the job")


def _folder_size(path: Path) -> int:
    """Add up the regular files, as it was done when the artifact was taken."""
    found = (Path(folder, name).lstat() for folder, _folders, files in os.walk(path) for name in files)
    return sum(status.st_size for status in found if stat.S_ISREG(status.st_mode))


def _note_missing(store: Store, *, job_id: str, name: str) -> None:
    event = events.ArtifactRemoved(name=name, reason="it was missing on disk when the state directory was checked")
    store.decide(job_id, lambda _job: [Occurrence(time=time(), event=event)]).result()


def _check_left_over(directory: JobDirectory, job: Job, present: Collection[str]) -> Iterator[Finding]:
    where = f"job {job.id}"
    for path in _children(directory.artifacts):
        if path.name not in present:
            removed = path.name in job.artifact_places
            why = f"is {job.artifact(path.name).state}" if removed else "is none of the job's artifacts"
            yield _stray(where, path, f"artifacts/{path.name} is on disk and {why}")
    if _children(directory.work):
        yield _stray(where, directory.work, f"{tree_size(directory.work)} bytes of scratch folders are left")


def check_strays(state: StateDirectory, known: Collection[str], *, serving: bool) -> Iterator[Finding]:
    """Find folders that belong to no job; beside a daemon only those in which nothing has happened for a while."""
    for path in _children(state.jobs):
        if path.name not in known and not (serving and _age(path) < _SETTLED_SECONDS):
            yield _stray(f"jobs/{path.name}", path, "it belongs to no job")


def _stray(where: str, path: Path, what: str) -> Finding:
    mend: Mend = partial(_remove, path=path)
    return Finding(where=where, what=what, repair="remove it", mend=mend)


def _remove(_store: Store, *, path: Path) -> None:
    remove_tree(path)


def _age(path: Path) -> float:
    """Give the seconds since anything last changed in a folder."""
    paths = [path, *(Path(folder, name) for folder, folders, files in os.walk(path) for name in (*folders, *files))]
    return time() - max(found.lstat().st_mtime for found in paths if found.exists())


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
