"""The manifest of a module: what it is called, the files and options it takes, and what it needs to run."""

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator
from pydantic_core.core_schema import ValidationInfo

from jobd.document import Place, Plain, read_document
from jobd.errors import InvalidDocumentError
from jobd.events import FailureKind
from jobd.names import FieldError, check_file_name, check_line, check_option, describe, shown
from jobd.plan import LOG_LIMIT, LogOverflow

ParamValue = str | int | float | bool

MAX_OPTION_BYTES = 100_000  # the kernel takes no single argument beyond 128 KiB
MAX_SECONDS = 366 * 86400
MIN_LOG_LIMIT = 64 << 10  # room for a beginning, and for the last lines that a failure shows
_SECONDS: dict[str, float] = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DECIMAL = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_BYTES: dict[str, float] = {**_DECIMAL, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_QUANTITY = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([A-Za-z]{1,3})")
_IMPORT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_SECRET = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _meant(value: object) -> object:
    return value.value if isinstance(value, Plain) else value


def _quantity(value: object, units: dict[str, float], example: str) -> object:
    value = _meant(value)
    if not isinstance(value, str):
        return value
    if not (match := _QUANTITY.fullmatch(value)) or match[2] not in units:
        raise FieldError(f"{shown(value)} is not understood", f"write it like {example}")
    return float(match[1]) * units[match[2]]


def _seconds(value: object) -> object:
    return _quantity(value, _SECONDS, "90, 90s, 10m or 2h")


def _bytes(value: object) -> object:
    size = _quantity(value, _BYTES, "512MB, 2GiB or a number of bytes")
    return round(size) if isinstance(_meant(value), str) and isinstance(size, float) else size


def _check_filled(text: str) -> str:
    if not text.strip():
        raise FieldError("must not be empty")
    return text


def _check_kinds(kinds: tuple[FailureKind, ...]) -> tuple[FailureKind, ...]:
    if not kinds:
        raise FieldError(
            "must not be empty", "leave it out to try again after any failure; write `retries: 0` for none"
        )
    return kinds


def _check_import(name: str) -> str:
    if not _IMPORT.fullmatch(name):
        raise FieldError(f"{shown(name)} is not the name of a Python module", "write it as after `import`")
    return name


def _check_variable(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise FieldError(f"{shown(name)} is not a name for an environment variable", "letters, digits and `_`")
    if name.startswith("JOBD_"):
        raise FieldError(f"{shown(name)} is set by jobd itself", "choose a name that does not begin with JOBD_")
    return name


def _all_text(raw: list[object]) -> bool:
    return all(isinstance(item, str) for item in raw)


def _check_secret(name: str) -> str:
    if not _SECRET.fullmatch(name):
        hint = "a letter or `_`, then letters, digits, `_`, `.` and `-`"
        raise FieldError(f"{shown(name)} is not a name for a secret", hint)
    return name


def _check_folder(path: str) -> str:
    if not path.startswith("/") or ".." in path.split("/"):
        raise FieldError(f"{shown(path)} is not an absolute path", "write it like /srv/models, without `..`")
    return path


# Strict: no value is bent into another type. Text keeps its source, so that `1.10` stays `1.10`.
Text = Annotated[str, Field(strict=True)]
Line = Annotated[Text, AfterValidator(check_line)]
FileName = Annotated[Text, AfterValidator(check_file_name)]
Variable = Annotated[Text, AfterValidator(_check_variable)]
OptionName = Annotated[Text, AfterValidator(check_option)]
Flag = Annotated[bool, Field(strict=True), BeforeValidator(_meant)]
Whole = Annotated[int, Field(strict=True), BeforeValidator(_meant)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False), BeforeValidator(_meant)]
Seconds = Annotated[float, Field(strict=True, allow_inf_nan=False, le=MAX_SECONDS), BeforeValidator(_seconds)]
Timeout = Annotated[Seconds, Field(gt=0)]
Retries = Annotated[Whole, Field(ge=0, le=100)]
RetryOn = Annotated[tuple[FailureKind, ...], AfterValidator(_check_kinds)]
Bytes = Annotated[int, Field(strict=True, ge=0, lt=2**63), BeforeValidator(_bytes)]
LogLimit = Annotated[Bytes, Field(ge=MIN_LOG_LIMIT)]
OutputLimit = Annotated[Bytes, Field(gt=0)]


class Format(BaseModel):
    """A part of a file that users write: frozen, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ResourceSpec(Format):
    """What an entry asks of the machine; None where nothing is said."""

    cpus: Annotated[Number, Field(gt=0, le=10_000)] | None = None
    memory: Bytes | None = None
    gpus: Annotated[Whole, Field(ge=0, le=10_000)] | None = None
    counters: dict[OptionName, Annotated[Number, Field(ge=0)]] | None = None

    def over(self, other: Self) -> Self:
        """Give these resources, and the other's where nothing is said here; counters are taken one by one."""
        said = self.model_dump(exclude_none=True)
        return other.model_copy(update=said | {"counters": (other.counters or {}) | (self.counters or {})})


class ParamType(StrEnum):
    """What the value of a parameter may be."""

    STRING = "string"
    INT = "int"
    FLOAT = "float"
    BOOL = "bool"


_KINDS = {
    ParamType.STRING: "text",
    ParamType.INT: "a whole number",
    ParamType.FLOAT: "a number",
    ParamType.BOOL: "true or false",
    None: "text, a number, true or false",
}


def read_value(kind: ParamType | None, raw: object) -> ParamValue:
    """Read a scalar as a parameter of the kind, None for any; raise FieldError when it is something else."""
    meant = _meant(raw)
    match kind:
        case ParamType.BOOL if isinstance(meant, bool):
            return meant
        case ParamType.INT if isinstance(meant, int) and not isinstance(meant, bool):
            return meant
        case ParamType.FLOAT if isinstance(meant, int | float) and not isinstance(meant, bool) and abs(meant) < 1e300:
            return float(meant)
        case ParamType.STRING | None if isinstance(raw, str):
            return str(raw)
    raise FieldError(f"must be {_KINDS[kind]}, not {describe(raw)}", "" if kind is None else f"its type is {kind}")


def _bound(value: float | None) -> str:
    return "anything" if value is None else f"{value:g}"


class Param(Format):
    """A plain option of a module. One whose `default` is written, even as null, may be left out of a job."""

    name: OptionName
    type: ParamType
    default: ParamValue | None = None
    choices: tuple[ParamValue, ...] = ()
    range: tuple[Number | None, Number | None] | None = None
    description: Text = ""

    @property
    def required(self) -> bool:
        """Tell whether a job must give it."""
        return "default" not in self.model_fields_set

    @field_validator("default", mode="before")
    @classmethod
    def _read_default(cls, raw: object, info: ValidationInfo) -> object:
        return raw if raw is None else read_value(info.data.get("type"), raw)

    @field_validator("choices", mode="before")
    @classmethod
    def _read_choices(cls, raw: object, info: ValidationInfo) -> object:
        return tuple(read_value(info.data.get("type"), item) for item in raw) if isinstance(raw, list) else raw

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.range and self.type not in {ParamType.INT, ParamType.FLOAT}:
            raise FieldError(f"a {self.type} has no range", "only int and float have one")
        least, greatest = self.range or (None, None)
        if least is not None and greatest is not None and least > greatest:
            raise FieldError("the range ends before it begins", "write it as [least, greatest]")
        if self.default is not None:
            self.check(self.default)
        return self

    def read(self, raw: object) -> ParamValue:
        """Read a value that a job gives for it, or raise FieldError when its type, choices or range forbid that."""
        value = read_value(self.type, raw)
        if len(str(value).encode()) > MAX_OPTION_BYTES:
            raise FieldError(
                "the value is too long for a command line", f"at most {MAX_OPTION_BYTES} bytes are allowed"
            )
        self.check(value)
        return value

    def check(self, value: ParamValue) -> None:
        """Raise FieldError when the value is not among the choices or not in the range."""
        if self.choices and value not in self.choices:
            raise FieldError(
                f"{shown(value)} is not one of the choices", f"choices: {', '.join(map(str, self.choices))}"
            )
        least, greatest = self.range or (None, None)
        if isinstance(value, str) or ((least is None or value >= least) and (greatest is None or value <= greatest)):
            return
        raise FieldError(f"{value} is out of range", f"from {_bound(least)} to {_bound(greatest)}")

    def options(self, value: ParamValue) -> tuple[str, ...]:
        """Give the command line tokens that pass the value: one token, so that no value is taken for an option."""
        if isinstance(value, bool):
            negated = (f"--no-{self.name}",) if self.default is True else ()
            return (f"--{self.name}",) if value else negated
        return (f"--{self.name}={value}",)


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
    read: tuple[Annotated[Text, AfterValidator(_check_folder)], ...] = ()


class Manifest(Format):
    """What a module's `manifest.yaml` says. Times are seconds; `preload` is None where no warm start is wanted."""

    name: Annotated[FileName, Field(max_length=100)]
    description: Annotated[Text, AfterValidator(_check_filled)]
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
    env: dict[Variable, Text] = {}
    secrets: dict[Variable, Annotated[Text, AfterValidator(_check_secret)]] = {}
    sandbox: SandboxSpec | None = None
    preload: tuple[Annotated[Text, AfterValidator(_check_import)], ...] | None = ()

    @field_validator("entrypoint")
    @classmethod
    def _check_script(cls, name: str) -> str:
        if not name.endswith(".py"):
            raise FieldError(f"{shown(name)} is not a Python script", "name a file of this folder that ends in .py")
        return name

    @field_validator("preload", mode="before")
    @classmethod
    def _read_preload(cls, raw: object) -> object:
        if _meant(raw) is not False and not isinstance(raw, list | tuple):
            raise FieldError(f"must be a list of imports or false, not {describe(raw)}", "write it like [numpy, av]")
        return None if _meant(raw) is False else raw

    @field_validator("secrets", mode="before")
    @classmethod
    def _read_secrets(cls, raw: object) -> object:
        # A list names variables and secrets at once.
        return {name: name for name in raw} if isinstance(raw, list) and _all_text(raw) else raw

    @field_validator("sandbox", mode="before")
    @classmethod
    def _read_sandbox(cls, raw: object) -> object:
        meant = _meant(raw)
        return ({} if meant else None) if isinstance(meant, bool) else raw

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
