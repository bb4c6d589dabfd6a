"""Logs that outlive their connection."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from jobapi.v1 import job_service_pb2

from jobctl.errors import JobctlError
from jobctl.patience import Outage, Patience
from jobctl.talk import Talk, ask, open_stream, pause, read

Log = tuple[str, str, int]
"""One log: its step, entry and attempt."""
_LONGEST_TAIL = 16 * 1024 * 1024
_TAIL_SLACK = 1024 * 1024
_MOST_POSITIONS = 10_000


@dataclass(slots=True, kw_only=True)
class LogStream:
    """Yields each piece of each log once: after an interruption it asks again, and drops what it has had."""

    request: job_service_pb2.LogsRequest
    """What is asked for."""
    patience: Patience = field(default_factory=Patience)
    """How long to wait for the daemon."""
    tail: int | None = None
    """How many of the last lines of each log to begin with; None for all."""
    _probed: bool = field(default=False, init=False)
    _open: bool = field(default=False, init=False)
    _outage: Outage = field(init=False)
    _ends: dict[Log, int] = field(default_factory=dict, init=False)
    _last: deque[job_service_pb2.LogsResponse] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Begin with the daemon present."""
        self._outage = Outage(self.patience)

    def next(self) -> Talk[job_service_pb2.LogsResponse | None]:
        """Read the next piece; None at the end."""
        if self.tail is not None and self._last is None:
            self._last = yield from self._read_last(self.tail)
        if self._last:
            return self._last.popleft()
        # What was read for the tail counts as seen, and is not given again.
        return (yield from self._read(self.request)) if self.tail is None or self.request.follow else None

    def _read_last(self, count: int) -> Talk[deque[job_service_pb2.LogsResponse]]:
        present = job_service_pb2.LogsRequest()
        present.CopyFrom(self.request)
        present.follow = False
        present.tail_lines = count
        tails = _Tails(count)
        while (piece := (yield from self._read(present))) is not None:
            tails.take(piece)
        return deque(tails.pieces())

    def _read(self, request: job_service_pb2.LogsRequest) -> Talk[job_service_pb2.LogsResponse | None]:
        while True:
            try:
                if not self._open:
                    yield from self._start(request)
                piece = yield from read(job_service_pb2.LogsResponse)
            except JobctlError as error:
                self._open = False
                if not (self._probed and error.transient):
                    raise
                yield from pause(self._outage.delay(error))
                continue
            if piece is None:
                self._open = False
                return None
            self._outage.end()
            if self._cut(piece):
                return piece

    def _start(self, request: job_service_pb2.LogsRequest) -> Talk[None]:
        # A silent log tells nothing of the daemon, so it is asked for something small first.
        yield from ask(lambda to: to.jobs.Get, job_service_pb2.GetRequest(id=request.id))
        self._outage.connect()
        self._probed = True
        yield from open_stream(lambda to: to.jobs.Logs, self._go_on(request), job_service_pb2.LogsResponse)
        self._open = True

    def _go_on(self, request: job_service_pb2.LogsRequest) -> job_service_pb2.LogsRequest:
        """Ask for what comes after what was had; of each entry, the attempts come one after another."""
        rest = job_service_pb2.LogsRequest()
        rest.CopyFrom(request)
        latest: dict[tuple[str, str], tuple[int, int]] = {}
        for (step, entry, attempt), end in self._ends.items():
            latest[step, entry] = max(latest.get((step, entry), (0, 0)), (attempt, end))
        # Where a tail begins is for the daemon to find, so a tail is asked for anew.
        if not request.HasField("tail_lines") and len(latest) <= _MOST_POSITIONS:
            for (step, entry), (attempt, offset) in latest.items():
                rest.after.add(step=step, entry=entry, attempt=attempt, offset=offset)
        return rest

    def _cut(self, piece: job_service_pb2.LogsResponse) -> bool:
        log = (piece.step, piece.entry, piece.attempt)
        known = max(0, self._ends.get(log, 0) - piece.offset)
        piece.data = piece.data[known:]
        piece.offset += known
        self._ends[log] = max(self._ends.get(log, 0), piece.offset + len(piece.data))
        return bool(piece.data)


class _Tails:
    """The last lines of several logs, in the order in which they came."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._tails: dict[Log, _Tail] = {}
        self._stretches: list[_Stretch] = []

    def take(self, piece: job_service_pb2.LogsResponse) -> None:
        """Read on."""
        log = (piece.step, piece.entry, piece.attempt)
        tail = self._tails.setdefault(log, _Tail(self._count))
        last = self._stretches[-1] if self._stretches else None
        if last and (last.log, last.offset + last.length) == (log, piece.offset):
            last.length += len(piece.data)
        else:
            self._stretches.append(_Stretch(log, tail.size, piece.offset, len(piece.data)))
        tail.take(piece.data)

    def pieces(self) -> Iterator[job_service_pb2.LogsResponse]:
        """Give the last lines of each log, at most 16 MiB of it."""
        lines = {log: tail.lines() for log, tail in self._tails.items()}
        for stretch in self._stretches:
            kept = lines[stretch.log]
            left_out = self._tails[stretch.log].size - len(kept)
            skipped = max(0, left_out - stretch.begin)
            if skipped < stretch.length:
                begin = stretch.begin + skipped - left_out
                step, entry, attempt = stretch.log
                data = kept[begin : begin + stretch.length - skipped]
                offset = stretch.offset + skipped
                yield job_service_pb2.LogsResponse(step=step, entry=entry, attempt=attempt, offset=offset, data=data)


@dataclass(slots=True)
class _Stretch:
    """Bytes of a log that came without those of another between them."""

    log: Log
    begin: int
    """How many bytes of the log had come before."""
    offset: int
    """Where they are in the log, which may have left some out."""
    length: int


class _Tail:
    """The last lines of one log, as far as it has been read."""

    def __init__(self, count: int) -> None:
        self.size = 0
        """How many bytes have come."""
        self._count = count
        self._data = bytearray()
        self._most = _TAIL_SLACK

    def take(self, data: bytes) -> None:
        """Read on. Lines are cut off rarely, so that a long tail of a long log is not copied for each piece."""
        self._data += data
        self.size += len(data)
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
