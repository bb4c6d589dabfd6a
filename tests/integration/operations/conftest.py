"""A collector of traces, and a state directory that has seen a job."""

import gzip
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass
class Collector:
    """Takes traces over OTLP/HTTP, as an OpenTelemetry collector does, and keeps their spans."""

    url: str = ""
    spans: list[Any] = field(default_factory=list)
    resources: list[Any] = field(default_factory=list)
    news: threading.Condition = field(default_factory=threading.Condition)
    open: threading.Event = field(default_factory=threading.Event)
    """While this is not set, nothing is answered."""

    def take(self, body: bytes) -> None:
        """Keep what a request holds."""
        request = ExportTraceServiceRequest.FromString(body)
        with self.news:
            for item in request.resource_spans:
                self.resources.append(item.resource)
                for scope in item.scope_spans:
                    self.spans.extend(scope.spans)
            self.news.notify_all()

    def wait(self, *names: str) -> dict[str, Any]:
        """Wait until there is a span of each name, and give the spans by name."""
        with self.news:
            assert self.news.wait_for(lambda: {*names} <= {span.name for span in self.spans}, 60), self.spans
            return {span.name: span for span in self.spans}


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Give a collector that answers."""
    made = Collector()
    made.open.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.open.wait(60)
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.path == "/v1/traces"
            made.take(body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield made
        made.open.set()
        server.shutdown()
        thread.join()


def attributes(item: Any) -> dict[str, Any]:
    """Read the attributes of a span, an event or a resource."""
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in item.attributes}


@pytest.fixture
def read_attributes() -> Any:
    """Give a reader of attributes."""
    return attributes
