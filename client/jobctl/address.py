"""Where the daemon is, and with which token it is spoken to."""

import ipaddress
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from jobctl.errors import LocalFileError, UsageError

DEFAULT_PORT = 50051
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


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessFile:
    """What a running daemon of this user tells about itself."""

    addresses: tuple[Address, ...]
    """Where it listens, the preferred one first."""
    token_file: Path | None
    """Where its token is."""

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Read the file; None when there is none or when it is not a daemon's, for then there is nothing to know."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            addresses = tuple(Address.parse(str(text)) for text in content["addresses"])
            token_file = content.get("token_file")
        except (OSError, ValueError, KeyError, TypeError, AttributeError, UsageError):
            return None
        return cls(addresses=addresses, token_file=Path(token_file) if token_file else None) if addresses else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A daemon as a client needs to know it."""

    address: Address
    """Where it is."""
    token: str
    """What its TCP port asks for; empty for none."""


def resolve_endpoint(address: str | None = None, token_file: str | None = None) -> Endpoint:
    """Find the daemon and its token.

    The address is, in this order: the one given, JOBCTL_ADDRESS, the one a running daemon wrote down for this user,
    the default unix socket if it exists, port 50051 of this machine. The token is, for TCP only: the content of
    `token_file`, JOBCTL_TOKEN, the content of JOBCTL_TOKEN_FILE, or, on this machine only, the one of the daemon.
    Raises `UsageError` for an address that cannot be read and `LocalFileError` for such a token file.
    """
    access = _read_access_file()
    found = _find_address(address or os.environ.get("JOBCTL_ADDRESS"), access)
    return Endpoint(address=found, token=_find_token(found, token_file, access) if found.is_tcp else "")


def runtime_directories() -> tuple[Path, ...]:
    """List the folders in which a daemon of this user may have left its socket, the likelier one first."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return (Path(runtime) / "jobd", state_directory()) if runtime else (state_directory(),)


def state_directory() -> Path:
    """Give the default state directory of the daemon."""
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / "jobd"


def _read_access_file() -> AccessFile | None:
    candidates = (AccessFile.read(folder / "access.json") for folder in runtime_directories())
    return next((access for access in candidates if access), None)


def _find_address(given: str | None, access: AccessFile | None) -> Address:
    if given:
        return Address.parse(given)
    if access:
        return access.addresses[0]
    sockets = (folder / "jobd.sock" for folder in runtime_directories())
    existing = next((socket for socket in sockets if socket.is_socket()), None)
    return Address(socket=str(existing)) if existing else Address(host="127.0.0.1", port=DEFAULT_PORT)


def _find_token(address: Address, token_file: str | None, access: AccessFile | None) -> str:
    if token_file:
        return _read_token(Path(token_file))
    if token := os.environ.get("JOBCTL_TOKEN", "").strip():
        return token
    if named := os.environ.get("JOBCTL_TOKEN_FILE"):
        return _read_token(Path(named))
    return _read_local_token(address, access) if address.is_loopback else ""


def _read_local_token(address: Address, access: AccessFile | None) -> str:
    path = state_directory() / "token"
    if access and access.token_file and any(address.names_same_port(listed) for listed in access.addresses):
        path = access.token_file
    # A token that was only guessed may be absent: the daemon then says that it wants one.
    return _read_token(path) if path.is_file() else ""


def _read_token(path: Path) -> str:
    try:
        token = path.expanduser().read_text(encoding="ascii").strip()
    except (OSError, UnicodeError) as error:
        raise LocalFileError(f"cannot read the token file {path}: {error}", hint="check --token-file") from error
    if not token.isprintable():
        raise LocalFileError(f"the token file {path} holds more than one line", hint="check --token-file")
    return token


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
