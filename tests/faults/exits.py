"""I13: what is said of a failed entry is what its module says of itself."""

from collections.abc import Iterator

from ledger import Line

from jobd.events import EntryFailed, EntryRetrying, Failure, FailureKind, Record

_BY_NOTE = {"failed": (FailureKind.EXIT_CODE, 9, None), "crashed": (FailureKind.SIGNAL, None, 11)}
"""What must be said of an attempt whose module's last words were these."""
_FLUSH_FAILED = 120
"""Python's exit code when its last lines find no room on a full disk."""


def check_failures(records: tuple[Record, ...], lines: list[Line]) -> Iterator[str]:
    """Compare each failure that is told with the last words of that attempt, where there were any."""
    words = {(*line.key, line.attempt): line.note for line in lines if line.kind == "end"}
    for record in records:
        if isinstance(record.event, EntryFailed | EntryRetrying):
            event = record.event
            yield from _compare((event.step, event.entry, event.attempt), event.failure, words)


def _compare(key: tuple[str, str, int], failure: Failure, words: dict[tuple[str, str, int], str]) -> Iterator[str]:
    note = words.get(key)
    told = (failure.kind, failure.exit_code, failure.signal)
    if note in _BY_NOTE and told != _BY_NOTE[note]:
        yield f"I13 attempt {key} {note}, and is told as {told}: {failure.message}"
    unflushed = failure.exit_code == _FLUSH_FAILED
    if note == "well" and failure.kind in (FailureKind.EXIT_CODE, FailureKind.TIMEOUT) and not unflushed:
        yield f"I13 attempt {key} ended well, and is told as {told}: {failure.message}"
