"""Traces for OpenTelemetry over OTLP/HTTP: a span for each call, and for each job and entry once the job has ended.

The libraries are an extra of this distribution, and are imported only when traces are wanted.
"""

import os
import queue
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from structlog.typing import FilteringBoundLogger

from jobd import __version__, spans, tracing_log
from jobd.errors import ConfigError, JobNotFoundError
from jobd.events import Record
from jobd.jobs import Job
from jobd.layout import StateDirectory
from jobd.spans import SpanPlan
from jobd.store import Store

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_FILE = "traceparent"
"""In a job's folder: the call that made the job, for the job's own span, which a later daemon may have to send."""
_QUIET = ("grpc.",)
"""Services of which no trace is made: probes would bury everything else."""
_MOST_JOBS = 1000
"""Ended jobs that wait for their spans to be sent; what comes on top is left out."""
_MOST_SPANS = 256
"""Spans that are handed over before they are sent: the exporter drops what is beyond its own bound."""
_FLUSH_SECONDS = 10.0
_CLOSE_SECONDS = 3.0
"""The daemon's end waits for the last spans no longer than twice this."""
_NANOSECONDS = 1_000_000_000


def begin(endpoint: str, state: StateDirectory, log: FilteringBoundLogger) -> "Tracing | None":
    """Begin to trace when `endpoint` or one of OpenTelemetry's variables says where to, and none forbids it.

    ConfigError when `endpoint` is given and the libraries are not installed; the variables may be meant for others.
    """
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or os.environ.get("OTEL_TRACES_EXPORTER") == "none":
        return None
    if not (endpoint or any(map(os.environ.get, _VARIABLES))):
        return None
    try:
        return Tracing(endpoint, state, log)
    except ModuleNotFoundError as error:
        if not endpoint:
            log.warning("tracing_not_installed", missing=error.name, hint="install the extra [tracing]")
            return None
        raise ConfigError(
            f"traces cannot be sent: {error.name} is missing", hint="install this distribution with its extra [tracing]"
        ) from error


class Tracing:
    """Makes spans, and sends them in threads of its own."""

    def __init__(self, endpoint: str, state: StateDirectory, log: FilteringBoundLogger) -> None:
        """Send to an OTLP/HTTP base address, else to where OpenTelemetry's variables say."""
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - an extra
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        tracing_log.relay(log)
        about = {"service.name": os.environ.get("OTEL_SERVICE_NAME", "jobd"), "service.version": __version__}
        self._provider = TracerProvider(resource=Resource.create(about), shutdown_on_exit=False)
        target = f"{endpoint.rstrip('/')}/v1/traces" if endpoint else None
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=target)))
        self._tracer = self._provider.get_tracer("jobd", __version__)
        self._propagator = TraceContextTextMapPropagator()
        self._state = state
        self._log = log
        self._store: Store | None = None
        self._queue: queue.Queue[Job | tuple[str, str] | None] = queue.Queue(_MOST_JOBS)
        self._thread = threading.Thread(target=self._run, name="tracing", daemon=True)
        self._thread.start()
        log.info("tracing", to=target or next(filter(None, map(os.environ.get, _VARIABLES))))

    def read_from(self, store: Store) -> None:
        """Read the history of ended jobs here."""
        self._store = store

    def tell(self, job: Job) -> None:
        """Send the spans of a job that has ended, soon; others are left alone."""
        if job.terminal:
            self._put(job)

    def begin(self, service: str, method: str, metadata: Mapping[str, str]) -> "CallSpan | None":
        """Begin the span of a call, as part of the caller's trace when its metadata has a W3C `traceparent`."""
        from opentelemetry.trace import SpanKind  # noqa: PLC0415 - an extra

        if service.startswith(_QUIET):
            return None
        span = self._tracer.start_span(
            f"{service}/{method}",
            context=self._propagator.extract(metadata),
            kind=SpanKind.SERVER,
            attributes={"rpc.system": "grpc", "rpc.service": service, "rpc.method": method},
        )
        return CallSpan(self, span)

    def accept(self, job_id: str, span: "Span") -> None:
        """Make a job's span, once it is sent, a child of the call that made the job."""
        from opentelemetry.trace import set_span_in_context  # noqa: PLC0415 - an extra

        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, context=set_span_in_context(span))
        self._put((job_id, carrier.get("traceparent", "")))

    def close(self) -> None:
        """Send what is there, and give up after some seconds: a collector that hangs holds up nobody."""
        with_room = threading.Thread(target=self._queue.put, args=(None,), daemon=True)
        with_room.start()
        self._thread.join(_CLOSE_SECONDS)
        last = threading.Thread(target=self._provider.shutdown, name="tracing-end", daemon=True)
        last.start()
        last.join(_CLOSE_SECONDS)

    def _put(self, item: Job | tuple[str, str]) -> None:
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            self._log.warning("trace_left_out", job=item.id if isinstance(item, Job) else item[0])

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            try:
                if isinstance(item, Job):
                    self._send(item)
                else:
                    self._file(item[0]).write_text(item[1])
            except (JobNotFoundError, FileNotFoundError):  # it was deleted at once
                continue
            except Exception:  # noqa: BLE001 - told in full; a trace that is missing must not cost those of later jobs
                self._log.exception("trace_failed")

    def _send(self, job: Job) -> None:
        from opentelemetry.trace import set_span_in_context  # noqa: PLC0415 - an extra

        records = tuple(self._history(job.id))
        file = self._file(job.id)
        parent = self._propagator.extract({"traceparent": file.read_text()} if file.exists() else {})
        span = self._make(spans.job_span(job, records), parent)
        inside = set_span_in_context(span)
        for number, plan in enumerate(spans.entry_spans(job, records), 1):
            self._make(plan, inside)
            if number % _MOST_SPANS == 0:
                self._provider.force_flush(int(_FLUSH_SECONDS * 1000))

    def _make(self, plan: SpanPlan, parent: "Context") -> "Span":
        from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415 - an extra

        span = self._tracer.start_span(
            plan.name, context=parent, start_time=_nanoseconds(plan.start), attributes=dict(plan.attributes)
        )
        for moment in plan.moments:
            span.add_event(moment.name, dict(moment.attributes), _nanoseconds(moment.time))
        if plan.failure:
            span.set_status(Status(StatusCode.ERROR, plan.failure))
        span.end(_nanoseconds(plan.end))
        return span

    def _history(self, job_id: str) -> Iterator[Record]:
        after = 0
        while self._store is not None and (records := self._store.events_after(job_id, after)):
            yield from records
            after = records[-1].sequence

    def _file(self, job_id: str) -> Path:
        return self._state.job(job_id).root / _FILE


class CallSpan:
    """The span of a call that goes on."""

    __slots__ = ("_span", "_tracing")

    def __init__(self, tracing: Tracing, span: "Span") -> None:
        """Begin."""
        self._tracing = tracing
        self._span = span

    def accept(self, job_id: str) -> None:
        """Note that the call made a job."""
        self._span.set_attribute("jobd.job.id", job_id)
        self._tracing.accept(job_id, self._span)

    def end(self, code: int, name: str) -> None:
        """End with a status code of gRPC, by number and name."""
        from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415 - an extra

        self._span.set_attribute("rpc.grpc.status_code", code)
        if code:
            self._span.set_status(Status(StatusCode.ERROR, name))
        self._span.end()


def _nanoseconds(seconds: float) -> int:
    return int(seconds * _NANOSECONDS)
