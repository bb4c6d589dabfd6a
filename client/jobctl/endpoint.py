"""Which daemon is meant, and how it is spoken to: its address, its token, its certificates."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from jobctl.address import Address
from jobctl.contexts import Context, Contexts
from jobctl.errors import LocalFileError, UsageError

DEFAULT_PORT = 50051


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
class TlsFiles:
    """What a connection by TLS is made with; each is read when the connection is made."""

    ca: Path | None
    """The authority that the daemon's certificate must come from; None for those that gRPC knows."""
    cert: Path | None
    """The client's own certificate; None for none."""
    key: Path | None
    """Its key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A daemon as a client needs to know it."""

    address: Address
    """Where it is."""
    token: str
    """What its TCP port asks for; empty for none."""
    tls: TlsFiles | None = None
    """How a TCP port is spoken to by TLS; None for plain text."""


def resolve_endpoint(
    address: str | None = None,
    token_file: str | None = None,
    *,
    context: str | None = None,
    tls_ca: str | None = None,
    tls_cert: str | None = None,
    tls_key: str | None = None,
) -> Endpoint:
    """Find the daemon, its token and its certificates.

    The address is, in this order: the one given, that of the context given, JOBCTL_ADDRESS, that of the context that
    JOBCTL_CONTEXT names or that is in use, the one a running daemon wrote down for this user, the default unix socket
    if it exists, port 50051 of this machine. The token is, for TCP only: the content of `token_file`, JOBCTL_TOKEN, the
    content of JOBCTL_TOKEN_FILE, of the context's token file where the address is the context's, or, on this machine
    only and where the user shows no certificate, the one of the daemon; a context that was given goes before the
    environment. Certificates are looked for in the same order, as JOBCTL_TLS_CA, JOBCTL_TLS_CERT and JOBCTL_TLS_KEY.
    Raises `UsageError` for what cannot be used and `LocalFileError` for a file that cannot be read.
    """
    chosen = _choose_context(address, context)
    access = _read_access_file()
    found = _find_address(address or (chosen and chosen.address) or os.environ.get("JOBCTL_ADDRESS"), access)
    if not found.is_tcp:
        return Endpoint(address=found, token="")
    ranked = _Ranked(context=chosen, urgent=context is not None)
    files = {"ca": tls_ca, "cert": tls_cert, "key": tls_key}
    tls = _make_tls(**{name: ranked.choose(given, f"tls_{name}") for name, given in files.items()})
    token = _find_token(token_file, ranked)
    # Whoever shows a certificate wants to be who it names, and not the daemon's own user.
    if not token and found.is_loopback and not (tls and tls.cert):
        token = _read_local_token(found, access)
    return Endpoint(address=found, token=token, tls=tls)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ranked:
    """Where a setting is looked for: what was given, then the environment and the context, in either order."""

    context: Context | None
    urgent: bool
    """Whether the context was given, and so goes before the environment."""

    def choose(self, given: str | None, name: str) -> str | None:
        """Give the setting, or None where nobody says anything."""
        variable = os.environ.get(f"JOBCTL_{name.upper()}")
        kept: str | None = getattr(self.context, name) if self.context else None
        return given or ((kept or variable) if self.urgent else (variable or kept)) or None


def _choose_context(address: str | None, name: str | None) -> Context | None:
    if address and name:
        raise UsageError("--address and --context name two daemons", hint="give one of them")
    if name:
        return Contexts.read().find(name)
    if address or os.environ.get("JOBCTL_ADDRESS"):
        return None
    contexts = Contexts.read()
    used = os.environ.get("JOBCTL_CONTEXT") or contexts.current
    return contexts.find(used) if used else None


def _make_tls(ca: str | None, cert: str | None, key: str | None) -> TlsFiles | None:
    if bool(cert) != bool(key):
        raise UsageError("--tls-cert and --tls-key belong together", hint="give both, or neither")
    paths = [Path(text).expanduser().absolute() if text else None for text in (ca, cert, key)]
    return TlsFiles(ca=paths[0], cert=paths[1], key=paths[2]) if any(paths) else None


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
    existing = next((socket for socket in sockets if _is_socket(socket)), None)
    return Address(socket=str(existing)) if existing else Address(host="127.0.0.1", port=DEFAULT_PORT)


def _is_socket(path: Path) -> bool:
    try:
        return path.is_socket()
    except OSError:  # another user's folder
        return False


def _find_token(token_file: str | None, ranked: _Ranked) -> str:
    if ranked.urgent and ranked.context:
        token_file = token_file or ranked.context.token_file
    if not token_file and (token := os.environ.get("JOBCTL_TOKEN", "").strip()):
        return token
    if named := ranked.choose(token_file, "token_file"):
        return _read_token(Path(named))
    return ""


def _read_local_token(address: Address, access: AccessFile | None) -> str:
    path = state_directory() / "token"
    if access and access.token_file and any(address.names_same_port(listed) for listed in access.addresses):
        path = access.token_file
    # A token that was only guessed may be absent: the daemon then says that it wants one.
    return _read_token(path) if os.path.isfile(path) else ""  # noqa: PTH113 - also where it may not be looked


def _read_token(path: Path) -> str:
    try:
        token = path.expanduser().read_text(encoding="ascii").strip()
    except (OSError, UnicodeError) as error:
        raise LocalFileError(f"cannot read the token file {path}: {error}", hint="check --token-file") from error
    if not token.isprintable():
        raise LocalFileError(f"the token file {path} holds more than one line", hint="check --token-file")
    return token
