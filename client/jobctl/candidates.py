"""What can stand at a place of a command line, from the daemon and from this machine."""

from collections.abc import Callable, Iterator
from pathlib import Path

from jobapi.v1 import job_pb2

from jobctl.client import Client
from jobctl.command_line import CommandLine
from jobctl.job_file import JobFile
from jobctl.session import connect
from jobctl.states import job_state_name, parse_job_state

_MOST = 100
Candidate = tuple[str, str]
"""A value, and what a shell may say of it."""
_RETRIABLE = ("FAILED", "CANCELLED")
_ENDED = ("SUCCEEDED", *_RETRIABLE)
_STATES = {"cancel": ("QUEUED", "RUNNING", "CANCELLING"), "retry": _RETRIABLE, "delete": _ENDED}


def list_jobs(client: Client, line: CommandLine) -> Iterator[Candidate]:
    """Give the ids of jobs with which the command can do something, newest first."""
    states = [parse_job_state(name) for name in _STATES.get(line.command[0], ())]
    given = set(line.operands)
    for job in client.list_jobs(states=states, limit=_MOST):
        if job.id not in given:
            yield job.id, f"{job_state_name(job.state)} {job.name}"
    yield "@latest", "the newest job"


def list_entries(client: Client, line: CommandLine) -> Iterator[Candidate]:
    """Give the steps and entries of the job that the line names."""
    for step in client.get(line.operands[0]).steps:
        yield step.name, "the whole step"
        yield from ((f"{step.name}/{entry.name}", entry.module) for entry in step.entries)


def list_artifacts(client: Client, line: CommandLine) -> Iterator[Candidate]:
    """Give what can be fetched of the job that the line names."""
    job_id, *named = line.operands
    for artifact in client.get(job_id).artifacts:
        if artifact.name not in named and artifact.state == job_pb2.ARTIFACT_STATE_PRESENT:
            yield artifact.name, artifact.type


def list_modules(client: Client, line: CommandLine) -> Iterator[Candidate]:  # noqa: ARG001 - as every source
    """Give the names of modules."""
    return ((module.name, module.description) for module in client.modules().modules)


def list_inputs(client: Client, line: CommandLine) -> Iterator[Candidate]:
    """Give the inputs of the job files that the line names, each with the `=` that follows."""
    for name in line.operands:
        if Path(name).is_file():
            for item in client.validate(JobFile.read(name).content).plan.inputs:
                yield f"{item.name or item.param_name}=", item.type


_SOURCES: dict[str, Callable[[Client, CommandLine], Iterator[Candidate]]] = {
    "jobs": list_jobs,
    "entries": list_entries,
    "inputs": list_inputs,
    "modules": list_modules,
    "artifacts": list_artifacts,
}


def ask_daemon(kind: str, line: CommandLine) -> list[Candidate]:
    """Ask the daemon that the line, or else the environment, means; raises what may go wrong."""
    with connect(line.arguments) as client:
        return list(_SOURCES[kind](client, line))
