"""The plain options of a module: their types, and how a job's values for them are read and passed on."""

from enum import StrEnum
from typing import Self

from pydantic import field_validator, model_validator
from pydantic_core.core_schema import ValidationInfo

from jobd.fields import Format, Number, OptionName, Text, meant
from jobd.names import FieldError, describe, shown

ParamValue = str | int | float | bool

MAX_OPTION_BYTES = 100_000  # the kernel takes no single argument beyond 128 KiB


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
    value = meant(raw)
    match kind:
        case ParamType.BOOL if isinstance(value, bool):
            return value
        case ParamType.INT if isinstance(value, int) and not isinstance(value, bool):
            return value
        case ParamType.FLOAT if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300:
            return float(value)
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
