"""Where a daemon listens: which addresses there are, which of them are safe, and the place of a socket."""

import ipaddress
import os
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jobd.errors import ConfigError
from jobd.layout import StateDirectory

DEFAULT_TCP = "127.0.0.1:50051"

_UNIX = "unix:"
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_MOST_SOCKET_BYTES = 107


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpAddress:
    """A TCP port."""

    host: str
    """A name or an IP address without brackets."""
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it. A name is taken for one of the network, but `localhost`."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower() == "localhost"


def choose_addresses(asked: Sequence[str], state: StateDirectory) -> Sequence[str]:
    """Give the addresses to serve, by default a unix socket and a port of this machine; ConfigError for a bad one."""
    addresses = asked or (f"{_UNIX}{_default_socket(state)}", DEFAULT_TCP)
    for address in addresses:
        parse_address(address)
    return addresses


def parse_address(address: str) -> TcpAddress | Path:
    """Read `unix:PATH`, `HOST:PORT` or `[IPV6]:PORT`; ConfigError for anything else.

    gRPC would take more, such as abstract sockets, which have no folder to close them to others.
    """
    if address.startswith(_UNIX):
        return _socket_path(address)
    host, _, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    known = _is_ipv6(host) if bracketed else _HOST.fullmatch(host)
    if not known or not (port.isascii() and port.isdigit() and len(port) < 6 and int(port) < 65536):
        raise _bad_address(address)
    return TcpAddress(host=host, port=int(port))


def check_exposure(addresses: Sequence[str], *, tls: bool, insecure: bool) -> None:
    """Refuse to serve other machines in the clear, unless that is meant: tokens and files could be read on the way."""
    for address in addresses:
        parsed = parse_address(address)
        if isinstance(parsed, TcpAddress) and not (parsed.is_loopback or tls or insecure):
            raise ConfigError(
                f"{address} can be reached by other machines, and there is no TLS",
                hint="give --tls-cert and --tls-key, or --insecure where something else protects the way",
            )


def prepare_sockets(addresses: Sequence[str]) -> None:
    """Make the folders of unix sockets, closed to others, and refuse those that a living daemon serves."""
    for address in addresses:
        path = parse_address(address)
        if isinstance(path, Path):
            _prepare_socket(path)


def _default_socket(state: StateDirectory) -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime, "jobd", "jobd.sock") if runtime else state.root / "jobd.sock"


def _socket_path(address: str) -> Path:
    path = address.removeprefix(_UNIX)
    if not path or "\0" in path:
        raise _bad_address(address)
    if len(os.fsencode(path)) > _MOST_SOCKET_BYTES:
        raise ConfigError(
            f"the socket's path {path} is longer than the {_MOST_SOCKET_BYTES} bytes that a socket can have",
            hint="choose a shorter one with --listen unix:PATH",
        )
    return Path(path)


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False


def _bad_address(address: str) -> ConfigError:
    return ConfigError(f"{address!r} is not an address to listen on", hint="give unix:PATH, HOST:PORT or [IPV6]:PORT")


def _prepare_socket(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            path.unlink()
            return
    raise ConfigError(f"another daemon serves {_UNIX}{path}", hint="stop it, or choose another address with --listen")
