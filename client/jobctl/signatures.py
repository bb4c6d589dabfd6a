"""What `help` and editors are told of a client's method that was made from its description."""

import functools
import inspect
import typing
from collections.abc import Callable
from typing import TypeVar

_F = TypeVar("_F", bound=Callable[..., object])


def present(method: _F, operation: Callable[..., object], giving: str) -> _F:
    """Give the method the operation's name, docstring and parameters; `giving` says how `{}`, its result, arrives."""
    functools.update_wrapper(method, operation, assigned=("__name__", "__doc__"))
    signature = inspect.signature(operation)
    result = inspect.formatannotation(typing.get_args(signature.return_annotation)[-1])
    method.__signature__ = signature.replace(return_annotation=giving.format(result))  # type: ignore[attr-defined]
    return method
