"""Rows of text in columns. Everything is escaped, for most of it comes from jobs."""

from collections.abc import Iterable, Sequence

from jobapi.v1 import job_pb2

from jobctl.terminal import escape


def format_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align the columns of rows, the first of which is the head; cells are escaped."""
    cells = [[escape(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def format_facts(facts: Iterable[tuple[str, str]]) -> list[str]:
    """Give a line for each fact that has a value, the values below each other."""
    told = [(f"{name}:", escape(value)) for name, value in facts if value]
    width = max((len(name) for name, _ in told), default=0)
    return [f"{name:<{width}} {value}" for name, value in told]


def name_producer(item: job_pb2.Artifact) -> str:
    """Say where an artifact comes from."""
    return f"{item.step}/{item.entry}" if item.entry else "the submitter"
