"""The threads by which Prefect's client sends the events of task runs, and log lines."""

import socket
from urllib.parse import urlsplit

from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_URL

_KNOCK_SECONDS = 0.5
"""How long a server may take to accept a connection."""


def connect() -> None:
    """Start the threads by which Prefect's client sends events and log lines, and have them connect meanwhile.

    They build a TLS context each, whatever the server; the first task run would wait for that. ConnectionError when
    nobody listens at the server's address: the threads would try for long, and their end would be waited for.
    """
    address = urlsplit(PREFECT_API_URL.value() or "")
    if address.scheme == "http" and address.hostname:  # others may be reached through a proxy
        socket.create_connection((address.hostname, address.port or 80), _KNOCK_SECONDS).close()
    EventsWorker.instance()
    APILogWorker.instance()


def drain(seconds: float) -> None:
    """Send what Prefect's client has queued, for at most about so long, so that no task run stays Running there."""
    APILogWorker.drain_all(timeout=seconds)
    EventsWorker.drain_all(timeout=seconds)
