"""Tokens that were given to people and programs: made, listed and revoked while a daemon runs, and without one.

Each is a file in the state directory's `tokens` folder, named after it. The file appears whole, or not at all, and is
removed to revoke the token; its time of modification is when the token was last used. It holds the token's SHA-256
and never the token. A slow hash, as for passwords, is not needed: a token is 256 random bits, and whoever could try
one SHA-256 for each atom of the earth would still have no hope to meet it. A fast one makes the check of a call cheap.
"""

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from time import time

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from jobd.errors import ConfigError
from jobd.identity import LOCAL, Role
from jobd.layout import sync_directory

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}")
_ENDING = ".json"
_PREFIX = "jobd_"
"""Lets scanners for secrets find a token that was checked in somewhere."""
_SETTLED_SECONDS = 2.0
"""A folder that changed so recently may change again without its time of modification telling."""
_USE_SECONDS = 60.0
"""The use of a token is written down so often at most."""


class Token(BaseModel):
    """What is kept of a token."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    role: Role
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    """Of the token, in lower-case hexadecimal."""
    created: float
    """Seconds since the epoch."""
    expires: float | None = None
    """Seconds since the epoch; None for never."""


class TokenBook:
    """The tokens of one state directory. Reading is cheap as long as nothing has changed."""

    def __init__(self, folder: Path, *, now: Callable[[], float] = time) -> None:
        """Keep the tokens in `folder`, which is made with the first."""
        self.folder = folder
        """Where they are."""
        self._now = now
        self._read_at: tuple[int, int] | None = None
        self._tokens: tuple[Token, ...] = ()
        self._used: dict[str, float] = {}
        self.broken: tuple[str, ...] = ()
        """Names of files that could not be read; nobody gets in by them."""

    def create(self, name: str, role: Role, *, seconds: float | None = None) -> str:
        """Make a token that holds for `seconds`, or for ever, and give it; ConfigError for a name that cannot be."""
        if not _NAME.fullmatch(name) or name == LOCAL:
            raise ConfigError(
                f"{name!r} cannot be the name of a token",
                hint=f"use letters, digits and . _ @ -, at most 63 of them, and not `{LOCAL}`",
            )
        secret = _PREFIX + secrets.token_urlsafe(32)
        now = self._now()
        token = Token(
            name=name,
            role=role,
            sha256=_hash(secret),
            created=now,
            expires=None if seconds is None else now + seconds,
        )
        self._write(token)
        return secret

    def revoke(self, name: str) -> None:
        """Take a token back: the next call with it is refused; ConfigError when there is none of this name."""
        if not _NAME.fullmatch(name) or not self._path(name).exists():
            raise ConfigError(f"there is no token {name!r}", hint="`jobd token list` shows those there are")
        self._path(name).unlink(missing_ok=True)
        sync_directory(self.folder)

    def tokens(self) -> tuple[Token, ...]:
        """Give all tokens, expired ones too, by name."""
        try:
            status = self.folder.stat()
        except FileNotFoundError:
            return ()
        seen = (status.st_ino, status.st_mtime_ns)
        if seen != self._read_at:
            self._tokens, self.broken = self._read()
            settled = self._now() - status.st_mtime > _SETTLED_SECONDS
            self._read_at = seen if settled else None
        return self._tokens

    def find(self, secret: str) -> Token | None:
        """Give the token that `secret` is, unless it has expired; the time it takes tells nothing of the others."""
        hashed = _hash(secret)
        found = None
        for token in self.tokens():
            if hmac.compare_digest(token.sha256, hashed):
                found = token
        return found if found is not None and self._holds(found) else None

    def admits(self, sha256: str) -> bool:
        """Tell whether the token of this hash is still there and has not expired."""
        return any(token.sha256 == sha256 and self._holds(token) for token in self.tokens())

    def used(self, name: str) -> float:
        """Give when a token was last used, to a minute, in seconds since the epoch; 0 when it never was."""
        try:
            return self._path(name).stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def note_use(self, name: str) -> None:
        """Write down that a token was used; one that was revoked meanwhile is left alone. OSError when it cannot be."""
        now = self._now()
        if now - self._used.get(name, 0.0) >= _USE_SECONDS:
            self._used[name] = now
            try:
                os.utime(self._path(name), (now, now))
            except FileNotFoundError:
                self._used.pop(name, None)

    def _holds(self, token: Token) -> bool:
        return token.expires is None or self._now() < token.expires

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}{_ENDING}"

    def _write(self, token: Token) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._give_away(self.folder)
        temporary = self.folder / f".{secrets.token_hex(8)}"
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(token.model_dump_json(indent=2).encode() + b"\n")
                file.flush()
                self._give_away(file.fileno())
                os.utime(file.fileno(), (0, 0))  # never used
                os.fsync(file.fileno())
            # A link, other than a rename, does not replace a token that somebody else made at the same time.
            self._path(token.name).hardlink_to(temporary)
        except FileExistsError as error:
            raise ConfigError(
                f"there is a token {token.name!r} already", hint="revoke it first, or choose another name"
            ) from error
        finally:
            temporary.unlink(missing_ok=True)
        sync_directory(self.folder)

    def _give_away(self, what: Path | int) -> None:
        """Give what root makes to the user of the state directory, whose daemon must be able to read it."""
        if os.geteuid() == 0:
            owner = self.folder.parent.stat()
            os.chown(what, owner.st_uid, owner.st_gid)

    def _read(self) -> tuple[tuple[Token, ...], tuple[str, ...]]:
        tokens, broken = [], []
        for path in sorted(self.folder.glob(f"[!.]*{_ENDING}")):
            try:
                token = Token.model_validate_json(path.read_bytes())
            except FileNotFoundError:
                continue  # revoked meanwhile
            except (OSError, ValidationError):
                broken.append(path.name)
                continue
            if token.name == path.name.removesuffix(_ENDING) and token.name != LOCAL:
                tokens.append(token)
            else:
                broken.append(path.name)
        return tuple(tokens), tuple(broken)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogateescape")).hexdigest()
