"""Names that users choose, and how they are told about wrong ones."""

import difflib
import json
import re
from collections.abc import Collection, Iterable

MAX_NAME_BYTES = 255
MAX_SHOWN = 60

_OPTION = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}")
_SIMPLE_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_BIDIRECTIONAL = re.compile(r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


class FieldError(ValueError):
    """A value that cannot be used, with a hint on how to mend it."""

    def __init__(self, message: str, hint: str = "") -> None:
        """Hold the message and the hint."""
        super().__init__(message)
        self.hint = hint


def shown(value: object, quote: str = "'") -> str:
    """Give a value of a document as it may stand in a message: in quotes, on one line, not too long."""
    text = str(value)
    return quote + ascii_controls(text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…") + quote


def quoted(path: str) -> str:
    """Give a path as it may stand in a message: in quotes, on one line, and whole."""
    return f"'{ascii_controls(path)}'"


def ascii_controls(text: str) -> str:
    """Give the text with every character that could disturb a terminal or a log written as an escape."""

    def escape(match: re.Match[str]) -> str:
        return match[0].encode("unicode_escape").decode()

    for pattern in (_UNPRINTABLE, _BIDIRECTIONAL, _SURROGATE):
        text = pattern.sub(escape, text)
    return text


def check_line(text: str) -> str:
    """Give the text back when it is one visible line of at most 255 bytes, or raise FieldError."""
    if not text.strip():
        raise FieldError("must not be empty")
    if _SURROGATE.search(text):
        raise FieldError(f"{shown(text)} is not valid UTF-8")
    if _UNPRINTABLE.search(text):
        raise FieldError(f"{shown(text)} has a control character or a line break in it", "write it as one plain line")
    if _BIDIRECTIONAL.search(text):
        raise FieldError(f"{shown(text)} has a bidirectional control character in it", "leave the invisible one out")
    if (size := len(text.encode())) > MAX_NAME_BYTES:
        raise FieldError(f"{shown(text)} is {size} bytes long", f"at most {MAX_NAME_BYTES} bytes are allowed")
    return text


def check_file_name(name: str) -> str:
    """Give the name back when it can be a file or folder name of one path component, or raise FieldError."""
    check_line(name)
    if name in {".", ".."}:
        raise FieldError(f"{shown(name)} is not a file name", "write a plain file name such as `audio.wav`")
    if "/" in name or "\\" in name:
        raise FieldError(f"{shown(name)} has a path separator in it", "write a plain file name such as `audio.wav`")
    if name.startswith("-"):
        raise FieldError(
            f"{shown(name)} begins with `-`", "it could be taken for an option; begin with another character"
        )
    return name


def check_option(name: str) -> str:
    """Give the name back when it can be the name of a command line option, or raise FieldError."""
    if not _OPTION.fullmatch(name):
        raise FieldError(
            f"{shown(name)} is not a name for an option",
            "a letter, then letters, digits, `_` and `-`, at most 100 in all",
        )
    return name


def unique_names(wanted: Iterable[tuple[str, str]]) -> list[str]:
    """Name things: a (name, default) each, where a default is made unique by `-2`, `-3` … when the name is empty."""
    pairs = list(wanted)
    taken = {name for name, _ in pairs if name}
    counts: dict[str, int] = {}
    names: list[str] = []
    for name, default in pairs:
        candidate = name or default
        while not name and candidate in taken:
            counts[default] = counts.get(default, 1) + 1
            candidate = f"{default}-{counts[default]}"
        taken.add(candidate)
        names.append(candidate)
    return names


def yaml_path(place: tuple[str | int, ...]) -> str:
    """Write a place as a YAML path such as `steps[1].entries[0].module`."""
    path = ""
    for part in place:
        if isinstance(part, int):
            path += f"[{part}]"
        elif _SIMPLE_KEY.fullmatch(part):
            path += f".{part}" if path else part
        else:
            path += f"[{json.dumps(part[:60])}]"
    return path


_EXPECTED = {
    "string_type": ("text", "write it in quotes if it is text"),
    "float_type": ("a number", ""),
    "int_type": ("a whole number", ""),
    "bool_type": ("true or false", "write `true` or `false`, without quotes"),
    "tuple_type": ("a list", "write one `- ` before each item"),
    "dict_type": ("a mapping", "write `key: value` lines"),
    "model_type": ("a mapping", "write `key: value` lines"),
}


def expectation(kind: str, value: object, otherwise: str) -> tuple[str, str]:
    """Say, with a hint, what was expected where the data failed a check of pydantic's of this kind."""
    expected, hint = _EXPECTED.get(kind, (otherwise.removeprefix("Input should be "), ""))
    return f"must be {expected}, not {describe(value)}", hint


def describe(value: object) -> str:
    """Say what a piece of a document is, for a message; text that means a number or a truth value has it as `value`."""
    match value:
        case None:
            return "empty"
        case dict():
            return "a mapping"
        case list():
            return "a list"
    meaning = getattr(value, "value", None)
    if isinstance(meaning, bool):
        return str(value)
    return f"the number {value}" if meaning is not None and len(str(value)) < MAX_SHOWN else f"the text {shown(value)}"


class Nearest:
    """Finds the known name that a wrong one was probably meant to be.

    Its work is bounded, because a hostile document could hold thousands of wrong names: past the bound it gives no
    hint, and the violation itself is still told.
    """

    def __init__(self, budget: int = 100_000) -> None:
        """Allow so many comparisons of two names in all."""
        self._budget = budget

    def hint(self, word: str, known: Collection[str], what: str = "known") -> str:
        """Give `did you mean …?`, or a short list of what is known, or nothing."""
        match = self.match(word, known)
        if match is not None:
            return f"did you mean {shown(match, '`')}?"
        names = sorted(known)[:12] if len(known) <= 100 else []
        more = ", …" if len(known) > len(names) else ""
        return f"{what}: {ascii_controls(', '.join(names))}{more}" if names else ""

    def match(self, word: str, known: Collection[str]) -> str | None:
        """Give the nearest known name, or None when none is near or the bound is reached."""
        if len(word) > 100 or len(known) > self._budget:
            return None
        self._budget -= len(known)
        lowered = {name.lower(): name for name in known}
        found = difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.6)
        return lowered[found[0]] if found else None
