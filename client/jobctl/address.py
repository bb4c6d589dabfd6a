"""Where a daemon is."""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from jobctl.errors import UsageError

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Either a unix socket or a host and port."""

    socket: str = ""
    """The absolute path of a unix socket; empty for TCP."""
    host: str = ""
    """A name or an IP address without brackets; empty for a unix socket."""
    port: int = 0
    """A TCP port; 0 for a unix socket."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `unix:PATH`, `HOST:PORT` or `[IPV6]:PORT`; raise `UsageError` for anything else."""
        if text.startswith("unix:"):
            return cls(socket=_socket_path(text))
        host, colon, port = text.rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        host = host[1:-1] if bracketed else host
        if not colon or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
            raise _bad_address(text)
        if not (_is_ipv6(host) if bracketed else _HOST.fullmatch(host)):
            raise _bad_address(text)
        return cls(host=host, port=int(port))

    @property
    def is_tcp(self) -> bool:
        """Whether calls go over TCP, and so carry a token."""
        return not self.socket

    @property
    def is_loopback(self) -> bool:
        """Whether it is a TCP port of this machine."""
        if self.host.lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def is_local(self) -> bool:
        """Whether the daemon behind it sees this machine's files."""
        return bool(self.socket) or self.is_loopback

    def names_same_port(self, other: Self) -> bool:
        """Tell whether both are one port of this machine, whatever the spelling of the host."""
        return self.is_loopback and other.is_loopback and self.port == other.port

    def __str__(self) -> str:
        """Give the address in the form that `parse` reads, which is also gRPC's."""
        if self.socket:
            return f"unix:{self.socket}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _socket_path(text: str) -> str:
    path = text.removeprefix("unix:")
    path = path.removeprefix("//") if path.startswith("///") else path
    if not path or "\0" in path:
        raise _bad_address(text)
    return str(Path(path).expanduser().absolute())


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False


def _bad_address(text: str) -> UsageError:
    return UsageError(f"not an address: {text!r}", hint="give unix:PATH or HOST:PORT, as in 127.0.0.1:50051")
