"""The manifest of a module: what it is called, the files and options it takes, and what it needs to run."""

from collections.abc import Iterator
from typing import Annotated, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from jobd.document import Place
from jobd.errors import InvalidDocumentError
from jobd.fields import (
    Bytes,
    FileName,
    Filled,
    Flag,
    Folder,
    Format,
    ImportName,
    Line,
    LogLimit,
    Number,
    OptionName,
    OutputLimit,
    Retries,
    RetryOn,
    Seconds,
    SecretName,
    Text,
    Timeout,
    Variable,
    Whole,
    meant,
)
from jobd.names import FieldError, describe, shown
from jobd.params import Param
from jobd.plan import LOG_LIMIT, LogOverflow
from jobd.yaml_reader import read_document


def _check_counter(name: str) -> str:
    if name in {"cpus", "memory", "gpus"}:
        raise FieldError(f"{shown(name)} is no name for a counter", f"write `{name}` beside `counters`")
    return name


CounterName = Annotated[OptionName, AfterValidator(_check_counter)]


class ResourceSpec(Format):
    """What an entry asks of the machine; None where nothing is said."""

    cpus: Annotated[Number, Field(gt=0, le=10_000)] | None = None
    memory: Bytes | None = None
    gpus: Annotated[Whole, Field(ge=0, le=10_000)] | None = None
    counters: dict[CounterName, Annotated[Number, Field(ge=0)]] | None = None

    def over(self, other: Self) -> Self:
        """Give these resources, and the other's where nothing is said here; counters are taken one by one."""
        said = self.model_dump(exclude_none=True)
        return other.model_copy(update=said | {"counters": (other.counters or {}) | (self.counters or {})})


class ModuleInput(Format):
    """A file or folder that a module takes."""

    param_name: OptionName
    type: Line
    optional: Flag = False
    many: Flag = False


class ModuleOutput(Format):
    """A file or folder that a module makes."""

    param_name: OptionName
    type: Line


class SandboxSpec(Format):
    """What a module in a sandbox gets beside its files."""

    network: Flag = False
    read: tuple[Folder, ...] = ()


class Manifest(Format):
    """What a module's `manifest.yaml` says. Times are seconds; `preload` is None where no warm start is wanted."""

    name: Annotated[FileName, Field(max_length=100)]
    description: Filled
    entrypoint: FileName
    version: Line = ""
    inputs: tuple[ModuleInput, ...] = ()
    outputs: tuple[ModuleOutput, ...] = ()
    params: tuple[Param, ...] = ()
    resources: ResourceSpec = ResourceSpec()
    timeout: Timeout | None = None
    silence: Timeout | None = None
    log_limit: LogLimit = LOG_LIMIT
    log_overflow: LogOverflow = LogOverflow.TRUNCATE
    output_limit: OutputLimit | None = None
    retries: Retries = 0
    retry_on: RetryOn | None = None
    grace: Annotated[Seconds, Field(ge=0)] = 10
    env: dict[Variable, Text] = Field(default_factory=dict)
    secrets: dict[Variable, SecretName] = Field(default_factory=dict)
    sandbox: SandboxSpec | None = None
    preload: tuple[ImportName, ...] | None = ()

    @field_validator("entrypoint")
    @classmethod
    def _check_script(cls, name: str) -> str:
        if not name.endswith(".py"):
            raise FieldError(f"{shown(name)} is not a Python script", "name a file of this folder that ends in .py")
        return name

    @field_validator("preload", mode="before")
    @classmethod
    def _read_preload(cls, raw: object) -> object:
        if meant(raw) is not False and not isinstance(raw, list | tuple):
            raise FieldError(f"must be a list of imports or false, not {describe(raw)}", "write it like [numpy, av]")
        return None if meant(raw) is False else raw

    @field_validator("secrets", mode="before")
    @classmethod
    def _read_secrets(cls, raw: object) -> object:
        # A list names variables and secrets at once.
        if isinstance(raw, list) and all(isinstance(item, str) for item in raw):
            return {name: name for name in raw}
        return raw

    @field_validator("sandbox", mode="before")
    @classmethod
    def _read_sandbox(cls, raw: object) -> object:
        wanted = meant(raw)
        return ({} if wanted else None) if isinstance(wanted, bool) else raw

    @model_validator(mode="after")
    def _check_variables(self) -> Self:
        if twice := sorted(self.env.keys() & self.secrets.keys()):
            raise FieldError(f"the variable {shown(twice[0])} is in `env` and in `secrets`", "keep one of them")
        return self


def read_manifest(text: bytes) -> Manifest:
    """Read a manifest; raise InvalidDocumentError with every violation found."""
    document = read_document(text)
    manifest, found = document.read(Manifest)
    violations = [*document.violations, *found]
    if manifest is not None:
        violations += [
            document.violation(
                place, f"the option `{name}` is taken", "inputs, outputs and params need names of their own; not `help`"
            )
            for place, name in _repeated_options(manifest)
        ]
    if manifest is None or violations:
        violations.sort(key=lambda violation: violation.line)
        raise InvalidDocumentError(tuple(violations), "manifest")
    return manifest


def _repeated_options(manifest: Manifest) -> Iterator[tuple[Place, str]]:
    places: list[tuple[Place, str]] = [
        *((("inputs", index, "param_name"), item.param_name) for index, item in enumerate(manifest.inputs)),
        *((("outputs", index, "param_name"), item.param_name) for index, item in enumerate(manifest.outputs)),
        *((("params", index, "name"), item.name) for index, item in enumerate(manifest.params)),
    ]
    seen = {"help"}  # argparse has an option of that name in every script
    for place, name in places:
        if name in seen:
            yield place, name
        seen.add(name)
