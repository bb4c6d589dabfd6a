"""Who is let in: each call is somebody's, by its unix socket, its token or its certificate, or it is nobody's."""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from structlog.typing import FilteringBoundLogger

from jobd.errors import ConfigError, UnauthenticatedError
from jobd.identity import LOCAL_ADMIN, Identity, Role
from jobd.names import FieldError, check_line
from jobd.tokens import TokenBook

_HINT = "over TCP, send `authorization: Bearer TOKEN` with the daemon's own token or one made by `jobd token create`"
_MOST_TOKEN = 256
"""Longer than any token is; what is longer is not hashed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knock:
    """What is known of a call before anybody is let in."""

    unix: bool
    """Whether it came over a unix socket, which only the daemon's user can open."""
    authorization: str | None
    """The header of this name."""
    certificate_names: Sequence[str] = ()
    """The names in the client certificate that TLS found valid, the best one first; none where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateRoles:
    """What callers may do whose certificate TLS found valid."""

    default: Role = Role.SUBMIT
    """Of a name that is not listed."""
    by_name: Mapping[str, Role] = field(default_factory=dict)

    def of(self, name: str) -> Role:
        """Give the role of a name."""
        return self.by_name.get(name, self.default)


class Doors:
    """Tells who a caller is."""

    def __init__(
        self, *, token: str, book: TokenBook, certificates: CertificateRoles, log: FilteringBoundLogger
    ) -> None:
        """Take the daemon's own token, which is an admin's, the tokens in the book, and certificates."""
        self._token = token
        self._book = book
        self._certificates = certificates
        self._log = log
        self._told: tuple[str, ...] = ()

    def admit(self, knock: Knock) -> Identity:
        """Say who calls; UnauthenticatedError when that is not known.

        A token that is sent along counts before the certificate, so that somebody can be given more or less with one.
        """
        if knock.unix:
            return LOCAL_ADMIN
        if knock.authorization is not None:
            return self._of_token(knock.authorization)
        if knock.certificate_names:
            return self._of_certificate(knock.certificate_names[0])
        raise UnauthenticatedError("the call carries no token", hint=_HINT)

    def still_admits(self, identity: Identity) -> bool:
        """Tell whether a caller may stay: its token may have been revoked or have expired."""
        return not identity.token or self._book.admits(identity.token)

    def _of_token(self, authorization: str) -> Identity:
        scheme, _, secret = authorization.partition(" ")
        secret = secret.strip()
        if scheme.lower() != "bearer" or not secret or len(secret) > _MOST_TOKEN:
            raise UnauthenticatedError("the call carries no valid token", hint=_HINT)
        # Both are asked in every case: the time that it takes does not tell which kind was guessed at.
        own = hmac.compare_digest(secret.encode(errors="surrogateescape"), self._token.encode())
        found = self._book.find(secret)
        self._tell_broken()
        if own:
            return LOCAL_ADMIN
        if found is None:
            raise UnauthenticatedError("the call carries no valid token, or one that has expired", hint=_HINT)
        self._note_use(found.name)
        return Identity(name=found.name, role=found.role, token=found.sha256)

    def _of_certificate(self, name: str) -> Identity:
        try:
            check_line(name)
        except FieldError as error:
            raise UnauthenticatedError(f"the client certificate's name cannot be used: {error}") from error
        return Identity(name=f"cert:{name}", role=self._certificates.of(name))

    def _note_use(self, name: str) -> None:
        try:
            self._book.note_use(name)
        except OSError as error:
            self._log.warning("token_use_not_noted", token=name, error=str(error))

    def _tell_broken(self) -> None:
        if self._book.broken != self._told:
            self._told = self._book.broken
            for name in self._told:
                self._log.error("token_file_cannot_be_read", file=name, hint="nobody gets in by it; make a new token")


def read_certificate_roles(texts: Sequence[str]) -> CertificateRoles:
    """Read `ROLE`, the default, and `NAME=ROLE`; ConfigError for anything else."""
    default, by_name = Role.SUBMIT, {}
    for text in texts:
        name, equals, role = text.rpartition("=")
        if role not in tuple(Role) or bool(equals) != bool(name):
            raise ConfigError(
                f"{text!r} is no role of a client certificate", hint=f"give ROLE or NAME=ROLE with {', '.join(Role)}"
            )
        if name:
            by_name[name] = Role(role)
        else:
            default = Role(role)
    return CertificateRoles(default=default, by_name=by_name)
