"""Serving the metrics to Prometheus over HTTP, in threads of their own: also a daemon that hangs can be asked."""

import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from socket import AF_INET6, socket
from typing import ClassVar

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from structlog.typing import FilteringBoundLogger

from jobd.errors import ConfigError

PATH = "/metrics"
_SLOW_SECONDS = 10.0
_MOST_AT_ONCE = 8


class _Handler(BaseHTTPRequestHandler):
    timeout: ClassVar[float] = _SLOW_SECONDS
    """For how long a client may be silent."""
    server: "_Server"

    def do_GET(self) -> None:
        """Answer with all metrics, in the format that is asked for."""
        if self.path.partition("?")[0] != PATH:
            self._answer(404, "text/plain; charset=utf-8", f"there is only {PATH}\n".encode())
            return
        encode, kind = choose_encoder(self.headers.get("Accept", ""))
        try:
            body = encode(self.server.registry)
        except Exception as error:
            self.server.log.exception("metrics_failed")
            self._answer(500, "text/plain; charset=utf-8", f"{type(error).__name__}: see the log\n".encode())
            return
        self._answer(200, kind, body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that http.server passes
        """Log nothing: a question every few seconds is no news."""

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    """A client that reads slowly does not hold up the daemon's end."""

    def __init__(self, address: tuple[str, int], registry: CollectorRegistry, log: FilteringBoundLogger) -> None:
        self.registry = registry
        self.log = log
        self._room = threading.BoundedSemaphore(_MOST_AT_ONCE)
        self.address_family = AF_INET6 if ":" in address[0] else self.address_family
        super().__init__(address, _Handler)

    def process_request(self, request: "socket | tuple[bytes, socket]", client_address: object) -> None:
        """Answer in a thread, as long as there are few; whoever comes on top is hung up on."""
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: "socket | tuple[bytes, socket]", client_address: object) -> None:
        """Answer, and make room for the next."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - as socketserver calls it
        """Say nothing of a client that hung up in the middle."""
        error = sys.exception()
        if not isinstance(error, OSError):
            self.log.error("metrics_failed", peer=str(client_address), exc_info=error)


class MetricsServer:
    """An HTTP server for one registry."""

    def __init__(self, address: str, registry: CollectorRegistry, log: FilteringBoundLogger) -> None:
        """Serve at `HOST:PORT` from now on; ConfigError when that cannot be bound."""
        self._host, port = parse_address(address)
        try:
            self._server = _Server((self._host, port), registry, log)
        except OSError as error:
            raise ConfigError(
                f"metrics cannot be served at {address}: {error}", hint="free it, or choose another with --metrics"
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it is served, with the port that was chosen for 0."""
        host, port = self._host, self._server.server_address[1]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}{PATH}"

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def parse_address(text: str) -> tuple[str, int]:
    """Read `HOST:PORT`, or a port alone, which means 127.0.0.1; ValueError when it is neither."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    if not (port.isascii() and port.isdigit() and int(port) < 1 << 16):
        raise ValueError(f"{text!r} is not HOST:PORT")
    if host != "localhost":
        try:
            ip_address(host)
        except ValueError as error:
            raise ValueError(f"{host!r} in {text!r} is no IP address and not localhost") from error
    return host, int(port)
