"""`jobd token create`, `list` and `revoke`: they work on the files, whether a daemon runs or not."""

from datetime import UTC, datetime
from pathlib import Path

from jobd.identity import Role
from jobd.layout import StateDirectory
from jobd.tokens import Token, TokenBook

_DAY = 86400.0


def create(state_dir: Path, name: str, role: str, days: float | None) -> str:
    """Make a token and give it: this is the only time that it can be seen."""
    state = StateDirectory(state_dir)
    state.make()
    return TokenBook(state.tokens).create(name, Role(role), seconds=None if days is None else days * _DAY)


def revoke(state_dir: Path, name: str) -> None:
    """Take a token back; ConfigError when there is none of this name."""
    TokenBook(StateDirectory(state_dir).tokens).revoke(name)


def listed(state_dir: Path) -> list[str]:
    """Give a line for each token, under a heading, and one for each file that cannot be read."""
    book = TokenBook(StateDirectory(state_dir).tokens)
    rows = [("NAME", "ROLE", "CREATED", "LAST USED", "EXPIRES")]
    rows += [_row(token, book.used(token.name)) for token in book.tokens()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [*lines, *(f"cannot be read: {book.folder / name}" for name in book.broken)]


def _row(token: Token, used: float) -> tuple[str, str, str, str, str]:
    expires = "never" if token.expires is None else _time(token.expires)
    return token.name, token.role, _time(token.created), _time(used) if used else "never", expires


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
