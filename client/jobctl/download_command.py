"""`jobctl download`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from jobapi.v1 import job_pb2

from jobctl.arguments import Arguments
from jobctl.byte_bar import show_bytes
from jobctl.download import refuse_existing
from jobctl.errors import ArtifactGoneError, ArtifactNotFoundError, JobctlError, ServerError
from jobctl.exit_codes import ExitCode
from jobctl.part import find_part, name_part
from jobctl.session import connect
from jobctl.states import job_state_name
from jobctl.terminal import escape, say
from jobctl.units import format_size


def download(arguments: Arguments) -> ExitCode:
    """Fetch artifacts, by default all public ones, and print the path of each."""
    with connect(arguments) as client:
        job = client.get(arguments.id)
        chosen = _choose(job, arguments.names)
        targets = [Path(arguments.to).expanduser() / _check_name(item.name) for item in chosen]
        for target in targets:
            refuse_existing(target, force=arguments.force)
        for item, target in zip(chosen, targets, strict=True):
            with _telling_what_stays(target), show_bytes(f"fetching {item.name}", item.size_bytes) as on_bytes:
                client.download(job.id, item.name, target, force=arguments.force, resume=True, on_bytes=on_bytes)
            print(target, flush=True)
    return ExitCode.SUCCEEDED


@contextmanager
def _telling_what_stays(target: Path) -> Iterator[None]:
    try:
        yield
    except (JobctlError, KeyboardInterrupt):
        if size := find_part(target):
            say(
                f"{format_size(size)} are kept in {escape(str(name_part(target)))}: the same command goes on from there"
            )
        raise


def _choose(job: job_pb2.Job, names: Sequence[str]) -> list[job_pb2.Artifact]:
    if names:
        return [_find(job, name) for name in dict.fromkeys(names)]
    present = [item for item in job.artifacts if item.public and item.state == job_pb2.ARTIFACT_STATE_PRESENT]
    if not present:
        raise ArtifactGoneError(
            f"the job {job.id} is {job_state_name(job.state)} and has no public artifact",
            hint=f"what became of its artifacts: jobctl get {job.id}",
        )
    return present


def _find(job: job_pb2.Job, name: str) -> job_pb2.Artifact:
    artifact = next((item for item in job.artifacts if item.name == name), None)
    if artifact is None:
        known = ", ".join(item.name for item in job.artifacts)
        raise ArtifactNotFoundError(
            f"the job {job.id} has no artifact {name}", hint=f"it has: {known}" if known else ""
        )
    if artifact.state == job_pb2.ARTIFACT_STATE_REMOVED:
        raise ArtifactGoneError(f"{name} was removed: {artifact.reason or 'no reason was told'}")
    if artifact.state != job_pb2.ARTIFACT_STATE_PRESENT:
        raise ArtifactGoneError(f"{name} is not made yet: the job {job.id} is {job_state_name(job.state)}")
    return artifact


def _check_name(name: str) -> str:
    # The name comes from the daemon; one that is not plain could write anywhere.
    if Path(name).name != name or name in {"", ".", ".."} or "\0" in name:
        raise ServerError(f"the daemon names an artifact {name!r}, which is not a file name")
    return name
