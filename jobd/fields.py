"""The values that users write in files, each read strictly: nothing is bent into another type."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from jobd.document import Plain
from jobd.events import FailureKind
from jobd.names import FieldError, check_file_name, check_line, check_option, shown

MAX_SECONDS = 366 * 86400
MIN_LOG_LIMIT = 64 << 10  # room for a beginning, and for the last lines that a failure shows
_SECONDS: dict[str, float] = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DECIMAL = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_BYTES: dict[str, float] = {**_DECIMAL, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_QUANTITY = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([A-Za-z]{1,3})")
_IMPORT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_SECRET = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def meant(value: object) -> object:
    """Give the value that a scalar stands for, where it was read with its source."""
    return value.value if isinstance(value, Plain) else value


def _quantity(value: object, units: dict[str, float], example: str) -> object:
    value = meant(value)
    if not isinstance(value, str):
        return value
    if not (match := _QUANTITY.fullmatch(value)) or match[2] not in units:
        raise FieldError(f"{shown(value)} is not understood", f"write it like {example}")
    return float(match[1]) * units[match[2]]


def _seconds(value: object) -> object:
    return _quantity(value, _SECONDS, "90, 90s, 10m or 2h")


def _bytes(value: object) -> object:
    size = _quantity(value, _BYTES, "512MB, 2GiB or a number of bytes")
    return round(size) if isinstance(meant(value), str) and isinstance(size, float) else size


def _digits(value: object) -> object:
    return int(value) if isinstance(value, str) and value.isdecimal() else value


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


def _check_secret(name: str) -> str:
    if not _SECRET.fullmatch(name):
        hint = "a letter or `_`, then letters, digits, `_`, `.` and `-`"
        raise FieldError(f"{shown(name)} is not a name for a secret", hint)
    return name


def _check_folder(path: str) -> str:
    if not path.startswith("/") or ".." in path.split("/"):
        raise FieldError(f"{shown(path)} is not an absolute path", "write it like /srv/models, without `..`")
    return path


# Text keeps its source, so that `1.10` stays `1.10`.
Text = Annotated[str, Field(strict=True)]
Line = Annotated[Text, AfterValidator(check_line)]
FileName = Annotated[Text, AfterValidator(check_file_name)]
Variable = Annotated[Text, AfterValidator(_check_variable)]
SecretName = Annotated[Text, AfterValidator(_check_secret)]
ImportName = Annotated[Text, AfterValidator(_check_import)]
Folder = Annotated[Text, AfterValidator(_check_folder)]
Filled = Annotated[Text, AfterValidator(_check_filled)]
OptionName = Annotated[Text, AfterValidator(check_option)]
Flag = Annotated[bool, Field(strict=True), BeforeValidator(meant)]
Whole = Annotated[int, Field(strict=True), BeforeValidator(meant)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False), BeforeValidator(meant)]
Seconds = Annotated[float, Field(strict=True, allow_inf_nan=False, le=MAX_SECONDS), BeforeValidator(_seconds)]
Timeout = Annotated[Seconds, Field(gt=0)]
Retries = Annotated[Whole, Field(ge=0, le=100)]
RetryOn = Annotated[tuple[FailureKind, ...], AfterValidator(_check_kinds)]
Bytes = Annotated[int, Field(strict=True, ge=0, lt=2**63), BeforeValidator(_bytes)]
BytesAsText = Annotated[Bytes, BeforeValidator(_digits)]
"""For flags and the environment, which have no numbers."""
LogLimit = Annotated[Bytes, Field(ge=MIN_LOG_LIMIT)]
OutputLimit = Annotated[Bytes, Field(gt=0)]


class Format(BaseModel):
    """A part of a file that users write: frozen, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")
