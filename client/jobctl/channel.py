"""The channel to one daemon, for both clients: its options are written down once."""

from pathlib import Path

import grpc
import grpc.aio

from jobctl.endpoint import Endpoint, TlsFiles
from jobctl.errors import LocalFileError

_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),  # the plan of a job with 10,000 entries
)
Metadata = tuple[tuple[str, str], ...]


def open_channel(endpoint: Endpoint) -> grpc.Channel:
    """Make a channel; the connection is made with the first call."""
    target, options = str(endpoint.address), _choose_options(endpoint)
    if endpoint.tls:
        return grpc.secure_channel(target, _make_credentials(endpoint.tls), options)
    return grpc.insecure_channel(target, options)


def open_aio_channel(endpoint: Endpoint) -> grpc.aio.Channel:
    """Make a channel for asyncio; the connection is made with the first call."""
    target, options = str(endpoint.address), _choose_options(endpoint)
    if endpoint.tls:
        return grpc.aio.secure_channel(target, _make_credentials(endpoint.tls), options)
    return grpc.aio.insecure_channel(target, options)


def make_metadata(endpoint: Endpoint) -> Metadata:
    """Give what goes with every call: the token, where there is one."""
    return (("authorization", f"Bearer {endpoint.token}"),) if endpoint.token else ()


def _choose_options(endpoint: Endpoint) -> list[tuple[str, int]]:
    # A proxy from the environment is for the outside, and cannot reach this machine's own ports.
    return [*_OPTIONS, ("grpc.enable_http_proxy", 0 if endpoint.address.is_local else 1)]


def _make_credentials(tls: TlsFiles) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        root_certificates=_read(tls.ca), private_key=_read(tls.key), certificate_chain=_read(tls.cert)
    )


def _read(path: Path | None) -> bytes | None:
    try:
        return path.read_bytes() if path else None
    except OSError as error:
        raise LocalFileError(f"cannot read {path}: {error.strerror}", hint="check the --tls options") from error
