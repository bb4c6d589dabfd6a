"""YAML text made plain data that knows its lines: safe to read from anybody, in bounded time and memory."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import NoReturn, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from yaml import events

from jobd.errors import InvalidDocumentError, Violation
from jobd.names import FieldError, Nearest, expectation, shown, yaml_path

MAX_BYTES = 2 * 1024 * 1024
MAX_NODES = 400_000
MAX_DEPTH = 32

Place = tuple[str | int, ...]
"""Where a node stands: the keys and indices that lead to it."""

ModelT = TypeVar("ModelT", bound=BaseModel)

# The core schema of YAML 1.2: `no`, `1:30` and dates are text there, unlike in YAML 1.1.
_INT = re.compile(r"[-+]?[0-9]{1,1000}|0x[0-9a-fA-F]{1,1000}|0o[0-7]{1,1000}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULL = {"", "~", "null", "Null", "NULL"}
# An escape in a JSON text; a character beyond 16 bits is written as two escapes there, which YAML does not know.
_ESCAPE = re.compile(r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|\\.")

_HINTS = {
    "found character that cannot start any token": "indent with spaces, not tabs; quote text that begins with @",
    "mapping values are not allowed in this context": "check the indentation; put text that has `: ` in it in quotes",
    "did not find expected key": "check the indentation of this line and of those before it",
    "did not find expected '-' indicator": "check the indentation of this line and of those before it",
    "found unexpected end of stream": "a closing quote is missing",
}


class Plain(str):
    """The source text of an unquoted scalar that means a number or a truth value, and that value.

    It is its own text, so that `version: 1.10` and a file called `2024` stay as they were written.
    """

    __slots__ = ("value",)
    value: int | float | bool


class Lined:
    """What holds other nodes: the line it begins on, and the line of each key or item."""

    def __init__(self, line: int) -> None:
        """Begin empty."""
        super().__init__()
        self.line = line
        self.lines: dict[str | int, int] = {}


class Mapping(Lined, dict[str, object]):
    """A mapping of the document."""


class Sequence(Lined, list[object]):
    """A list of the document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A document that was read: its data, and the violations that did not keep it from being read."""

    root: object
    violations: tuple[Violation, ...] = ()
    nearest: Nearest = field(default_factory=Nearest)

    def at(self, place: Place) -> object:
        """Give the data at the place, or None where there is none."""
        return next(islice(self._walk(place), len(place), None), (None, 0))[0]

    def line(self, place: Place) -> int:
        """Give the line of the place, or of the nearest thing around it that exists."""
        return [line for _, line in self._walk(place)][-1]

    def violation(self, place: Place, message: str, hint: str = "") -> Violation:
        """Make a violation that stands at the place."""
        return Violation(path=yaml_path(place), line=self.line(place), message=message, hint=hint)

    def read(self, model: type[ModelT], place: Place = ()) -> tuple[ModelT | None, list[Violation]]:
        """Read the data at the place as the model, None if more is wrong than unknown keys; and tell what is wrong."""
        made, details = _validate(model, self.at(place))
        unknown = {detail["loc"] for detail in details if detail["type"] == "extra_forbidden"}
        if unknown and len(unknown) == len(details):
            # What else is wrong with the whole only shows when its keys are right.
            made, more = _validate(model, _without(self.at(place), unknown, ()))
            details += more
        return made, [self._translate(model, place, detail) for detail in details]

    def _walk(self, place: Place) -> Iterator[tuple[object, int]]:
        node = self.root
        yield node, node.line if isinstance(node, Lined) else 1
        for part in place:
            if not isinstance(node, Mapping | Sequence) or part not in node.lines:
                return
            line = node.lines[part]
            node = node[part]  # type: ignore[index]  # a part that has a line is a key or an index of the node
            yield node, line

    def _translate(self, model: type[BaseModel], start: Place, detail: ErrorDetails) -> Violation:
        place = start + tuple(part for part in detail["loc"] if part != "[key]")
        key = str(place[-1]) if place else ""
        match detail["type"]:
            case "missing":
                return self.violation(place, f"`{key}` is missing", f"add `{key}:` here")
            case "extra_forbidden":
                hint = self.nearest.hint(key, _known_keys(model, detail["loc"]), "known keys")
                return self.violation(place, f"unknown key {shown(key, '`')}", hint)
            case "value_error" if isinstance(error := detail["ctx"]["error"], FieldError):
                return self.violation(place, str(error), error.hint)
        return self.violation(place, *expectation(detail["type"], self.at(place), detail["msg"]))


def _validate(model: type[ModelT], data: object) -> tuple[ModelT | None, list[ErrorDetails]]:
    try:
        return model.model_validate(data), []
    except ValidationError as error:
        return None, error.errors(include_url=False, include_input=False)


def _known_keys(model: type[BaseModel], loc: Place) -> tuple[str, ...]:
    for part in loc[:-1]:
        if isinstance(part, str) and part in model.model_fields:
            model = _inner_model(model.model_fields[part].annotation) or model
    return tuple(model.model_fields)


def _inner_model(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _inner_model(part))), None)


def _without(data: object, places: set[Place], here: Place) -> object:
    if isinstance(data, dict):
        return {key: _without(item, places, (*here, key)) for key, item in data.items() if (*here, key) not in places}
    if isinstance(data, list):
        return [_without(item, places, (*here, index)) for index, item in enumerate(data)]
    return data


def read_document(text: bytes) -> Document:
    """Read a YAML or JSON document; raise InvalidDocumentError for one that cannot be read, with its line."""
    source = _decode(text)
    try:
        return _Composer(source).compose()
    except yaml.MarkedYAMLError as error:
        line = min(error.problem_mark.line, source.count("\n")) + 1 if error.problem_mark is not None else 0
        problem = str(error.problem)
        _refuse(f"not valid YAML: {problem}", _HINTS.get(problem, ""), line)
    except yaml.reader.ReaderError as error:
        line = source.encode()[: error.position].count(b"\n") + 1
        _refuse(f"not valid YAML: {error.reason}", "take the character out", line)


def _refuse(message: str, hint: str = "", line: int = 0, place: Place = ()) -> NoReturn:
    raise InvalidDocumentError((Violation(path=yaml_path(place), line=line, message=message, hint=hint),))


def _decode(text: bytes) -> str:
    if len(text) > MAX_BYTES:
        _refuse(f"the document has {len(text)} bytes", f"at most {MAX_BYTES} (2 MiB) are allowed")
    if (nul := text.find(b"\0")) >= 0:
        _refuse("the document is binary, not text", "give a YAML file in UTF-8", text.count(b"\n", 0, nul) + 1)
    try:
        source = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        _refuse("the document is not UTF-8 text", "give a YAML file in UTF-8", line)
    return _ESCAPE.sub(_join_escapes, source) if source.lstrip()[:1] in {"{", "["} else source


def _join_escapes(match: re.Match[str]) -> str:
    high, low = match.groups()
    return (bytes.fromhex(high) + bytes.fromhex(low)).decode("utf-16-be") if high else match[0]


class _Composer:
    """Builds the data from libyaml's events as they come, so that a hostile document is refused before it grows."""

    def __init__(self, source: str) -> None:
        self._events: Iterator[events.Event] = yaml.parse(source, Loader=yaml.CSafeLoader)
        self._place: list[str | int] = []
        self._nodes = 0
        self._violations: list[Violation] = []

    def compose(self) -> Document:
        """Read the one document there is."""
        next(self._events)
        if isinstance(next(self._events), events.StreamEndEvent):
            _refuse("the document is empty", line=1)
        root = self._node(next(self._events))
        next(self._events)
        if not isinstance(event := next(self._events), events.StreamEndEvent):
            _refuse("a second document begins here", "one file holds one document", _line(event))
        return Document(root=root, violations=tuple(self._violations))

    def _node(self, event: events.Event) -> object:
        self._check(event)
        match event:
            case events.ScalarEvent():
                return self._scalar(event)
            case events.MappingStartEvent():
                return self._mapping(Mapping(_line(event)))
            case _:
                return self._sequence(Sequence(_line(event)))

    def _check(self, event: events.Event) -> None:
        self._nodes += 1
        if isinstance(event, events.AliasEvent) or getattr(event, "anchor", None) is not None:
            self._refuse(event, "anchors and aliases (`&name`, `*name`) are not allowed", "write the value out")
        if getattr(event, "tag", None) is not None:
            self._refuse(event, "tags (`!name`) are not allowed", "write the plain value")
        if len(self._place) >= MAX_DEPTH:
            self._refuse(event, f"nested more than {MAX_DEPTH} levels deep")
        if self._nodes > MAX_NODES:
            self._refuse(event, f"the document has more than {MAX_NODES} keys and values", "split it into smaller ones")

    def _mapping(self, mapping: Mapping) -> Mapping:
        while not isinstance(event := next(self._events), events.MappingEndEvent):
            self._check(event)
            key = self._key(event)
            self._place.append(key)
            value = self._node(next(self._events))
            if key in mapping:
                first = f"the first is on line {mapping.lines[key]}"
                self._found(event, f"the key {shown(key, '`')} stands here twice", first)
            else:
                mapping[key], mapping.lines[key] = value, _line(event)
            self._place.pop()
        return mapping

    def _key(self, event: events.Event) -> str:
        if not isinstance(event, events.ScalarEvent):
            self._refuse(event, "a key must be text, not a list or a mapping")
        if event.implicit[0] and event.value in _NULL:
            self._found(event, "a key is empty", "write `key: value`; put a key called `null` in quotes")
        return str(self._scalar(event) or "")

    def _sequence(self, sequence: Sequence) -> Sequence:
        while not isinstance(event := next(self._events), events.SequenceEndEvent):
            self._place.append(len(sequence))
            sequence.lines[len(sequence)] = _line(event)
            sequence.append(self._node(event))
            self._place.pop()
        return sequence

    def _scalar(self, event: events.ScalarEvent) -> str | None:
        text: str = event.value
        if event.implicit[0]:
            return _plain(text)
        if "\0" in text:
            self._found(event, f"{shown(text)} has a NUL character in it", "leave it out")
        return text

    def _refuse(self, event: events.Event, message: str, hint: str = "") -> NoReturn:
        _refuse(message, hint, _line(event), tuple(self._place[:10]))

    def _found(self, event: events.Event, message: str, hint: str) -> None:
        path = yaml_path(tuple(self._place))
        self._violations.append(Violation(path=path, line=_line(event), message=message, hint=hint))


def _line(event: events.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark is not None else 0


def _plain(text: str) -> str | None:
    value: int | float | bool
    if text in _NULL:
        return None
    if text in _BOOL:
        value = _BOOL[text]
    elif _INT.fullmatch(text):
        value = int(text, 0) if text[:2] in {"0x", "0o"} else int(text)
    elif _FLOAT.fullmatch(text):
        value = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    else:
        return text
    plain = Plain(text)
    plain.value = value
    return plain
