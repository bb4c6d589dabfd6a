"""The certificate, the key and the client authority of the TCP ports, read from files that may change at any time."""

import contextlib
import os
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from jobd.errors import ConfigError

_Seen = tuple[tuple[int, int, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Where they are, each as PEM."""

    certificate: Path
    """The certificate, followed by those of the authorities between it and the root."""
    key: Path
    """Its private key, without a passphrase."""
    client_authority: Path | None = None
    """The authorities whose certificates clients must show; None asks clients for none."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files."""
        return tuple(path for path in (self.certificate, self.key, self.client_authority) if path is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsMaterial:
    """What they hold, found to fit together."""

    certificate: bytes
    key: bytes
    client_authority: bytes | None


class TlsKeeper:
    """Gives what the files hold now; while that cannot be used, what they held before. Any thread may ask."""

    def __init__(self, files: TlsFiles, log: FilteringBoundLogger) -> None:
        """Read the files; ConfigError says which of them cannot be used, and why."""
        self._files = files
        self._log = log
        self._lock = threading.Lock()
        self._seen = _look(files)
        self._material = _load(files)

    @property
    def asks_clients(self) -> bool:
        """Whether clients must show a certificate."""
        return self._files.client_authority is not None

    def material(self) -> TlsMaterial:
        """Give what the files hold, read again if they have changed; the very same object as long as it is the same."""
        with self._lock:
            seen = _look(self._files)
            if seen != self._seen:
                self._seen = seen
                self._reload()
            return self._material

    def _reload(self) -> None:
        try:
            material = _load(self._files)
        except ConfigError as error:
            self._log.error("tls_files_not_taken", error=error.message, hint="the old ones stay in use")
            return
        if material != self._material:
            self._material = material
            self._log.info("tls_files_taken", certificate=str(self._files.certificate))


def _look(files: TlsFiles) -> _Seen:
    """Tell what shows that a file has changed; one that is not there shows as zeros."""
    return tuple(map(_stamp, files.paths))


def _stamp(path: Path) -> tuple[int, int, int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0, 0, 0
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def _load(files: TlsFiles) -> TlsMaterial:
    certificate, key = _read(files.certificate, "certificate"), _read(files.key, "key")
    authority = _read(files.client_authority, "client authority") if files.client_authority else None
    _check_pair(files, certificate, key)
    if authority is not None:
        _check_authority(files, authority)
    return TlsMaterial(certificate=certificate, key=key, client_authority=authority)


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"the TLS {what} {path} cannot be read: {error.strerror}", hint="the daemon's user must be able to read it"
        ) from error


def _check_pair(files: TlsFiles, certificate: bytes, key: bytes) -> None:
    """Check just the bytes that were read: the files may be replaced one after the other at this moment."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        with _in_memory(certificate) as certificate_path, _in_memory(key) as key_path:
            context.load_cert_chain(certificate_path, key_path, password=_refuse_passphrase)
    except ssl.SSLError as error:
        raise ConfigError(
            f"the TLS certificate {files.certificate} and the key {files.key} cannot be used: {_why(error)}",
            hint="both must be PEM, and belong together",
        ) from error


def _check_authority(files: TlsFiles, authority: bytes) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_verify_locations(cadata=authority.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(
            f"the TLS client authority {files.client_authority} cannot be used: {_why(error)}",
            hint="it must be one or more certificates as PEM",
        ) from error


def _refuse_passphrase() -> str:
    raise ConfigError("the TLS key is protected by a passphrase", hint="give one without, readable by its user alone")


def _why(error: Exception) -> str:
    if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
        return "the key is not the certificate's"
    return str(error)


@contextlib.contextmanager
def _in_memory(data: bytes) -> Iterator[str]:
    """Give the path of a file that holds these bytes and is nowhere on disk."""
    fd = os.memfd_create("jobd-tls", os.MFD_CLOEXEC)
    try:
        os.write(fd, data)
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)
