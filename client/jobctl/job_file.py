"""The job file and the input files that go with it, on this machine."""

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobapi.v1 import job_service_pb2

from jobctl.errors import InvalidInputError, InvalidJobError, UsageError

MAX_BYTES = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFile:
    """A job file as it was read."""

    label: str
    """How messages call it."""
    folder: Path
    """Where inputs that were not given are looked for."""
    content: bytes
    """Its bytes, as they are sent."""

    @classmethod
    def read(cls, name: str) -> "JobFile":
        """Read a file, or standard input for `-`; raise `InvalidJobError` when it is too large or cannot be read."""
        if name == "-":
            content = _check_size(sys.stdin.buffer.read(MAX_BYTES + 1), "on standard input")
            return cls(label="<stdin>", folder=Path.cwd(), content=content)
        return cls(label=name, folder=Path(name).absolute().parent, content=read_content(Path(name)))


def read_content(job: bytes | Path) -> bytes:
    """Give the content of a job file; raise `InvalidJobError` when it is too large or cannot be read."""
    if isinstance(job, bytes):
        return _check_size(job, "given")
    try:
        with job.open("rb") as file:
            return _check_size(file.read(MAX_BYTES + 1), str(job))
    except OSError as error:
        raise InvalidJobError(f"cannot read the job file {job}: {error.strerror}", hint="check its path") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundInput:
    """What was found for one of the files that a job needs."""

    wanted: job_service_pb2.PlanInput
    """What the job needs."""
    path: Path | None
    """Where it is; None when it was neither given nor lies beside the job file."""

    @property
    def key(self) -> str:
        """By what the daemon knows it: its name where it has one, else its parameter."""
        return self.wanted.name or self.wanted.param_name


def find_inputs(
    wanted: Sequence[job_service_pb2.PlanInput], given: Iterable[str], folder: Path
) -> tuple[FoundInput, ...]:
    """Match `PARAM=PATH` options, and the files beside the job file, with what the job needs.

    Raises `UsageError` for an option that fits none or several of them, and `InvalidInputError` for a path that
    cannot be read. What is missing is told by `require_inputs`.
    """
    paths: dict[int, Path] = {}
    for option in given:
        param, equals, text = option.partition("=")
        if not equals or not param or not text:
            raise UsageError(f"--input {option}: not of the form PARAM=PATH")
        index = _match(param, wanted)
        if index in paths:
            raise UsageError(f"--input {param} is given twice")
        paths[index] = _check(Path(text).expanduser().absolute(), param)
    return tuple(
        FoundInput(wanted=item, path=paths.get(index) or _look_beside(item, folder))
        for index, item in enumerate(wanted)
    )


def require_inputs(found: Iterable[FoundInput], folder: Path) -> None:
    """Raise `InvalidInputError` that names every input without a file, and how to give it; unused ones may lack one."""
    missing = [item for item in found if item.path is None and item.wanted.artifact_names]
    if missing:
        looked = sorted({name for item in missing for name in item.wanted.artifact_names})
        raise InvalidInputError(
            "no file for " + ", ".join(f"the input {item.key} ({item.wanted.type})" for item in missing),
            hint="give it with " + " ".join(f"--input {item.key}=PATH" for item in missing)
            + (f", or put {' and '.join(looked)} into {folder}" if looked else ""),
        )  # fmt: skip


def _check_size(content: bytes, name: str) -> bytes:
    if len(content) > MAX_BYTES:
        raise InvalidJobError(f"the job file {name} is larger than 2 MiB", hint="is it the right file?")
    return content


def _match(param: str, wanted: Sequence[job_service_pb2.PlanInput]) -> int:
    by_name = [index for index, item in enumerate(wanted) if item.name == param]
    by_param = [index for index, item in enumerate(wanted) if item.param_name == param]
    found = by_name or by_param
    if not found:
        known = ", ".join(sorted({item.name or item.param_name for item in wanted}))
        raise UsageError(
            f"--input {param}: the job has no such input", hint=f"it has: {known}" if known else "it takes none"
        )
    if len(found) > 1:
        names = ", ".join(wanted[index].name or "(unnamed)" for index in found)
        raise UsageError(f"--input {param}: several inputs have this parameter", hint=f"give them by name: {names}")
    return found[0]


def _look_beside(wanted: job_service_pb2.PlanInput, folder: Path) -> Path | None:
    # The names come from the daemon; a plain one cannot lead out of the folder.
    plain = (name for name in wanted.artifact_names if Path(name).name == name)
    there = os.path.exists  # also where it may not be looked
    found = next((folder / name for name in plain if there(folder / name)), None)
    return _check(found, wanted.name or wanted.param_name) if found else None


def _check(path: Path, param: str) -> Path:
    try:
        path.stat()
    except FileNotFoundError:
        raise InvalidInputError(f"the file for input {param!r} does not exist: {path}", hint="check its path") from None
    except OSError as error:
        message = f"the file for input {param!r} cannot be read: {path}: {error.strerror}"
        raise InvalidInputError(message, hint="check its path") from error
    if not (path.is_file() or path.is_dir()):
        raise InvalidInputError(f"the input {param} is neither a file nor a folder: {path}")
    if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
        raise InvalidInputError(f"the file for input {param!r} cannot be read: {path}", hint="check its permissions")
    return path
