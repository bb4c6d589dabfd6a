"""`jobctl logs`."""

import sys
from collections.abc import Iterable

from jobapi.v1 import job_service_pb2

from jobctl.arguments import Arguments
from jobctl.exit_codes import ExitCode
from jobctl.place import Place
from jobctl.session import connect
from jobctl.terminal import escape_bytes, say

_LONGEST_LINE = 64 * 1024


def logs(arguments: Arguments) -> ExitCode:
    """Print the logs of a job or of one entry, as far as they go or to their end."""
    place = Place.parse(arguments.entry)
    try:
        with connect(arguments) as client:
            # From here on the full id: @latest may be another job after an interruption.
            job_id = client.get(arguments.id).id
            pieces = client.logs(
                job_id,
                step=place.step,
                entry=place.entry,
                attempt=arguments.attempt,
                all_attempts=arguments.all_attempts,
                follow=arguments.follow,
                tail=arguments.tail,
            )
            _print(pieces, one_entry=bool(place.entry))
    except KeyboardInterrupt:
        say("\ndetached; the job goes on")
        return ExitCode.INTERRUPTED
    return ExitCode.SUCCEEDED


def _print(pieces: Iterable[job_service_pb2.LogsResponse], *, one_entry: bool) -> None:
    if one_entry and not sys.stdout.isatty():
        for piece in pieces:
            sys.stdout.buffer.write(piece.data)
            sys.stdout.buffer.flush()
        return
    lines = _Lines(prefixed=not one_entry, escaped=sys.stdout.isatty())
    for piece in pieces:
        lines.take(piece)
    lines.finish()


class _Lines:
    """Puts the pieces of several logs together to whole lines, each with the entry that wrote it."""

    def __init__(self, *, prefixed: bool, escaped: bool) -> None:
        self._prefixed = prefixed
        self._escaped = escaped
        self._rests: dict[tuple[str, str], bytes] = {}
        self._attempts: dict[tuple[str, str], int] = {}

    def take(self, piece: job_service_pb2.LogsResponse) -> None:
        """Print the lines that the piece completes."""
        log = (piece.step, piece.entry)
        if self._attempts.setdefault(log, piece.attempt) != piece.attempt:
            self._flush(log)
            self._attempts[log] = piece.attempt
            say(f"{piece.step}/{piece.entry}: attempt {piece.attempt}")
        *lines, rest = (self._rests.pop(log, b"") + piece.data).split(b"\n")
        if len(rest) > _LONGEST_LINE:
            lines, rest = [*lines, rest], b""
        for line in lines:
            self._print(log, line)
        if rest:
            self._rests[log] = rest
        sys.stdout.buffer.flush()

    def finish(self) -> None:
        """Print what came without the end of its line."""
        for log in list(self._rests):
            self._flush(log)
        sys.stdout.buffer.flush()

    def _flush(self, log: tuple[str, str]) -> None:
        rest = self._rests.pop(log, b"")
        if rest:
            self._print(log, rest)

    def _print(self, log: tuple[str, str], line: bytes) -> None:
        prefix = f"{log[0]}/{log[1]} | ".encode() if self._prefixed else b""
        if self._escaped:
            text = escape_bytes(prefix + line.removesuffix(b"\r"))
            sys.stdout.buffer.write(text.encode(errors="backslashreplace") + b"\n")
        else:
            sys.stdout.buffer.write(prefix + line + b"\n")
