"""What OpenTelemetry's libraries have to say, in the daemon's own log and no more often than it is of use."""

import logging
from time import monotonic

from structlog.typing import FilteringBoundLogger

_AGAIN_SECONDS = 60.0


class _Relay(logging.Handler):
    def __init__(self, log: FilteringBoundLogger) -> None:
        super().__init__(logging.WARNING)
        self._log = log
        self._last: float | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Pass on a warning; while a collector is away there is one for every batch, and one a minute is enough."""
        now = monotonic()
        if self._last is None or now - self._last >= _AGAIN_SECONDS:
            self._last = now
            self._log.warning("tracing_trouble", what=record.getMessage())


def relay(log: FilteringBoundLogger) -> None:
    """Pass warnings of OpenTelemetry's libraries on to `log` from now on."""
    logger = logging.getLogger("opentelemetry")
    logger.handlers = [_Relay(log)]
    logger.propagate = False
