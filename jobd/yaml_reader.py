"""Reading YAML or JSON text from anybody: in bounded time and memory, into plain data that knows its lines."""

import re
from collections.abc import Iterator
from typing import NoReturn

import yaml
from yaml import events

from jobd.document import Document, Mapping, Place, Plain, Sequence
from jobd.errors import InvalidDocumentError, Violation
from jobd.names import shown, yaml_path

MAX_BYTES = 2 * 1024 * 1024
MAX_NODES = 400_000
MAX_DEPTH = 32

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
            return read_plain(text)
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


def read_plain(text: str) -> str | None:
    """Give what a scalar without quotes means; a number and a truth value as Plain, with its source."""
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
