"""The run of one attempt: its folders are made, its process is started, followed, and cleared away."""

import os
from collections.abc import Callable
from pathlib import Path

from jobd import invocation, job_cgroup
from jobd.attempt import Attempt, Cancelled, Failed, Succeeded
from jobd.attempt_watch import AttemptWatch
from jobd.confinement import Confinement, ConfinementError
from jobd.events import FailureKind
from jobd.limits import Limits
from jobd.process import ModuleProcess
from jobd.secret_store import SecretError
from jobd.trees import discard, remove_folder
from jobd.warm_process import Parked

_FOLDERS = ("cwd", "out", "tmp")
"""What a scratch folder has when a module begins."""


def run_attempt(attempt: Attempt, show: Callable[[str], None]) -> Succeeded | Failed | Cancelled:
    """Run one attempt to its end; when it returns, nothing of it lives and its folder is gone."""
    try:
        _make_folders(attempt)
        confinement = attempt.confinement
        try:
            confinement.prepare()
            process = _start(attempt, confinement)
        except (OSError, SecretError, ConfinementError) as error:
            return attempt.failed(FailureKind.SPAWN, f"{attempt.entry.entrypoint} could not be started: {error}")
        with process:
            return AttemptWatch(attempt, confinement, process, show).run()
    except OSError as error:
        return attempt.failed(FailureKind.SYSTEM, f"jobd could not run it: {error}")
    finally:
        _remove(attempt.scratch)


def _make_folders(attempt: Attempt) -> None:
    scratch = attempt.scratch
    scratch.parent.mkdir(parents=True, exist_ok=True)
    try:
        scratch.mkdir()
    except FileExistsError:  # what an earlier runner left
        remove_folder(scratch)
        scratch.mkdir()
    for name in _FOLDERS:
        os.mkdir(f"{scratch}/{name}")  # noqa: PTH102 - a Path for each is waste
    attempt.log.parent.mkdir(parents=True, exist_ok=True)


def _remove(scratch: Path) -> None:
    """Remove a scratch folder; of what most modules leave, which is empty folders, at a tenth of the cost."""
    try:
        for name in _FOLDERS:
            os.rmdir(f"{scratch}/{name}")  # noqa: PTH106 - a Path for each is waste
        scratch.rmdir()
    except OSError:
        discard(scratch)  # what lives on may hold it; the daemon removes it with the job's litter


def _start(attempt: Attempt, confinement: Confinement) -> ModuleProcess:
    entry = attempt.entry
    # Its log is a file that it writes as well, and has a limit of its own.
    file_size = max(entry.output_limit, entry.log_limit) if entry.output_limit else 0
    limits = Limits(memory=entry.resources.memory, file_size=file_size, inherited=attempt.containment.user is not None)
    cgroup = job_cgroup.make(attempt.job_id)
    plain = invocation.command(entry, attempt.artifacts, attempt.scratch)
    argv = confinement.command(plain, limits, data=cgroup is None or "memory" not in cgroup.available())
    env = confinement.environment(
        invocation.environment(attempt.job_id, entry, attempt.number, attempt.scratch, attempt.gpus)
    )

    def fork(log_fd: int) -> Parked | None:
        group = cgroup.path if cgroup is not None else None
        return attempt.hosts.fork(entry, argv, env, log_fd, group) if attempt.hosts is not None else None

    return ModuleProcess(
        argv,
        cwd=attempt.scratch / "cwd",
        env=env,
        log=attempt.log,
        mark=attempt.mark,
        cgroup=cgroup,
        limits=limits,
        fork=None if confinement.starts_cold else fork,
    )
