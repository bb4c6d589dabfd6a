"""Metrics over HTTP, as Prometheus asks for them."""

import contextlib
import http.client
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import structlog
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from jobd.config import load
from jobd.errors import ConfigError
from jobd.metrics import Metrics
from jobd.metrics_sample import Sample, SampleCollector
from jobd.metrics_server import MetricsServer, parse_address

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    """Give a server of metrics on a free port."""
    metrics = Metrics()
    metrics.registry.register(SampleCollector(Sample))
    made = MetricsServer("0", metrics.registry, structlog.get_logger())
    yield made
    made.close()


def ask(server: MetricsServer, path: str = "/metrics", **headers: str) -> tuple[int, str, str]:
    """Ask for a path; gives the status, the content type and the text."""
    place = urlsplit(server.url)
    with contextlib.closing(http.client.HTTPConnection(place.hostname or "", place.port, timeout=30)) as connection:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read().decode()


def test_both_formats_can_be_read(server: MetricsServer):
    """Prometheus's text by default, OpenMetrics for who asks for it, each as the official parser wants it."""
    status, kind, text = ask(server)
    assert (status, kind.partition(";")[0]) == (200, "text/plain")
    assert "jobd_up" in {family.name for family in text_string_to_metric_families(text)}
    status, kind, text = ask(server, Accept="application/openmetrics-text; version=1.0.0")
    assert (status, kind.partition(";")[0]) == (200, "application/openmetrics-text")
    assert "jobd_jobs_submitted" in {family.name for family in openmetrics.text_string_to_metric_families(text)}


def test_there_is_nothing_else(server: MetricsServer):
    """Any other path is not found, and another method is refused."""
    assert ask(server, "/")[0] == 404
    assert ask(server, "/metrics/../token")[0] == 404
    assert ask(server, "/metrics?name[]=jobd_up")[0] == 200


def test_a_port_alone_means_this_machine(server: MetricsServer):
    """Other machines reach it only where the address says so."""
    assert urlsplit(server.url).hostname == "127.0.0.1"
    assert parse_address("9464") == parse_address(":9464") == ("127.0.0.1", 9464)
    assert parse_address("0.0.0.0:9464") == ("0.0.0.0", 9464)
    assert parse_address("[::1]:9464") == ("::1", 9464)


@pytest.mark.parametrize("text", ["", "host", "127.0.0.1:", "127.0.0.1:65536", "1.2.3:80", "example.org:80", ":-1"])
def test_an_address_that_is_none_is_refused(text: str):
    """A name would have to be looked up, and could mean anything later."""
    with pytest.raises(ValueError, match=r"HOST:PORT|no IP address"):
        parse_address(text)
    if text:
        with pytest.raises(ConfigError, match="metrics"):
            load({"metrics": text})


def test_a_taken_port_is_told(server: MetricsServer):
    """A daemon that cannot serve its metrics does not start, and says why."""
    taken = urlsplit(server.url).port
    with pytest.raises(ConfigError, match=f"metrics cannot be served at {taken}"):
        MetricsServer(str(taken), Metrics().registry, structlog.get_logger())


def test_clients_that_hang_hold_up_nobody():
    """A few may be silent; who comes beyond the bound is hung up on, and the end waits for none of them."""
    server = MetricsServer("0", Metrics().registry, structlog.get_logger())
    place = urlsplit(server.url)
    with contextlib.ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection((place.hostname, place.port), timeout=30)) for _ in range(9)
        ]
        assert silent[-1].recv(1) == b""
        server.close()


def test_a_part_that_fails_is_told_and_logged():
    """The question is answered with an error, not left hanging, and the next one works again."""
    broken = True

    def take() -> Sample:
        if broken:
            raise OSError(5, "Input/output error")
        return Sample()

    metrics = Metrics()
    metrics.registry.register(SampleCollector(take))
    with structlog.testing.capture_logs() as logged:
        server = MetricsServer("0", metrics.registry, structlog.get_logger())
        assert ask(server)[0] == 500
        broken = False
        assert ask(server)[0] == 200
        server.close()
    assert [line["event"] for line in logged] == ["metrics_failed"]


def test_an_ipv6_address_is_served():
    """Where the machine has one."""
    try:
        server = MetricsServer("[::1]:0", Metrics().registry, structlog.get_logger())
    except ConfigError as error:
        pytest.skip(f"there is no IPv6 here: {error}")
    assert server.url.startswith("http://[::1]:")
    assert ask(server)[0] == 200
    server.close()
