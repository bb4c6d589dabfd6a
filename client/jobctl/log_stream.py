"""Logs that outlive their connection."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from jobapi.v1 import job_service_pb2

from jobctl.errors import JobctlError
from jobctl.patience import Outage, Patience

OpenLogs = Callable[[job_service_pb2.LogsRequest], Iterator[job_service_pb2.LogsResponse]]
"""Opens a stream of logs; it raises this package's errors."""


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
    _probed: bool = field(default=False, init=False)
    _ends: dict[tuple[str, str, int], int] = field(default_factory=dict, init=False)

    def __iter__(self) -> Iterator[job_service_pb2.LogsResponse]:
        """Read to the end."""
        outage = Outage(self.patience)
        while True:
            try:
                self.probe()
                outage.connect()
                self._probed = True
                for piece in self.open_stream(self.request):
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
