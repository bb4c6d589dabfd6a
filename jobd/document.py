"""What was read from a file that a user wrote: plain data that knows its lines, and tells what is wrong with it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from jobd.errors import Violation
from jobd.names import FieldError, Nearest, expectation, shown, yaml_path

Place = tuple[str | int, ...]
"""Where a node stands: the keys and indices that lead to it."""

ModelT = TypeVar("ModelT", bound=BaseModel)


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
