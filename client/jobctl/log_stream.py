"""Logs that outlive their connection."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from jobapi.v1 import job_service_pb2

from jobctl.errors import JobctlError
from jobctl.patience import Outage, Patience

OpenLogs = Callable[[job_service_pb2.LogsRequest], Iterator[job_service_pb2.LogsResponse]]
"""Opens a stream of logs; it raises this package's errors."""
Log = tuple[str, str, int]
"""One log: its step, entry and attempt."""
_LONGEST_TAIL = 16 * 1024 * 1024
_TAIL_SLACK = 1024 * 1024


@dataclass(slots=True, kw_only=True)
class LogStream:
    """Yields each piece of each log once: after an interruption it asks again, and drops what it has had."""

    open_stream: OpenLogs
    """Opens the stream."""
    request: job_service_pb2.LogsRequest
    """What is asked for."""
    probe: Callable[[], object]
    """Asks the daemon for something small; raises this package's errors. A silent log tells nothing of the daemon."""
    patience: Patience = field(default_factory=Patience)
    """How long to wait for the daemon."""
    tail: int | None = None
    """How many of the last lines of each log to begin with; None for all."""
    _probed: bool = field(default=False, init=False)
    _ends: dict[Log, int] = field(default_factory=dict, init=False)

    def __iter__(self) -> Iterator[job_service_pb2.LogsResponse]:
        """Read to the end."""
        if self.tail is not None:
            present = job_service_pb2.LogsRequest()
            present.CopyFrom(self.request)
            present.follow = False
            yield from keep_last(self._read(present), self.tail)
        if self.tail is None or self.request.follow:
            # What was read for the tail counts as seen, and is not given again.
            yield from self._read(self.request)

    def _read(self, request: job_service_pb2.LogsRequest) -> Iterator[job_service_pb2.LogsResponse]:
        outage = Outage(self.patience)
        while True:
            try:
                self.probe()
                outage.connect()
                self._probed = True
                for piece in self.open_stream(request):
                    outage.end()
                    if self._cut(piece):
                        yield piece
            except JobctlError as error:
                if not (self._probed and error.transient):
                    raise
                outage.wait(error)
            else:
                return

    def _cut(self, piece: job_service_pb2.LogsResponse) -> bool:
        log = (piece.step, piece.entry, piece.attempt)
        known = max(0, self._ends.get(log, 0) - piece.offset)
        piece.data = piece.data[known:]
        piece.offset += known
        self._ends[log] = max(self._ends.get(log, 0), piece.offset + len(piece.data))
        return bool(piece.data)


class _Tail:
    """The last lines of one log, as far as it has been read."""

    def __init__(self, count: int) -> None:
        self.end = 0
        self._count = count
        self._data = bytearray()
        self._most = _TAIL_SLACK

    def take(self, piece: job_service_pb2.LogsResponse) -> None:
        """Read on. Lines are cut off rarely, so that a long tail of a long log is not copied for each piece."""
        self._data += piece.data
        self.end = piece.offset + len(piece.data)
        if len(self._data) > self._most:
            self._data = bytearray(self.lines())
            self._most = 2 * len(self._data) + _TAIL_SLACK

    def lines(self) -> bytes:
        """Give the last lines; one that has no end yet is a line as well."""
        start = len(self._data) - self._data.endswith(b"\n")
        for _ in range(self._count):
            if start < 0:
                break
            start = self._data.rfind(b"\n", 0, start)
        return bytes(self._data[start + 1 :][-_LONGEST_TAIL:]) if self._count else b""


def keep_last(pieces: Iterable[job_service_pb2.LogsResponse], count: int) -> Iterator[job_service_pb2.LogsResponse]:
    """Give the last `count` lines of each log as one piece, at most 16 MiB of it, when all pieces have come."""
    tails: dict[Log, _Tail] = {}
    for piece in pieces:
        tails.setdefault((piece.step, piece.entry, piece.attempt), _Tail(count)).take(piece)
    for (step, entry, attempt), tail in tails.items():
        data = tail.lines()
        if data:
            yield job_service_pb2.LogsResponse(
                step=step, entry=entry, attempt=attempt, offset=tail.end - len(data), data=data
            )
