"""An answer on standard output, in the form that `-o` asks for."""

from collections.abc import Callable, Iterable

from jobctl.json_output import Json, dump_document
from jobctl.output_format import OutputFormat
from jobctl.terminal import escape
from jobctl.yaml_output import dump_yaml


def print_answer(
    output: str,
    *,
    data: Callable[[], Json],
    names: Callable[[], Iterable[str]],
    lines: Callable[[], Iterable[str]],
) -> None:
    """Print an answer: as data, as the names of what it is about, or as lines for a person, which are safe already."""
    match output:
        case OutputFormat.JSON:
            print(dump_document(data()))
        case OutputFormat.YAML:
            print(dump_yaml(data()))
        case OutputFormat.NAME:
            _print_lines(map(escape, names()))
        case _:
            _print_lines(lines())


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)
