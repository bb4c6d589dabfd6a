"""How a module is called: its command line and its environment."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from jobd.artifacts import ArtifactStore
from jobd.plan import PlanEntry

_PASSED_ON = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ")
"""What a module sees of the daemon's environment."""

_THREAD_HINTS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def command(entry: PlanEntry, artifacts: ArtifactStore, scratch: Path) -> list[str]:
    """Give the module's command line: its paths as `--param path …`, its options as single tokens."""
    argv = [sys.executable, str(Path(entry.folder, entry.entrypoint))]
    for binding in entry.inputs:
        argv += [f"--{binding.param_name}", *(str(artifacts.path(name)) for name in binding.artifacts)]
    for name, path in outputs(entry, scratch):
        argv += [f"--{name}", str(path)]
    return argv + list(entry.options)


def outputs(entry: PlanEntry, scratch: Path) -> Iterator[tuple[str, Path]]:
    """Give each parameter for an output, and where the module is to make it."""
    for binding in entry.outputs:
        for name in binding.artifacts:
            yield binding.param_name, scratch / "out" / name


def environment(
    job_id: str, entry: PlanEntry, attempt: int, scratch: Path, gpus: tuple[str, ...] | None = None
) -> dict[str, str]:
    """Give the module's environment: a short list of the daemon's, what the manifest asks for, and who it is.

    Where the daemon hands out gpus, a module sees those that are its own, and none if it asked for none.
    """
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    # Libraries that would start a thread for every cpu of the machine keep to what the entry was granted.
    threads = dict.fromkeys(_THREAD_HINTS, str(max(1, int(entry.resources.cpus))))
    own = {
        "PYTHONUNBUFFERED": "1",  # a report shall be seen when it is printed, not when a buffer is full
        "TMPDIR": str(scratch / "tmp"),
        "JOBD_JOB_ID": job_id,
        "JOBD_STEP": entry.step,
        "JOBD_ENTRY": entry.name,
        "JOBD_ATTEMPT": str(attempt),
        "JOBD_IDEMPOTENCY_KEY": idempotency_key(job_id, entry),
    }
    visible = {"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus is not None else {}
    return kept | threads | dict(entry.env) | visible | own


def idempotency_key(job_id: str, entry: PlanEntry) -> str:
    """Name an entry, the same in each of its attempts."""
    return f"{job_id}/{entry.step}/{entry.name}"
