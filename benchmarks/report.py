"""The result of a run: as a table for people, as JSON, and in the documentation."""

import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter

from benchmarks import chart
from benchmarks.machine import Machine
from benchmarks.row import Row, Series

_ROOT = Path(__file__).parent.parent
LATEST = Path("build/bench/latest.json")
"""Where a result goes that is not to be kept."""
SAVED = _ROOT / "benchmarks/results.json"
_PAGE, _CHART = _ROOT / "docs/performance.md", _ROOT / "docs/pictures/performance.svg"
_BEGIN, _END = "<!-- figures of {}: written by `python -m benchmarks --save` -->", "<!-- end of figures of {} -->"
_HEADS = ("measure", "what", "jobd", "against", "baseline", "figure", "spread", "goal", "holds?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a run has found."""

    machine: Machine
    when: float
    """The beginning, in seconds since the epoch."""
    seconds: float
    quick: bool
    rows: list[Row]


_JSON = TypeAdapter(Result)


def as_text(result: Result) -> str:
    """Write the table for a terminal, and below it what else was seen."""
    table = [_HEADS, *map(_cells, result.rows)]
    widths = [max(len(line[place]) for line in table) for place in range(len(_HEADS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table]
    notes = [f"{row.key}, {row.what.strip()}: {row.note}" for row in result.rows if row.note]
    return "\n".join([*lines, "", *notes, "", _made(result)])


def write_json(result: Result, file: Path) -> None:
    """Write the whole result, every round of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(asdict(result), indent=1) + "\n")


def save(result: Result) -> None:
    """Keep the result: the committed JSON, the chart, and the tables of the page on performance."""
    whole = _merged(result)
    write_json(whole, SAVED)
    _CHART.parent.mkdir(parents=True, exist_ok=True)
    _CHART.write_text(chart.draw(whole.rows, whole.machine.describe()))
    text = _PAGE.read_text()
    for name, keys in {"measures": None, "anatomy": {"anatomy"}, "streams": {"watchers", "transfer"}}.items():
        others = {"anatomy", "watchers", "transfer"}
        rows = [row for row in whole.rows if (row.key in keys if keys else row.key not in others)]
        text = _replace(text, name, _as_markdown(replace(whole, rows=rows)) if rows else "Not measured yet.")
    _PAGE.write_text(text)


def _merged(result: Result) -> Result:
    """Add the saved rows of measures that were not made now, if they are from the same kind of machine."""
    if not SAVED.exists():
        return result
    saved = _JSON.validate_json(SAVED.read_bytes())
    if saved.quick != result.quick or not saved.machine.same_kind(result.machine):
        return result
    made = {row.key for row in result.rows}
    rows = sorted([*result.rows, *(row for row in saved.rows if row.key not in made)], key=_order)
    return replace(result, rows=rows)


def _order(row: Row) -> tuple[int, int]:
    return (0, int(row.key[1:])) if row.key[1:].isdigit() else (1, 0)


def _replace(text: str, name: str, content: str) -> str:
    begin, end = _BEGIN.format(name), _END.format(name)
    before, _, rest = text.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"{_PAGE} has no section between `{begin}` and `{end}`; put both lines back")
    return f"{before}{begin}\n{content}\n{end}{after}"


def _as_markdown(result: Result) -> str:
    lines = [_HEADS, tuple("---" for _ in _HEADS), *map(_cells, result.rows)]
    table = "\n".join("| " + " | ".join(cell.strip() for cell in line) + " |" for line in lines)
    notes = "\n".join(f"- {row.key}, {row.what.strip()}: {row.note}." for row in result.rows if row.note)
    return "\n\n".join(filter(None, (table, notes, _made(result) + ".")))


def _cells(row: Row) -> tuple[str, ...]:
    figure = row.figure
    ratio = row.baseline is not None
    unit = "" if ratio else f" {row.unit}"
    return (
        row.key,
        row.what,
        f"{_short(row.ours.median)} {row.unit}",
        row.against,
        f"{_short(row.baseline.median)} {row.unit}" if row.baseline else "",
        _short(figure.median) if ratio else "",
        _spread(figure),
        f"<= {_short(row.goal)}{unit}" if row.goal is not None else "",
        row.holds.value,
    )


def _spread(figure: Series) -> str:
    values = figure.values
    return f"{_short(figure.least)} to {_short(figure.most)} of {len(values)}" if len(values) > 1 else ""


def _short(number: float) -> str:
    if abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{number:.1f}" if abs(number) >= 10 else f"{number:.2f}"


def _made(result: Result) -> str:
    day = time.strftime("%Y-%m-%d", time.gmtime(result.when))
    kind = "A quick run" if result.quick else "Median over rounds"
    return f"{kind} of {day} on {result.machine.describe()}; the spread is least to most, of so many rounds"
