"""I9, I10: after schedules nothing runs, nothing is held, nothing lies about, and the log has no alarm."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import processes
from world import World

QUIET_SECONDS = 50.0
"""For so long after its job's end a runner may talk to Prefect, and its lock be held."""
_ALARMS = ("Traceback", "supervision_failed", "ingest_failed", "journal_does_not_fit", "call_failed", "Exception in")


def check_world(world: World, job_ids: set[str], log: str) -> Iterator[str]:
    """Find what is wrong with a world after schedules that ran at once; `log` is what the daemon logged meanwhile."""
    yield from _check_quiet(world, job_ids)
    yield from (f"the daemon's log has an alarm: {line[:300]}" for line in log.splitlines() if _alarms(line))


def _alarms(line: str) -> bool:
    return any(word in line for word in _ALARMS)


def _check_quiet(world: World, job_ids: set[str]) -> Iterator[str]:
    """I9, I10: nothing runs, nothing is held, nothing lies about; runners have a bounded time for their last words."""
    deadline = time.monotonic() + QUIET_SECONDS
    while (noise := _noise(world, job_ids)) and time.monotonic() < deadline:
        time.sleep(0.2)
    yield from noise


def _noise(world: World, job_ids: set[str]) -> list[str]:
    noise = [f"I9 process {pid} of job {job_id} lives" for pid, job_id in processes.marked(job_ids).items()]
    noise += [f"I9 cgroup {path} is left" for path in processes.cgroups(job_ids)]
    for job_id in job_ids:
        folder = world.job_folder(job_id)
        if processes.lock_is_held(folder / "runner.lock"):
            noise.append(f"I9 the lock of job {job_id} is held by {(folder / 'runner.lock').read_text().strip()}")
        if (folder / "work").exists():
            noise.append(f"I10 scratch is left of job {job_id}: {_names(folder / 'work')}")
        temporary = [name for _inner, _names, names in os.walk(folder) for name in names if name.endswith(".tmp")]
        noise += [f"I10 temporary files are left of job {job_id}: {temporary}"] if temporary else []
    return noise


def _names(folder: Path) -> list[str]:
    # What is being removed at the moment may be gone between two steps of a walk, which a walk by os.walk bears.
    return sorted(
        str(Path(inner, name).relative_to(folder))
        for inner, folders, files in os.walk(folder)
        for name in (*folders, *files)
    )[:8]
