"""What looks on while the daemon works: metrics, tracing, both or neither. Nothing that goes wrong here harms a job."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from time import monotonic, time

from structlog.typing import FilteringBoundLogger

from jobd.events import Record
from jobd.jobs import Job
from jobd.metrics import Metrics
from jobd.metrics_sample import SampleCollector
from jobd.metrics_server import MetricsServer
from jobd.sampling import Sampler
from jobd.store import Store
from jobd.tracing import CallSpan, Tracing

_WATCHES = frozenset({("jobapi.v1.JobService", "Watch"), ("jobapi.v1.JobService", "WatchJobs")})


class Telemetry:
    """The onlookers of one daemon."""

    def __init__(self, log: FilteringBoundLogger, *, metrics: str = "", tracing: Tracing | None = None) -> None:
        """Look on for metrics, to be served at this `HOST:PORT`, and for traces, where these are wanted."""
        self._log = log
        self._address = metrics
        self._server: MetricsServer | None = None
        self._watches = 0
        self.metrics = Metrics() if metrics else None
        self.tracing = tracing
        self._complained = False

    @property
    def watches(self) -> int:
        """Count the watches that go on."""
        return self._watches

    def open(self, store: Store, sampler: Sampler) -> None:
        """Look at these from now on, and serve the metrics if wanted; ConfigError when that is not possible."""
        if self.tracing is not None:
            self.tracing.read_from(store)
        if self.metrics is not None:
            self.metrics.registry.register(SampleCollector(sampler.take))
            self._server = MetricsServer(self._address, self.metrics.registry, self._log)
            self._log.info("metrics_served", url=self._server.url)

    def close(self) -> None:
        """Stop looking on, within seconds, and send what was not sent yet."""
        if self._server is not None:
            self._server.close()
        if self.tracing is not None:
            self.tracing.close()

    def tell(self, job: Job, records: Sequence[Record]) -> None:
        """Take note of what was committed; may be called in any thread, and never raises."""
        with self.guarded():
            if self.metrics is not None:
                self.metrics.tell(job, records, time())
            if self.tracing is not None:
                self.tracing.tell(job)

    def measure_commit(self, seconds: float, changes: int) -> None:
        """Take note of a commit; may be called in any thread, and never raises."""
        with self.guarded():
            if self.metrics is not None:
                self.metrics.measure_commit(seconds, changes)

    def begin(self, service: str, method: str, metadata: Mapping[str, str]) -> "Call":
        """Look on at a call that begins with this metadata."""
        self._watches += (service, method) in _WATCHES
        if self.metrics is not None:
            self.metrics.rpcs_in_flight.labels(service, method).inc()
        span = None
        if self.tracing is not None:
            with self.guarded():
                span = self.tracing.begin(service, method, metadata)
        return Call(self, service, method, span)

    def end(self, call: "Call", number: int, code: str) -> None:
        """Look on at the end of a call."""
        self._watches -= (call.service, call.method) in _WATCHES
        with self.guarded():
            if self.metrics is not None:
                self.metrics.rpcs_in_flight.labels(call.service, call.method).dec()
                self.metrics.rpcs.labels(call.service, call.method, code).inc()
                self.metrics.rpc_seconds.labels(call.service, call.method).observe(monotonic() - call.begun)
            if call.span is not None:
                call.span.end(number, code)

    def refuse(self, code: str) -> None:
        """Look on at a call of a method that does not exist; its name is the client's, and so no label."""
        if self.metrics is not None:
            self.metrics.rpcs.labels("unknown", "unknown", code).inc()

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """Let nothing that goes wrong within the block get out of it; the first time it is logged."""
        try:
            yield
        except Exception:  # noqa: BLE001 - an onlooker that stumbles must not bring down whom it looks at
            if not self._complained:
                self._log.exception("telemetry_failed")
            self._complained = True


class Call:
    """A call that is looked at."""

    __slots__ = ("_telemetry", "begun", "met", "method", "service", "span")

    def __init__(self, telemetry: Telemetry, service: str, method: str, span: CallSpan | None) -> None:
        """Begin now."""
        self._telemetry = telemetry
        self.service = service
        self.method = method
        self.span = span
        self.begun = monotonic()
        self.met = time()

    def move(self, direction: str, size_bytes: int) -> None:
        """Count bytes of a file that went `in` or `out`."""
        if self._telemetry.metrics is not None and size_bytes:
            self._telemetry.metrics.transfer_bytes.labels(direction).inc(size_bytes)

    def send(self, happened: float) -> None:
        """Count an event of that time on its way to a watcher; what happened before the call is history, not late."""
        if self._telemetry.metrics is not None and happened >= self.met:
            self._telemetry.metrics.send_lag.observe(max(0.0, time() - happened))

    def accept(self, job_id: str) -> None:
        """Take note that this call made a job."""
        if self.span is not None:
            with self._telemetry.guarded():
                self.span.accept(job_id)

    def end(self, number: int, code: str) -> None:
        """End with a status code of gRPC, by number and name."""
        self._telemetry.end(self, number, code)
