"""Plain data as YAML, in the part of that language that needs no choice: block style, and every text in quotes."""

import re

from jobctl.json_output import Json
from jobctl.terminal import spell

_PLAIN_KEY = re.compile(r"[a-z][a-z0-9_]*")
_RESERVED = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
_INDENT = "  "


def dump_yaml(data: Json) -> str:
    """Write data as one YAML document, without the last line end; what is not printable is escaped."""
    return "\n".join(_write(data))


def _write(data: Json) -> list[str]:
    if isinstance(data, dict) and data:
        return [line for key, value in data.items() for line in _write_pair(key, value)]
    if isinstance(data, list) and data:
        return [line for item in data for line in _write_item(item)]
    return [_write_scalar(data)]


def _write_pair(key: str, value: Json) -> list[str]:
    name = key if _PLAIN_KEY.fullmatch(key) and key not in _RESERVED else _quote(key)
    if isinstance(value, dict | list) and value:
        return [f"{name}:", *(_INDENT + line for line in _write(value))]
    return [f"{name}: {_write_scalar(value)}"]


def _write_item(item: Json) -> list[str]:
    first, *rest = _write(item)
    return [f"- {first}", *(_INDENT + line for line in rest)]


def _write_scalar(value: Json) -> str:
    match value:
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case str():
            return _quote(value)
        case float():
            # Readers of YAML 1.1 take a number without a point for a text.
            mantissa, e, exponent = repr(value).partition("e")
            return mantissa + (".0" if e and "." not in mantissa else "") + e + exponent
        case dict():
            return "{}"
        case list():
            return "[]"
        case _:
            return str(value)


def _quote(text: str) -> str:
    return '"' + "".join(map(_escape, text)) + '"'


def _escape(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if character.isprintable() else spell(character)
