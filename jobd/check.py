"""`jobd check`: the store against itself, against the disk, and against what runs."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from time import sleep

from jobd import check_disk, check_processes, state_lock
from jobd.check_store import check_file, stored_jobs
from jobd.errors import ConfigError, JobdError
from jobd.finding import Finding
from jobd.jobs import Job
from jobd.layout import StateDirectory
from jobd.store import Store

_SECOND_LOOK_SECONDS = 2.0


def run(root: Path, *, repair: bool) -> int:
    """Check a state directory and print a line for each finding; gives how many are not mended.

    With `repair`, StateDirectoryLockedError while a daemon serves it.
    """
    state = StateDirectory(root)
    if not root.is_dir():
        raise ConfigError(f"{root} is not a folder", hint="name the state directory with --state-dir")
    with state_lock.hold(state, "jobd check") if repair else contextlib.nullcontext():
        findings = check(state, serving=not repair and state_lock.is_held(state))
        if repair:
            return _repair(state, findings)
    for finding in findings:
        print(finding)
    print(f"{len(findings)} findings" if findings else "clean")
    return len(findings)


def check(state: StateDirectory, *, serving: bool = False) -> tuple[Finding, ...]:
    """Find everything that is wrong; StorageError when the store cannot be read at all.

    With `serving`, what a second look does not find again was only under way.
    """
    findings = tuple(_look(state, serving=serving))
    if findings and serving:
        sleep(_SECOND_LOOK_SECONDS)
        again = tuple(_look(state, serving=serving))
        findings = tuple(finding for finding in again if finding in findings)
    return findings


def _look(state: StateDirectory, *, serving: bool) -> Iterator[Finding]:
    broken = check_file(state.database)
    yield from broken
    if broken:
        return  # what the rows say is not to be relied on
    jobs: dict[str, Job] = {}
    for stored, finding in stored_jobs(state.database):
        jobs[stored.job.id] = stored.job
        if finding is not None:
            yield finding
        yield from check_disk.check_job(state.job(stored.job.id), stored)
    yield from check_disk.check_strays(state, jobs, serving=serving)
    yield from check_processes.check_runners(state, jobs)
    yield from check_processes.check_modules(state, jobs)


def _repair(state: StateDirectory, findings: tuple[Finding, ...]) -> int:
    """Mend what can be mended, and look again."""
    rest = findings
    if any(finding.mend for finding in findings):
        store = Store(state.database)
        try:
            for finding in findings:
                print(f"{finding}: {_mend(finding, store)}")
        finally:
            store.close()
        rest = check(state)
        findings_left = tuple(finding for finding in rest if finding not in findings)
    else:
        findings_left = findings
    for finding in findings_left:
        print(f"{finding}: left")
    print(f"{len(findings)} findings, {len(rest)} left" if findings else "clean")
    return len(rest)


def _mend(finding: Finding, store: Store) -> str:
    if finding.mend is None:
        return "left"
    try:
        finding.mend(store)
    except (JobdError, OSError) as error:
        return f"failed: {error}"
    return "done"
